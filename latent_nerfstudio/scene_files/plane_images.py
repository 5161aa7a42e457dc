"""Planes as pictures, for two-dimensional networks: three pictures of F channels, or one of 3 F."""

import json
import math
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.files.replacing import replacing_file
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.scene_files.scene_file import SceneFile, scene_shapes

PLANE_IMAGES_FORMAT = "plane-images-v1"
"""Changed when the contents of a file of planes change their meaning."""


def plane_images(scene: SceneFile, bundle: SharedBundle) -> Float[Tensor, "3 features rows cols"]:
    """The composed planes of a scene: micro planes, then macro planes sum_i W_s^i B_i (3Da-AE, section 3.1)."""
    shapes, base = scene_shapes(bundle), bundle.tensors.get("field.base_planes")

    def part(name: str) -> Optional[Tensor]:
        value = torch.zeros(shapes[name]) if getattr(scene, name) is None else getattr(scene, name)
        return value[None] if shapes[name] else None

    base = None if base is None else base.float()  # a published bundle holds them in float16
    return compose_planes(part("micro_planes"), base, part("scene_weights"))[0]


def stacked(planes: Float[Tensor, "3 features rows cols"]) -> Float[Tensor, "channels rows cols"]:
    """One picture of 3 F channels: all features of XY, then of XZ, then of YZ."""
    return planes.flatten(0, 1)


def write_plane_images(
    path: Path, scenes: Iterable[SceneFile], names: Sequence[str], bundle: SharedBundle, precision: str = "float32"
) -> None:
    """Writes the composed planes of many scenes as one safetensors file, with one scene in memory at a time.

    The file holds `planes` [N, 3F, T, T] in the precision, and `mean` and `std` [3F] in float32 of each channel over
    all scenes and texels, to normalise by. Its metadata have one entry `planes`, JSON: format, bundle, and the names in
    their order, with which the file begins."""
    features = bundle.field["micro_features"] + bundle.field["macro_features"] * bundle.has_base_planes
    side = bundle.field["resolution"]
    sums = torch.zeros(2, 3 * features, dtype=torch.float64)
    with replacing_file(path) as stream:
        stream.write(plane_header(names, 3 * features, side, bundle.hash, precision))
        for name, scene in zip(names, scenes, strict=True):
            if scene.name != name:
                raise ValueError(problem(path, f"the scene {name!r}", repr(scene.name), "pass them in one order"))
            picture = stacked(plane_images(scene, bundle))
            sums += torch.stack([picture.double(), picture.double().square()]).sum((2, 3))
            stream.write(picture.numpy().astype(precision).tobytes())
        mean, square = sums / (len(names) * side**2)
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        stream.write(torch.cat([mean, deviation]).float().numpy().tobytes())


def plane_header(names: Sequence[str], channels: int, side: int, bundle_hash: str, precision: str) -> bytes:
    """The head of the file that `write_plane_images` writes."""
    kind, size = {"float16": ("F16", 2), "float32": ("F32", 4)}[precision]
    shape = [len(names), channels, side, side]
    end = size * math.prod(shape)
    entries: Dict[str, Any] = {"planes": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}
    for name, start in (("mean", end), ("std", end + 4 * channels)):
        entries[name] = {"dtype": "F32", "shape": [channels], "data_offsets": [start, start + 4 * channels]}
    metadata = {"format": PLANE_IMAGES_FORMAT, "bundle": bundle_hash, "scenes": list(names)}
    text = json.dumps({"__metadata__": {"planes": json.dumps(metadata)}, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
