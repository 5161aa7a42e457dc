"""Cameras: rings about a scene, those that look at a point, paths of Nerfstudio's viewer; and what depth means.

Depth is the distance along a pixel's ray. Depth along z, which depth cameras and rasterisers have, is the distance
from the plane of the camera: z = depth / |d|, d = ((x - cx) / fx, (y - cy) / fy, 1) at the middle (x, y) of the pixel.
"""

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_paths import get_path_from_json
from nerfstudio.cameras.cameras import Cameras, CameraType

from latent_nerfstudio.api.codec import as_tensor
from latent_nerfstudio.data.bounds import camera_focus
from latent_nerfstudio.data.validation import check_last_row, check_positive, check_rigid
from latent_nerfstudio.errors import check_whole, is_number, problem
from latent_nerfstudio.files.places import as_path
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.latent_space.cameras import (
    as_cameras,
    check_pinhole,
    intrinsics_of,
    pinhole_cameras,
    pinhole_directions,
    size_of,
)
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, frame_of, poses_towards
from latent_nerfstudio.scene_files.views import MAX_SIDE, RADIUS_PER_SIDE

ELEVATION = 25.0
"""Degrees above the horizon where nothing is known of a scene's cameras."""

SIDE = 128
"""Pixels along the side of pictures, likewise."""

MOST_PATH, MOST_FRAMES = 1 << 26, 100_000
"""Bytes, and cameras, of a camera path at most; the viewer writes some hundred bytes a camera."""

FOV = math.degrees(2 * math.atan(0.5 / FOCAL_PER_WIDTH))
"""Field of view, degrees, likewise: 49."""

OPEN_GAP = 90.0
"""Degrees without a camera from which on a scene counts as seen from one side: a ring then sways within what was seen
instead of turning."""

ON_THE_SPOT = 1e-3
"""Distance, over the box's longest side, up to which cameras are where they look at: from there nothing is seen."""

UPRIGHT = 0.8
"""Cosine of the angle to an axis of the world from which on that axis is up."""


@dataclass(frozen=True)
class Ring:
    """Cameras on a circle about a scene that look at its middle."""

    center: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What they look at, world units."""
    radius: float = 1.3
    """Distance from there, world units."""
    elevation: float = ELEVATION
    """Degrees above the horizon, in (-90, 90)."""
    up: Tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Axis of the circle."""
    middle: float = 0.0
    """Azimuth of the first camera, degrees."""
    sweep: float = 360.0
    """Degrees of a full turn, or less, to sway to and fro about the middle."""
    height: int = SIDE
    """Pixels."""
    width: int = SIDE
    """Pixels."""
    focal: Tuple[float, float] = (FOCAL_PER_WIDTH * SIDE, FOCAL_PER_WIDTH * SIDE)
    """Focal lengths along x and y, pixels."""

    def resized(self, height: Optional[int]) -> "Ring":
        """The same view with pictures of another height, of the same aspect; None leaves it as it is."""
        check_side(height)
        if height is None:
            return self
        width = max(1, round(self.width * height / self.height))
        across, down = width / self.width, height / self.height
        return replace(self, height=height, width=width, focal=(self.focal[0] * across, self.focal[1] * down))

    def cameras(self, views: int) -> Cameras:
        """So many cameras, one or more, in the order of a walk that ends where it began."""
        return pinhole_cameras(self.walk(views), [self.focal], self.height, self.width)

    def walk(self, views: int) -> Float[np.ndarray, "views 4 4"]:
        """OpenGL camera-to-world matrices of `cameras`."""
        check_whole("views", views, 1, MOST_FRAMES, "try 60")
        turns = np.arange(views) / views
        degrees = 360 * turns if self.sweep >= 360 else self.sweep / 2 * np.sin(2 * np.pi * turns)
        azimuths = np.radians(self.middle + degrees)
        along, aside, up = frame_of(self.up)
        tilt = math.radians(self.elevation)
        level = np.cos(azimuths)[:, None] * along + np.sin(azimuths)[:, None] * aside
        backwards = math.cos(tilt) * level + math.sin(tilt) * up
        return poses_towards(np.array(self.center) + self.radius * backwards, self.center, self.up)


