"""Rays through pixel centres of many cameras."""

from typing import Dict, Optional, Tuple

import torch
from jaxtyping import Int
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from latent_nerfstudio.latent_space.latent_space import LatentSpace, as_float

STEREO = (
    CameraType.OMNIDIRECTIONALSTEREO_L,
    CameraType.OMNIDIRECTIONALSTEREO_R,
    CameraType.VR180_L,
    CameraType.VR180_R,
)
"""Cameras that see with one of two eyes."""


def pixel_rays(cameras: Cameras, places: Int[Tensor, "rays 3"], is_plain: Optional[bool] = None) -> RayBundle:
    """Rays through the centres of pixels, given as camera, row and column.

    The same rays as `Cameras.generate_rays` gives. Undistorted pinhole cameras, which is what training has after
    undistortion, take a path of their own, several times as fast: rays are drawn anew at each step.

    Args:
        cameras: of any sizes.
        places: camera, row and column of each pixel.
        is_plain: what `is_plain_pinhole` says of the cameras; None to look at all of them.
    """
    if is_plain_pinhole(cameras) if is_plain is None else is_plain:
        return pinhole_rays(cameras, places)
    return cameras.generate_rays(camera_indices=places[:, :1], coords=places[:, 1:] + 0.5)


def is_plain_pinhole(cameras: Cameras) -> bool:
    """Whether all cameras are perspective ones without distortion."""
    perspective = bool((cameras.camera_type == CameraType.PERSPECTIVE.value).all())
    distortion = cameras.distortion_params
    return perspective and (distortion is None or not bool(distortion.any())) and cameras.times is None


def is_stereo(cameras: Cameras) -> bool:
    """Whether any camera sees with one of two eyes, of which Nerfstudio makes the rays of whole pictures alone."""
    return any(bool((cameras.camera_type == kind.value).any()) for kind in STEREO)


def pinhole_rays(cameras: Cameras, places: Int[Tensor, "rays 3"]) -> RayBundle:
    """Rays of undistorted pinhole cameras, with unit directions; `pixel_area` is the solid angle of the pixel.

    In float32, whatever the intrinsics have: those of `blender-data` are of double precision.
    """
    index, row, column = places.unbind(dim=1)
    fx, fy, cx, cy = (getattr(cameras, name)[index, 0].float() for name in ("fx", "fy", "cx", "cy"))
    local = torch.stack([(column + 0.5 - cx) / fx, -(row + 0.5 - cy) / fy, -torch.ones_like(fx)], dim=-1)
    norm = local.norm(dim=-1, keepdim=True)
    pose = cameras.camera_to_worlds[index]
    directions = (pose[:, :, :3] * (local / norm)[:, None]).sum(dim=-1)
    metadata = {name: value[index] for name, value in (cameras.metadata or {}).items()}
    return RayBundle(
        origins=pose[:, :, 3],
        directions=directions,
        pixel_area=1 / (fx * fy)[:, None] / norm**3,
        camera_indices=places[:, :1],
        metadata={**metadata, "directions_norm": norm},
    )


def with_targets(rays: RayBundle, batch: Dict[str, Tensor], space: LatentSpace) -> Tuple[RayBundle, Dict[str, Tensor]]:
    """Rays and batch of the datamanager with the background of each ray, and its normalised latent as `latent`."""
    batch["latent"] = space.normalizer(as_float(batch["raw_latent"]))
    rays.metadata["background"] = space.background_at(*batch["position"].unbind(dim=1))
    return rays, batch
