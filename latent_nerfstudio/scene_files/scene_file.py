"""One learned scene as one small file: its micro planes and scene weights, and the hash of the bundle they belong to.

A scene file is a safetensors file whose metadata have one entry `scene`, which is JSON:

    format, name, bundle, precision, facts, sha256 (of the other five and of the tensors)

Its tensors are `micro_planes` [3, F_mic, T, T] in float16, float32 or int8, `micro_scales` [3, F_mic] in float16 where
those are int8, and `scene_weights` [M] in float32. Planes or weights may be left out, and count as zero then.

Files come from strangers: their size and what their header says are checked before anything of that size is put into
memory; that the header fits the file is what safetensors itself checks.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Float, Float16, Int8
from safetensors.torch import load, save
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.placement import Placement, placement_from
from latent_nerfstudio.files.reading import AGAIN, check_format, open_plain, parse_json
from latent_nerfstudio.files.replacing import write_bytes
from latent_nerfstudio.models.bundle_folder import add_tensors, canonical
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import check_name, check_names
from latent_nerfstudio.scene_files import Precision

SCENE_FORMAT = "scene-v1"
"""Changed when the contents of a scene file change their meaning."""

SUFFIX = ".safetensors"
"""Of a scene file's name."""

LARGEST = 127
"""Largest whole number of int8 planes; -128 stays unused, so that zero is the middle."""

STORED: Dict[str, torch.dtype] = {"float16": torch.float16, "float32": torch.float32, "int8": torch.int8}
"""Type of the micro planes by precision."""

LIMITS: Dict[str, float] = {"float16": 65504.0, "float32": math.inf, "int8": 65504.0 * LARGEST}
"""Largest number of the micro planes by precision; 65504 is that of float16, of scales as well."""

MAX_NUMBERS = 1 << 27
"""Numbers of a scene at most: half a gigabyte in float32."""

MAX_FILE = 4 * MAX_NUMBERS + (1 << 21)
"""Bytes of a scene file at most."""

MAX_HEADER = 1 << 20
"""Bytes of a header at most; a scene's facts are in it."""

MAX_FACT = 1e30
"""Largest number among facts, and over the smallest but 0: float32 holds them."""

KINDS: Dict[str, type] = {"format": str, "name": str, "bundle": str, "precision": str, "facts": dict, "sha256": str}
"""Entries of the metadata."""

PLACEMENT = "placement"
"""Entry of scenes that were moved into the bundle's box, or fill a part of it; others have none."""

PRIVATE = ("worker",)
"""Facts that are not handed on: earlier versions of `lns fit-scenes` wrote host and process into scene files."""


@dataclass(frozen=True, eq=False)
class SceneFile:
    """A learned scene."""

    name: str
    """The scene's name, see `check_name`."""
    bundle_hash: str
    """Hash of the shared bundle that it was fitted against."""
    micro_planes: Optional[Tensor]
    """[3, F_mic, T, T] in float32; None for macro planes only."""
    scene_weights: Optional[Tensor]
    """[M] in float32; None for micro planes only."""
    facts: Dict[str, Any]
    """What is known of it: psnr, seconds, steps, views, cameras and others; JSON values."""
    placement: Placement = Placement()
    """From its own units, which cameras are given in, to those of the bundle's box, and its own box."""
    where: str = ""
    """What it was read from."""
    precision: Precision = "float16"
    """Of the micro planes where it was read from."""


def write_scene_file(path: Path, scene: SceneFile, precision: Optional[Precision] = "float16") -> int:
    """Writes a scene file, whole or not at all, see `pack_scene`; its bytes are returned."""
    return write_bytes(path, pack_scene(scene, precision))


def read_scene_file(path: Path, bundle: Optional[SharedBundle] = None) -> SceneFile:
    """Reads and verifies a scene file of a bundle, None for any; the scene is in float32 on the host. Raises ValueError
    where it is none, is damaged, or belongs to another bundle."""
    with open_plain(path, MAX_FILE) as stream:
        return unpack_scene(stream, str(path), bundle)


