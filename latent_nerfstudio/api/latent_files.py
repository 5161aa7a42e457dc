"""Raw latents of a path of cameras as a file, for methods that work on latents in 2D, and the way back.

A safetensors file with `latents` [n, C, h, w], which `vae.decode` of the same autoencoder takes as they are, and, where
they are pictures of a scene, `camera_to_worlds` [n, 3, 4] and `intrinsics` [n, 4] (fx, fy, cx, cy), so that what was
edited can be learned as a scene again. Its metadata have one entry `latents`, JSON: the fields of `LatentFile`.

Whoever edits latents may save them without any of this: `latents` alone is enough to decode.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Literal, Optional, Union

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras, CameraType
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from latent_nerfstudio.api.scenes import Scene, Scenes
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import check_format, check_header, parse_json
from latent_nerfstudio.files.replacing import write_bytes
from latent_nerfstudio.latent_space.cameras import intrinsics_of, is_pinhole
from latent_nerfstudio.latent_space.checks import is_box
from latent_nerfstudio.latent_space.resolution import resized_cameras
from latent_nerfstudio.models.bundle_checks import LARGEST
from latent_nerfstudio.scene_files.views import MAX_SIDE

LATENTS_FORMAT = "latents-v1"
"""Changed when the contents of a file of latents change their meaning."""

ENTRY = "latents"
"""Name of the tensor, and of the entry of the metadata."""

MAX_CHANNELS = 1024
"""Channels at most."""

Precision = Literal["float32", "float16"]


@dataclass(frozen=True, eq=False)
class LatentFile:
    """Raw latents of pictures, and what is known of them."""

    latents: Float[Tensor, "n channels latent_height latent_width"]
    """Un-normalised, in the autoencoder's convention; on the host."""
    height: Optional[int] = None
    """Of the pictures that they stand for, pixels; None for whole latent pixels."""
    width: Optional[int] = None
    """Likewise."""
    scene: str = ""
    """Name of the scene."""
    source: str = ""
    """Where the scene came from."""
    autoencoder: Dict[str, Any] = field(default_factory=dict)
    """`encoder_hash`, `downscale_factor`, `scaling_factor` and `shift_factor`."""
    box: Optional[Float[Tensor, "2 3"]] = None
    """Scene box."""
    cameras: Optional[Cameras] = None
    """Where the pictures were taken from, of their size."""


def render_latents(scenes: Scenes, scene: Scene, cameras: Cameras, name: str = "") -> LatentFile:
    """What cameras of one size see of a scene as raw latents, with all that decoding and learning them again takes; a
    view from `Scenes.blend` or `Scenes.part` may be given a name."""
    latents = scenes.latents(scene, cameras)
    height, width = scenes.rendered_size(cameras)
    seen = resized_cameras(cameras.reshape((-1,)).to("cpu"), height, width)
    codec, shown = scenes.codec, scene if isinstance(scene, str) else name
    encoder = {name: getattr(codec, name) for name in ("downscale_factor", "scaling_factor", "shift_factor")}
    encoder["encoder_hash"] = codec.autoencoder.encoder_hash()
    known = (height, width, shown, scenes.source, encoder, scenes.box_of(scene))
    return LatentFile(latents, *known, cameras=seen if is_pinhole(seen) else None)


def write_latents(path: Path, file: LatentFile, precision: Precision = "float32") -> int:
    """Writes latents as .safetensors, whole or not at all, and returns the number of bytes.

    Raises:
        ValueError: numbers that the precision does not hold.
        OSError: there is no room, or the folder cannot be written to.
    """
    latents = file.latents.to(getattr(torch, precision)).contiguous()
    if not bool(latents.isfinite().all()):
        raise ValueError(problem(path, f"latents within {precision}", "larger ones", "write them as float32"))
    tensors = {ENTRY: latents}
    if file.cameras is not None:
        tensors["camera_to_worlds"] = file.cameras.camera_to_worlds.float().cpu().contiguous()
        tensors["intrinsics"] = intrinsics_of(file.cameras).cpu().contiguous()
    said = {"format": LATENTS_FORMAT, "box": None if file.box is None else file.box.tolist()}
    said.update({name: getattr(file, name) for name in ("height", "width", "scene", "source", "autoencoder")})
    return write_bytes(path, save(tensors, {ENTRY: json.dumps(said, ensure_ascii=False)}))