def look_at(
    eyes: Any,
    target: Sequence[float] = (0.0, 0.0, 0.0),
    up: Sequence[float] = (0.0, 0.0, 1.0),
    size: Union[int, Tuple[int, int]] = SIDE,
    fov: float = FOV,
) -> Cameras:
    """Cameras at given places that look at one point.

    Args:
        eyes: places, [n, 3] or one [3], world units.
        target: point that they look at.
        up: what is up in the pictures.
        size: height and width, pixels, or one number for both.
        fov: field of view from top to bottom, degrees, in (0, 180).

    Raises:
        ValueError: an eye at the target, numbers that are not finite, or out of their ranges.

    Example:
        >>> cameras = look_at([[2.0, 0.0, 0.0], [0.0, 2.0, 1.0]], size=(96, 128))
        >>> cameras.camera_to_worlds[0, :, 2].tolist()  # backwards: away from the target
        [1.0, 0.0, 0.0]
        >>> len(cameras), int(cameras.width[0])
        (2, 128)
    """
    places, point, axis = np.atleast_2d(numbers_of(eyes, "eyes")), numbers_of(target, "target"), numbers_of(up, "up")
    height, width = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    check_side(height)  # type: ignore[arg-type]
    check_side(width)  # type: ignore[arg-type]
    good = len(places) and places.shape[1:] == point.shape == axis.shape == (3,) and is_number(fov) and 0 < fov < 180
    if not good or not np.isfinite(places).all() or not np.linalg.norm(places - point, axis=1).all() or not axis.any():
        expected = "eyes [n, 3] away from the target, an up, and a field of view within 180 degrees"
        raise ValueError(problem("look_at", expected, f"{eyes!r:.60}, {up!r:.40} and {fov!r:.40}", "correct them"))
    focal = height / 2 / math.tan(math.radians(fov) / 2)
    return pinhole_cameras(poses_towards(places, point, axis), [(focal, focal)], height, width)


def view_directions(cameras: Cameras) -> Float[torch.Tensor, "n height width 3"]:
    """Directions of the rays of all pixels of pinhole cameras of one size, in each camera's axes, 1 long along z."""
    flat = as_cameras(cameras).to("cpu")
    check_pinhole(flat, "cameras", "render with such cameras, from orbit or look_at")
    return pinhole_directions(intrinsics_of(flat), *size_of(flat))


def pixel_directions(cameras: Cameras) -> Float[torch.Tensor, "n height width 3"]:
    """The same as unit vectors in world axes."""
    turned = torch.einsum("nij,nhwj->nhwi", cameras.camera_to_worlds[..., :3], view_directions(cameras))
    return turned / turned.norm(dim=-1, keepdim=True)


def depth_along_z(
    depth: Float[torch.Tensor, "n height width 1"], cameras: Cameras
) -> Float[torch.Tensor, "n height width 1"]:
    """Depth along z of depth along the ray, which `Pictures.depth` is.

    Example:
        >>> cameras = look_at([0.0, 0.0, 2.0], size=3, fov=90.0)
        >>> flat = depth_along_ray(torch.full((1, 3, 3, 1), 2.0), cameras)  # a wall, as a depth camera sees it
        >>> [round(float(value), 3) for value in flat[0, 1, :, 0]]  # farther away at the sides
        [2.404, 2.0, 2.404]
        >>> depth_along_z(flat, cameras).allclose(torch.tensor(2.0))
        True
    """
    return depth / lengths_of(depth, cameras)


def depth_along_ray(
    z: Float[torch.Tensor, "n height width 1"], cameras: Cameras
) -> Float[torch.Tensor, "n height width 1"]:
    """Depth along the ray of depth along z; the inverse of `depth_along_z`."""
    return z * lengths_of(z, cameras)