def pack_scene(scene: SceneFile, precision: Optional[Precision] = "float16") -> bytes:
    """The contents of a scene's file, without `PRIVATE` facts; equal scenes make equal bytes. Of the micro planes,
    float16 rounds each number by a part in 2048 at most; int8 has one scale a plane and feature, and is off by half of
    it at most; None leaves them as they were read."""
    check_name(scene.name)
    precision = precision or scene.precision
    where = f"scene {scene.name!r}"
    check_numbers(scene, precision, where)
    tensors = stored_tensors(scene, precision)
    check_tensors(tensors, precision, where)
    meta: Dict[str, Any] = {"format": SCENE_FORMAT, "name": scene.name, "bundle": scene.bundle_hash}
    meta |= {"precision": precision, "facts": json_facts(public_facts(scene.facts), where)}
    if scene.placement != Placement():
        meta[PLACEMENT] = scene.placement.as_fact()
    return signed(meta, tensors, where)


def signed(meta: Dict[str, Any], tensors: Dict[str, Tensor], where: str) -> bytes:
    """The contents of a scene's file, by its tensors and its metadata, with a new hash."""
    data = save(tensors, {"scene": canonical({**meta, "sha256": digest(meta, tensors)}).decode()})
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise ValueError(problem(where, f"facts of less than {MAX_HEADER} bytes", "more", "leave some out"))
    return data


def public_facts(facts: Dict[str, Any]) -> Dict[str, Any]:
    """What is known of a scene, without what is nobody else's business."""
    return {name: value for name, value in facts.items() if name not in PRIVATE}


def copy_scene_file(path: Path, target: Path) -> None:
    """Copies a scene file without private facts; its tensors stay as they are, and all of it where it has none."""
    with open_plain(path, MAX_FILE) as stream:
        meta, tensors, data = verified(stream, str(path))
    facts = public_facts(meta["facts"])
    if facts != meta["facts"]:
        data = signed({**meta, "facts": facts}, tensors, str(path))
    target.write_bytes(data)


def unpack_scene(stream: BufferedIOBase, where: str, bundle: Optional[SharedBundle] = None) -> SceneFile:
    """Reads and verifies the contents of a scene's file, of `MAX_FILE` bytes at most; see `read_scene_file`."""
    meta, tensors, _ = verified(stream, where)
    placement = placement_from(meta[PLACEMENT], where) if PLACEMENT in meta else Placement()
    weights = tensors.get("scene_weights")
    parts = planes_of(tensors), weights, meta["facts"], placement, where, meta["precision"]
    scene = SceneFile(meta["name"], meta["bundle"], *parts)
    check_numbers(scene, "float32", where)
    if bundle is not None:
        check_belongs(scene, bundle)
    return scene


def verified(stream: BufferedIOBase, where: str) -> Tuple[Dict[str, Any], Dict[str, Tensor], bytes]:
    """Metadata, tensors and bytes of a scene's file, verified but for the numbers; see `unpack_scene`."""
    meta, head = read_meta(stream, where)
    check_meta(meta, where)
    data = head + stream.read()
    try:
        tensors = load(data)
    except Exception as error:  # safetensors' own, by which a header does not fit its file
        raise ValueError(problem(where, "tensors as its header says", f"'{error!s:.200}'", AGAIN)) from error
    check_tensors(tensors, meta["precision"], where)
    if digest(meta, tensors) != meta["sha256"]:
        raise ValueError(problem(where, f"contents with the SHA-256 {meta['sha256'][:64]!r}", "others", AGAIN))
    return meta, tensors, data


def read_meta(stream: BufferedIOBase, where: str) -> Tuple[Dict[str, Any], bytes]:
    """The metadata entry `scene` of a safetensors file, and the bytes read for it: those before the first tensor."""
    first = stream.read(8)
    length, do = int.from_bytes(first, "little"), "name one that lns export-scenes wrote"
    if len(first) < 8 or not 2 <= length <= MAX_HEADER:
        raise ValueError(problem(where, "a scene file", f"a header of {length} bytes", do))
    header = stream.read(length)
    metadata = parse_json(header, where).get("__metadata__")
    text = metadata.get("scene") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        is_latents = isinstance(metadata, dict) and "latents" in metadata
        got = "latents, which lns decode-latents takes" if is_latents else "a safetensors file of another kind"
        raise ValueError(problem(where, "a scene file", got, do))
    return parse_json(text, where), first + header


