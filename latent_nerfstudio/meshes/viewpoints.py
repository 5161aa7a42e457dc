"""Where cameras stand: on the upper hemisphere, evenly; and how they turn to what they look at."""

from collections.abc import Sequence
from typing import Union

import numpy as np
from jaxtyping import Float

FOCAL_PER_WIDTH = 1.09375
"""Focal length over image width (a field of view of 49 degrees); 140 / 128, as in the common renders of ShapeNet."""
RADIUS = 1.3
"""Distance of the cameras from the origin, for an object of longest side 1."""
MAX_ELEVATION = 75.0
"""Degrees above the horizon of the highest camera."""


def hemisphere(views: int, seed: int, radius: float = RADIUS) -> Float[np.ndarray, "views 4 4"]:
    """OpenGL camera-to-world matrices of one camera or more that cover the upper hemisphere evenly, world z up.
    Positions follow a low-discrepancy sequence (R2, the two-dimensional golden ratio) shifted by the seed (>= 0),
    uniform in area, so any first part of them, and every tenth of them, covers the hemisphere as well."""
    shift = np.random.default_rng([seed, 0x51E5]).random(2)
    root = 1.32471795724474602596  # the real root of x^3 = x + 1
    steps = np.arange(views)[:, None] * np.array([1.0 / root, 1.0 / root**2])
    u, v = ((shift + steps) % 1.0).T
    height, around = u * np.sin(np.radians(MAX_ELEVATION)), 2.0 * np.pi * v
    level = np.sqrt(1.0 - height**2)
    return poses_towards(radius * np.stack([level * np.cos(around), level * np.sin(around), height], -1))


def poses_towards(
    eyes: Float[np.ndarray, "views 3"],
    target: Union[Sequence[float], np.ndarray] = (0.0, 0.0, 0.0),
    up: Union[Sequence[float], np.ndarray] = (0.0, 0.0, 1.0),
) -> Float[np.ndarray, "views 4 4"]:
    """OpenGL camera-to-world matrices (x right, y up, z backwards) of cameras at `eyes` that look at a point."""
    along, _, axis = frame_of(up)
    backwards = eyes - np.asarray(target, dtype=float)
    backwards = backwards / np.linalg.norm(backwards, axis=1, keepdims=True)
    right = np.cross(axis, backwards)
    sideways = np.linalg.norm(right, axis=1, keepdims=True)
    right = np.where(sideways > 1e-6, right / sideways.clip(1e-6), along)  # any will do for one that looks along up
    poses = np.tile(np.eye(4), (len(eyes), 1, 1))
    poses[:, :3] = np.stack([right, np.cross(backwards, right), backwards, eyes], axis=-1)
    return poses


def frame_of(up: Union[Sequence[float], np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three unit vectors at right angles: azimuth 0, azimuth 90 degrees, and up; for z these are x, y and z."""
    axis = np.asarray(up, dtype=float) / np.linalg.norm(up)
    helper = np.eye(3)[(int(np.argmax(np.abs(axis))) + 1) % 3]
    along = helper - axis * (helper @ axis)
    along /= np.linalg.norm(along)
    return along, np.cross(axis, along), axis


def framing_radius(points: Float[np.ndarray, "points 3"], views: int, seed: int) -> float:
    """Distance of the cameras of `hemisphere` from which none of them cuts a point off; at least `RADIUS`. A point (x,
    y, z) in the frame of a camera that looks along -z at the origin, from which it is r away, is within a square
    picture of half the width w and the focal length f if |x| and |y| <= w / f (r - z)."""
    turned = (points @ pose[:3, :3] for pose in hemisphere(views, seed))  # a view at a time: meshes can be large
    needed = (2 * FOCAL_PER_WIDTH * np.abs(xyz[:, :2]).max(-1) + xyz[:, 2] for xyz in turned)
    return max(RADIUS, *(float(distances.max()) for distances in needed))