def read_latents(path: Union[str, Path]) -> LatentFile:
    """Reads latents: those of `lns render-latents`, or any safetensors file that holds `latents` [n, C, h, w], finite
    ones; raises ValueError for others."""
    path = Path(path).expanduser()
    check_header(path)
    try:
        with safe_open(path, framework="pt") as stream:
            names = set(stream.keys())
            check_shape(stream.get_slice(ENTRY).get_shape() if ENTRY in names else None, path)
            latents = stream.get_tensor(ENTRY).float()
            beside = ("camera_to_worlds", "intrinsics")
            poses, lens = (stream.get_tensor(name) if name in names else None for name in beside)
            text = (stream.metadata() or {}).get(ENTRY)
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        got, do = f"'{str(error)[:200]}'", "name a .safetensors file with `latents`"
        raise ValueError(problem(path, "a file of latents", got, do)) from error
    if not bool(latents.isfinite().all()):
        raise ValueError(problem(path, "finite latents", "NaN or infinity", "repair what edited them"))
    said = {} if text is None else parse_json(text, f"{path}, metadata", "write the file again")
    if text is not None:
        check_format(said, LATENTS_FORMAT, path)
    file = with_facts(LatentFile(latents), said, path)
    return file if poses is None or lens is None else replace(file, cameras=read_cameras(file, poses, lens, path))


def check_shape(shape: Any, path: Path) -> None:
    """Refuses what is no batch of latents, before it is read."""
    sizes = list(shape or [])
    if not (len(sizes) == 4 and all(sizes) and sizes[1] <= MAX_CHANNELS and max(sizes[2:]) <= MAX_SIDE):
        do = "name a file of lns render-latents, or one with latents as diffusers has them"
        raise ValueError(problem(path, "`latents` [n, C, h, w]", "none" if shape is None else sizes, do))


def with_facts(file: LatentFile, said: Dict[str, Any], path: Path) -> LatentFile:
    """The file with what its metadata say, as far as it can be."""
    kinds = {"height": int, "width": int, "scene": str, "source": str, "autoencoder": dict}
    known = {name: said[name] for name in kinds if said.get(name) is not None}
    bad = [name for name, value in known.items() if type(value) is not kinds[name]]
    bad += [n for n in ("height", "width") if type(known.get(n)) is int and not 1 <= known[n] <= MAX_SIDE]
    box = said.get("box")
    if bad or not (box is None or is_box(box, LARGEST)):
        got = f"others for {', '.join(bad or ['box'])}"
        raise ValueError(problem(path, "metadata of lns render-latents", got, "write the file again"))
    return replace(file, box=None if box is None else torch.tensor(box, dtype=torch.float32), **known)


def read_cameras(file: LatentFile, poses: Tensor, lens: Tensor, path: Path) -> Cameras:
    count = len(file.latents)
    good = poses.shape == (count, 3, 4) and lens.shape == (count, 4) and file.height and file.width
    if not good or not bool(poses.isfinite().all() and lens.isfinite().all() and (lens[:, :2] > 0).all()):
        got, do = f"{list(poses.shape)} and {list(lens.shape)}", "leave them out, or write the file again"
        raise ValueError(problem(path, f"finite poses and intrinsics of {count} pictures", got, do))
    fx, fy, cx, cy = lens.float().split(1, dim=1)
    size = {"height": file.height, "width": file.width}
    return Cameras(poses.float(), fx, fy, cx, cy, **size, camera_type=CameraType.PERSPECTIVE)  # type: ignore[arg-type]