def check_numbers(scene: SceneFile, precision: str, where: str) -> None:
    """Refuses NaN, infinity, and planes that are too large for a precision."""
    if precision not in STORED:
        raise ValueError(problem("precision", f"one of {', '.join(STORED)}", repr(precision), "choose one of these"))
    for name in ("micro_planes", "scene_weights"):
        value = getattr(scene, name)
        if value is not None and not bool(torch.isfinite(value).all()):
            raise ValueError(problem(where, f"finite {name}", "NaN or infinity", "fit the scene again"))
    planes, limit = scene.micro_planes, LIMITS[precision]
    if planes is not None and bool((planes.abs() > limit).any()):
        got = f"{float(planes.abs().max()):g}"
        raise ValueError(problem(where, f"planes within {limit:g}, as {precision} holds", got, "use float32"))


def stored_tensors(scene: SceneFile, precision: str) -> Dict[str, Tensor]:
    tensors: Dict[str, Tensor] = {}
    if scene.micro_planes is not None:
        planes = scene.micro_planes.detach().cpu().float().contiguous()
        if precision == "int8" and planes.dim() == 4 and planes.numel():
            tensors["micro_planes"], tensors["micro_scales"] = quantise(planes)
        else:
            tensors["micro_planes"] = planes.to(STORED[precision])
    if scene.scene_weights is not None:
        tensors["scene_weights"] = scene.scene_weights.detach().cpu().float().contiguous()
    return tensors


def planes_of(tensors: Dict[str, Tensor]) -> Optional[Float[Tensor, "3 features side side"]]:
    planes = tensors.get("micro_planes")
    if planes is None:
        return None
    return dequantise(planes, tensors["micro_scales"]) if "micro_scales" in tensors else planes.float()


def quantise(
    planes: Float[Tensor, "planes features rows cols"],
) -> Tuple[Int8[Tensor, "planes features rows cols"], Float16[Tensor, "planes features"]]:
    """Planes as whole numbers from -127 to 127, and the scale of each plane and feature, rounded up to float16, so that
    each number is off by half a scale at most. Refuse values beyond 127 times float16's largest number before."""
    wanted = (planes.abs().amax(dim=(2, 3)) / LARGEST).numpy()
    nearest = wanted.astype(np.float16)
    scales = torch.from_numpy(np.where(nearest < wanted, np.nextafter(nearest, np.float16(np.inf)), nearest))
    divisor = torch.where(scales > 0, scales.float(), 1.0)[..., None, None]
    return (planes / divisor).round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


def dequantise(
    quanta: Int8[Tensor, "planes features rows cols"], scales: Float16[Tensor, "planes features"]
) -> Float[Tensor, "planes features rows cols"]:
    """Planes in float32 from what `quantise` gave."""
    return quanta.float() * scales.float()[..., None, None]


def check_meta(meta: Dict[str, Any], where: str) -> None:
    check_format(meta, SCENE_FORMAT, where)
    if set(meta) - {PLACEMENT} != set(KINDS) or not all(isinstance(meta[name], kind) for name, kind in KINDS.items()):
        raise ValueError(problem(where, f"the entries {', '.join(KINDS)}", ", ".join(meta)[:200] or "none", AGAIN))
    if meta["precision"] not in STORED:
        expected = f"a precision out of {', '.join(STORED)}"
        raise ValueError(problem(where, expected, repr(meta["precision"][:40]), "update this package"))
    check_facts(meta["facts"], where)
    check_names([meta["name"]], where)