def lengths_of(depth: Any, cameras: Cameras) -> Float[torch.Tensor, "n height width 1"]:
    """How long the directions of the pixels of depth maps are that are 1 long along z."""
    lengths = view_directions(cameras).norm(dim=-1, keepdim=True)
    if not isinstance(depth, torch.Tensor) or depth.shape != lengths.shape:
        got = list(depth.shape) if isinstance(depth, torch.Tensor) else f"a {type(depth).__name__}"
        raise ValueError(problem("depth", f"a tensor {list(lengths.shape)}, as the cameras", got, "give theirs"))
    return lengths.to(depth)


def orbit(
    views: int = 60,
    size: int = SIDE,
    radius: float = 1.3,
    elevation: float = ELEVATION,
    center: Tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Cameras:
    """Cameras that turn once about a point, z up, with a field of view of 49 degrees; those of `Scenes.orbit` suit a
    scene by themselves.

    Args:
        views: number of cameras.
        size: pixels along the side of a picture.
        radius: distance from the point, world units.
        elevation: degrees above the horizon, in (-90, 90).
        center: the point.

    Raises:
        ValueError: a number out of its range.
    """
    if not (is_number(radius) and is_number(elevation) and radius > 0 and -90 < elevation < 90):
        got = f"{radius!r:.40} and {elevation!r:.40}"
        raise ValueError(problem("orbit", "a positive radius and an elevation within 90 degrees", got, "change them"))
    point = numbers_of(center, "center")
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ValueError(problem("center", "three finite numbers", f"{center!r:.60}", "give world coordinates"))
    return Ring(as_point(point), float(radius), float(elevation)).resized(size).cameras(views)


def camera_path(path: Union[str, Path]) -> Cameras:
    """The cameras of a camera path that Nerfstudio's viewer wrote, without its crop, which is said; raises ValueError
    for another file."""
    path = as_path(path, "camera path")
    do = "name a JSON file that the viewer's Render panel wrote"
    content = read_json(path, do, MOST_PATH)
    frames = content.get("camera_path")
    if isinstance(frames, list) and len(frames) > MOST_FRAMES:
        raise ValueError(problem(path, f"{MOST_FRAMES:,} cameras at most", f"{len(frames):,}", "split it"))
    try:
        cameras = get_path_from_json(content)
        numbers = torch.cat([cameras.camera_to_worlds.flatten(), cameras.fx.flatten(), cameras.fy.flatten()])
        sides = torch.stack([cameras.height, cameras.width])
        matrices = [np.asarray(frame["camera_to_world"], float).reshape(-1, 4) for frame in content["camera_path"]]
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ValueError(problem(path, "a camera path of the viewer", got, do)) from error
    if not bool(numbers.isfinite().all()) or not 1 <= int(sides.min()) <= int(sides.max()) <= MAX_SIDE:
        raise ValueError(problem(path, f"finite cameras of 1 to {MAX_SIDE} pixels a side", "others", do))
    for index, matrix in enumerate(matrices):
        check_last_row(matrix, f"{path}, pose of 'camera {index}'")
    check_places(cameras, path, "focal length")
    if content.get("crop"):
        warnings.warn(f"{path}: its crop is left out; ns-render camera-path cuts scenes at it", stacklevel=2)
    return cameras


def check_places(cameras: Cameras, where: object, lens: str = "fx") -> None:
    """Refuses poses that no camera has, and fields of view of 180 degrees and more; `lens` is what fx is called."""
    names = [f"camera {index}" for index in range(len(cameras))]
    check_rigid(cameras.camera_to_worlds.double().numpy(force=True), names, where)
    for what, focal in ((lens, cameras.fx), ("fy", cameras.fy)):
        check_positive(focal[:, 0].double().numpy(force=True), what, names, where)


def check_side(side: Optional[int]) -> None:
    """Refuses pictures without pixels, and those that no memory holds; None is any."""
    if side is not None:
        check_whole("size", side, 1, MAX_SIDE, "try 128", " pixels")


def ring_in_box(box: Float[torch.Tensor, "2 3"]) -> Ring:
    """A ring about a scene box, where nothing is known of the scene's cameras."""
    longest = float((box[1] - box[0]).max())
    return Ring(as_point(box.mean(dim=0)), RADIUS_PER_SIDE * longest)


def ring_of(cameras: Cameras, box: Float[torch.Tensor, "2 3"]) -> Ring:
    """The ring that suits a scene's own cameras: about what they look at (`focus_of`), by medians, with their lens."""
    poses = cameras.camera_to_worlds.double().cpu().numpy()
    up = up_of(poses)
    center = focus_of(poses, box)
    offsets = poses[:, :, 3] - center
    distances = np.linalg.norm(offsets, axis=1)
    ahead, aside, above = np.stack(frame_of(up)) @ (offsets / distances.clip(1e-9)[:, None]).T
    middle, sweep = arc_of(np.degrees(np.arctan2(aside, ahead)))
    height, width = (round(float(side.double().median())) for side in (cameras.height, cameras.width))
    focal = FOCAL_PER_WIDTH * width, FOCAL_PER_WIDTH * width
    if bool((cameras.camera_type == CameraType.PERSPECTIVE.value).all()):
        focal = float(cameras.fx.median()), float(cameras.fy.median())
    elevation = float(np.degrees(np.arcsin(np.median(above).clip(-1, 1))).clip(-80, 80))
    usual = float(np.median(distances))
    radius = usual if usual > ON_THE_SPOT * float((box[1] - box[0]).max()) else ring_in_box(box).radius
    return Ring(as_point(center), radius, elevation, as_point(up), middle, sweep, height, width, focal)


def numbers_of(values: Any, what: str) -> np.ndarray:
    """Numbers in any form as an array."""
    return as_tensor(values, what, "numbers").double().numpy(force=True)


def as_point(values: Union[torch.Tensor, np.ndarray, Sequence[float]]) -> Tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def up_of(poses: Float[np.ndarray, "views 3 4"]) -> Float[np.ndarray, "3"]:
    """What is up: the mean of the cameras' own, or the axis of the world that it is close to."""
    mean = poses[:, :, 1].mean(axis=0)
    mean = mean / max(np.linalg.norm(mean), 1e-9)
    nearest = int(np.argmax(np.abs(mean)))
    if np.abs(mean[nearest]) < UPRIGHT:
        return mean if np.abs(mean).max() > 0.1 else np.array([0.0, 0.0, 1.0])
    return np.sign(mean[nearest]) * np.eye(3)[nearest]


def focus_of(poses: Float[np.ndarray, "views 3 4"], box: Float[torch.Tensor, "2 3"]) -> Float[np.ndarray, "3"]:
    """What cameras look at (`camera_focus`); the middle of the box where that lies outside of it, or where the lines of
    sight are parallel up to a hundredth."""
    low, high = box.double().cpu().numpy()
    point = camera_focus(poses)
    is_within = bool(((point >= low) & (point <= high)).all())
    return point if is_within and np.ptp(poses[:, :, 2], axis=0).max() > 0.01 else (low + high) / 2


def arc_of(azimuths: Float[np.ndarray, " views"]) -> Tuple[float, float]:
    """Middle and extent, degrees, of the shortest arc that holds all azimuths; (0, 360) where no wide gap is left."""
    ordered = np.sort(np.mod(azimuths, 360.0))
    gaps = np.diff(np.concatenate([ordered, ordered[:1] + 360.0]))
    widest = int(np.argmax(gaps))
    if len(ordered) < 3 or gaps[widest] < OPEN_GAP:
        return 0.0, 360.0
    start, extent = ordered[(widest + 1) % len(ordered)], 360.0 - gaps[widest]
    return float(np.mod(start + extent / 2, 360.0)), float(extent)


def walk_together(rings: Sequence[Ring], views: int) -> Cameras:
    """Cameras of several rings in step: first the first camera of each ring, then the second of each, and so on.
    Pictures are of one height, and as wide as the widest ring's."""
    poses = np.stack([ring.walk(views) for ring in rings], axis=1).reshape(-1, 4, 4)
    width = max(ring.width for ring in rings)
    return pinhole_cameras(poses, [ring.focal for ring in rings] * views, rings[0].height, width)
