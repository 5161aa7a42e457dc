"""Planes as pictures, for two-dimensional networks: three pictures of F channels, or one of 3 F."""

import json
from pathlib import Path
from typing import Iterable, Optional

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.files.replacing import write_bytes
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


def write_plane_images(path: Path, scenes: Iterable[SceneFile], bundle: SharedBundle, precision: str) -> None:
    """Writes the composed planes of many scenes as one safetensors file: `planes` [N, 3F, T, T] in the precision, and
    `mean` and `std` [3F] in float32 of each channel over all scenes and texels, to normalise by. Its metadata have one
    entry `planes`, JSON: format, bundle, and the names in their order."""
    names, pictures, sums = [], [], torch.zeros(2, 1, dtype=torch.float64)
    for scene in scenes:
        picture = stacked(plane_images(scene, bundle))
        names.append(scene.name)
        pictures.append(picture.to(getattr(torch, precision)))
        sums = sums + torch.stack([picture.double(), picture.double().square()]).mean((2, 3))
    mean, square = sums / len(names)
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    tensors = {"planes": torch.stack(pictures), "mean": mean.float(), "std": deviation.float()}
    said = {"format": PLANE_IMAGES_FORMAT, "bundle": bundle.hash, "scenes": names}
    write_bytes(path, save(tensors, {"planes": json.dumps(said)}))
