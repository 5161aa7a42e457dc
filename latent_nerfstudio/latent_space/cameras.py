"""Kinds of cameras. Pinhole cameras are perspective ones without distortion: the ray through the middle (x, y) of a
pixel is along ((x - cx) / fx, -(y - cy) / fy, -1) in the camera's axes, x right, y up, z backwards."""

import math
from typing import Any, Sequence, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor

from latent_nerfstudio.errors import problem


def as_cameras(cameras: Any) -> Cameras:
    """Cameras one after the other; refuses what are none of Nerfstudio's."""
    if not isinstance(cameras, Cameras):
        got = "none" if cameras is None else f"a {type(cameras).__name__}"
        do = "give those of look_at(), orbit(), cameras() or camera_path()"
        raise ValueError(problem("cameras", "one Cameras of Nerfstudio for all", got, do))
    return cameras.reshape((-1,))


def is_pinhole(cameras: Cameras) -> bool:
    return not others_of(cameras)


def check_pinhole(cameras: Cameras, what: str, do: str) -> None:
    others = others_of(cameras)
    if others:
        raise ValueError(problem(what, "perspective cameras without distortion", others, do))


def others_of(cameras: Cameras) -> str:
    """In words, which of the cameras are no pinhole ones; empty if all are."""
    kinds = {CameraType(kind).name for kind in cameras.camera_type.unique().tolist()} - {CameraType.PERSPECTIVE.name}
    distorted = cameras.distortion_params is not None and bool(cameras.distortion_params.any())
    return ", ".join(sorted(kinds)) or ("distorted ones" if distorted else "")


def size_of(camera: Cameras) -> Tuple[int, int]:
    """Height and width of one camera, or of several of one size, pixels."""
    return int(camera.height.flatten()[0]), int(camera.width.flatten()[0])


def intrinsics_of(cameras: Cameras) -> Float[Tensor, "*cameras 4"]:
    """fx, fy, cx, cy of cameras of any kind, in their own pixels."""
    return torch.cat([cameras.fx, cameras.fy, cameras.cx, cameras.cy], dim=-1).float()


def pinhole_cameras(
    poses: Float[np.ndarray, "views rows 4"], focal: Sequence[Tuple[float, float]], height: int, width: int
) -> Cameras:
    """Cameras about the picture's middle, of OpenGL poses and focal lengths along x and y, pixels, of each or all."""
    lengths = torch.tensor(list(focal), dtype=torch.float32).expand(len(poses), 2)
    return Cameras(
        camera_to_worlds=torch.tensor(poses[:, :3], dtype=torch.float32),
        fx=lengths[:, :1].clone(),
        fy=lengths[:, 1:].clone(),
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
        camera_type=CameraType.PERSPECTIVE,
    )


def pinhole_directions(
    intrinsics: Float[Tensor, "*cameras 4"], height: int, width: int
) -> Float[Tensor, "*cameras height width 3"]:
    """Directions of the rays of all pixels of pinhole cameras, in each camera's axes, 1 long along z."""
    sides = (torch.arange(extent, device=intrinsics.device) + 0.5 for extent in (height, width))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    fx, fy, cx, cy = intrinsics[..., None, None].unbind(dim=-3)
    x, y = (columns - cx) / fx, -(rows - cy) / fy
    return torch.stack([x, y, -torch.ones_like(x)], dim=-1)


STEREO_PANORAMAS = (CameraType.OMNIDIRECTIONALSTEREO_L, CameraType.OMNIDIRECTIONALSTEREO_R)

PANORAMAS = (CameraType.EQUIRECTANGULAR, *STEREO_PANORAMAS)
"""Cameras with longitude from left to right and latitude from top to bottom."""

STEREO = (*STEREO_PANORAMAS, CameraType.VR180_L, CameraType.VR180_R)
"""Cameras that see with one of two eyes."""


def is_stereo(cameras: Cameras) -> bool:
    """Whether any camera is one eye of a pair; Nerfstudio only makes rays of their whole pictures."""
    return bool(_are_of(cameras, STEREO).any())


def is_panorama(cameras: Cameras) -> bool:
    """Whether cameras look everywhere, so that a picture goes on beyond its borders on its other side."""
    turns, half_turns = cameras.width / (2 * cameras.fx), cameras.height / cameras.fy
    around = all(torch.allclose(part, torch.ones_like(part)) for part in (turns, half_turns))
    return around and bool(_are_of(cameras, PANORAMAS).all())


def pixels_per_radian(cameras: Cameras) -> float:
    """The largest number of pixels that a radian takes in the middle of a picture."""
    return float(torch.where(_are_of(cameras, PANORAMAS), cameras.fy / math.pi, cameras.fy).max())


def _are_of(cameras: Cameras, kinds: Tuple[CameraType, ...]) -> Bool[Tensor, "*cameras 1"]:
    values = [kind.value for kind in kinds]
    return torch.isin(cameras.camera_type, torch.tensor(values, device=cameras.camera_type.device))