def check_facts(facts: Dict[str, Any], where: str) -> None:
    """Refuses facts with numbers that nobody can count with."""
    for value in numbers_in(facts):
        if value and not 1 / MAX_FACT < abs(value) < MAX_FACT:
            raise ValueError(problem(f"{where}, facts", f"numbers up to {MAX_FACT:g}", f"{value:g}", "leave them out"))


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(inner)
    elif type(value) in (int, float):
        yield float(value)


def check_tensors(tensors: Dict[str, Tensor], precision: str, where: str) -> None:
    """Refuses tensors that are no scene's: other names, types or axes, nothing at all, or too much."""
    planes, scales, weights = (tensors.get(name) for name in ("micro_planes", "micro_scales", "scene_weights"))
    unknown = sorted(set(tensors) - {"micro_planes", "micro_scales", "scene_weights"})
    do = "write the file again"
    if unknown or (planes is None and weights is None):
        got = repr(unknown[0][:40]) if unknown else "neither"
        raise ValueError(problem(where, "micro_planes, scene_weights or both", got, do))
    if planes is not None:
        is_square = planes.dim() == 4 and len(planes) == 3 and planes.shape[2] == planes.shape[3]
        if not (is_square and planes.numel() and planes.dtype == STORED[precision]):
            expected = f"micro planes [3, F, T, T] in {precision}"
            raise ValueError(problem(where, expected, f"{list(planes.shape)} in {planes.dtype}", do))
    wanted = (torch.float16, planes.shape[:2]) if planes is not None and precision == "int8" else None
    if (None if scales is None else (scales.dtype, scales.shape)) != wanted:
        raise ValueError(problem(where, "scales a plane and feature with int8 planes alone", "others", do))
    if weights is not None and (weights.dtype != torch.float32 or len(weights.shape) != 1 or not weights.shape[0]):
        expected = "scene weights [M] in float32"
        raise ValueError(problem(where, expected, f"{list(weights.shape)} in {weights.dtype}", do))
    count = sum(value.numel() for value in tensors.values())
    if count > MAX_NUMBERS:
        raise ValueError(problem(where, f"{MAX_NUMBERS} numbers at most", f"{count}", "use a lower resolution"))


def check_belongs(scene: SceneFile, bundle: SharedBundle) -> None:
    """Refuses scenes of another bundle, and those with parts that the bundle's scenes do not have."""
    if not bundle.has_hash(scene.bundle_hash):
        expected, do = (
            f"a scene of the shared bundle {bundle.hash}",
            "leave it out, or name the bundle that it was fitted against",
        )
        raise ValueError(problem(scene.where, expected, f"one of {scene.bundle_hash[:64]}", do))
    for name, shape in scene_shapes(bundle).items():
        value = getattr(scene, name)
        if value is not None and tuple(value.shape) != shape:
            expected = f"{name} {list(shape)}, as the bundle's scenes have" if shape else f"no {name} with this bundle"
            raise ValueError(problem(scene.where, expected, f"{list(value.shape)}", "write the file again"))


def scene_shapes(bundle: SharedBundle) -> Dict[str, Tuple[int, ...]]:
    """Shapes of the parts of a bundle's scenes; empty for those that they do not have."""
    features, side = bundle.field["micro_features"], bundle.field["resolution"]
    return {
        "micro_planes": (3, features, side, side) if features else (),
        "scene_weights": (bundle.field["num_base_planes"],) if bundle.has_base_planes else (),
    }


def json_facts(facts: Dict[str, Any], where: str) -> Dict[str, Any]:
    """Facts as they will be read again; JSON has neither NaN nor infinity."""
    try:
        checked = json.loads(json.dumps(facts, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(problem(f"{where}, facts", "JSON values", f"'{error}'", "leave them out")) from error
    check_facts(checked, where)
    return checked


def digest(meta: Dict[str, Any], tensors: Dict[str, Tensor]) -> str:
    """The hash of tensors and of metadata, but for the hash that is among them."""
    result = hashlib.sha256(canonical({name: value for name, value in meta.items() if name != "sha256"}))
    add_tensors(result, sorted(tensors.items()))
    return result.hexdigest()
