"""Axis-aligned boxes around scenes: arithmetic of boxes, and a tight box carved from silhouettes.

A box is an array of two corners, the lower one first, in world units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
from jaxtyping import Bool, Float, Int

CARVING_RESOLUTIONS = (24, 32, 40)
"""Grid points per axis of the successive carvings, each in the box that the one before has left."""

SILHOUETTE_PIXELS = 128
"""Silhouettes are reduced to this size: a final cell covers some 3 pixels of it."""

UNIT_BOX = np.array([[-1.0] * 3, [1.0] * 3])
"""The box [-1, 1]^3."""


@dataclass(frozen=True)
class SilhouetteView:
    """One pinhole view of a scene: OpenGL pose in world units, focal lengths and centre in pixels of `distance`, the
    distance of each pixel from the silhouette (0 inside). It is `whole` if the silhouette stays off the image's border,
    so that the image shows the whole scene."""

    camera_to_world: Float[np.ndarray, "3 4"]
    focal: tuple[float, float]
    centre: tuple[float, float]
    distance: Float[np.ndarray, "height width"]
    whole: bool


def union_of_boxes(boxes: Float[np.ndarray, "boxes 2 3"]) -> Float[np.ndarray, "2 3"]:
    """The smallest box around one box or more."""
    return np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])


def scaled_box(box: Float[np.ndarray, "2 3"], factor: float) -> Float[np.ndarray, "2 3"]:
    """A box with `factor` > 0 times the side lengths, about its own centre."""
    centre = box.mean(axis=0)
    return centre + factor * (box - centre)


def transformed_box(
    box: Float[np.ndarray, "2 3"], transform: Float[np.ndarray, "3 4"], scale: float
) -> Float[np.ndarray, "2 3"]:
    """The axis-aligned box around the eight corners of a box, after a transform and then a scale."""
    corners = np.stack(np.meshgrid(*box.T), axis=-1).reshape(-1, 3)
    moved = scale * (corners @ transform[:, :3].T + transform[:, 3])
    return np.stack([moved.min(axis=0), moved.max(axis=0)])


def spread_views(positions: Float[np.ndarray, "views 3"], wanted: int) -> Int[np.ndarray, " chosen"]:
    """Chooses up to `wanted` views: the first, then always the one whose camera is farthest from those chosen."""
    chosen: list[int] = []
    distances = np.full(len(positions), np.inf)
    for _ in range(min(wanted, len(positions))):
        index = int(np.argmax(distances))
        chosen.append(index)
        distances = np.minimum(distances, ((positions - positions[index]) ** 2).sum(axis=1))
        # Several cameras may share a place; a view is chosen once all the same.
        distances[index] = -1.0
    return np.array(chosen)


def camera_focus(camera_to_worlds: Float[np.ndarray, "views 3 4"]) -> Float[np.ndarray, " 3"]:
    """The point closest to all optical axes of OpenGL poses; close to the mean camera along axes that are parallel."""
    origins, axes = camera_to_worlds[:, :, 3], camera_to_worlds[:, :, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    mean = origins.mean(axis=0)
    # The shortest solution, which stays with the mean camera where parallel axes do not decide.
    return mean + np.linalg.lstsq(across.sum(axis=0), np.einsum("vij,vj->i", across, origins - mean), rcond=1e-6)[0]


def can_carve(masks: Sequence[Bool[np.ndarray, "_ _"]]) -> bool:
    """Whether some mask leaves a hundredth out at least: opaque images with an alpha channel are common."""
    return any(mask.mean() < 0.99 for mask in masks)


def silhouette_bounds(
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    camera_to_worlds: Float[np.ndarray, "views 3 4"],
    intrinsics: Float[np.ndarray, "views 4"],
) -> Optional[Float[np.ndarray, "2 3"]]:
    """A box around the visual hull, with a margin of a cell, from masks that are true where the scene is; None if no
    point is in all of them. Poses are OpenGL's; intrinsics are fx, fy, cx, cy in pixels of the masks.

    A grid is carved, then a finer one in the box that is left, and so on. A cell is removed if it lies wholly outside
    the silhouette of some view, taking account of its size there, so that nothing thin slips between grid points.
    Outside its image, a view only judges cells if its silhouette stays off the border. A quarter of the views must
    judge a cell that stays: otherwise close-ups would keep space that none of them shows."""
    views = [_silhouette_view(*shot) for shot in zip(masks, camera_to_worlds, intrinsics, strict=True)]
    focus = camera_focus(camera_to_worlds)
    reach = np.linalg.norm(camera_to_worlds[:, :, 3] - focus, axis=1).max()
    box: Optional[np.ndarray] = np.stack([focus - reach, focus + reach])
    cell = np.zeros(3)
    for resolution in CARVING_RESOLUTIONS:
        cell = (box[1] - box[0]) / resolution
        box = _carved(box, cell, resolution, views)
        if box is None:
            return None
    return np.stack([box[0] - 0.5 * cell, box[1] + 0.5 * cell])


def _silhouette_view(
    mask: Bool[np.ndarray, "height width"], pose: Float[np.ndarray, "3 4"], intrinsics: Float[np.ndarray, " 4"]
) -> SilhouetteView:
    """A view with its silhouette reduced to some 128 pixels; a reduced pixel is inside where any of its pixels is."""
    import cv2
    from skimage.measure import block_reduce

    factor = max(1, round(max(mask.shape) / SILHOUETTE_PIXELS))
    reduced = block_reduce(mask, factor, np.any)
    # Where the silhouette is empty, distanceTransform has no pixel to measure from.
    distance = np.full(reduced.shape, np.inf, dtype=np.float32)
    if reduced.any():
        distance = cv2.distanceTransform((~reduced).astype(np.uint8), cv2.DIST_L2, 5)
    fx, fy, cx, cy = intrinsics / factor
    whole = bool(mask.any()) and not any(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return SilhouetteView(pose.astype(np.float32), (fx, fy), (cx, cy), distance, whole)


def _carved(
    box: Float[np.ndarray, "2 3"], cell: Float[np.ndarray, " 3"], resolution: int, views: Sequence[SilhouetteView]
) -> Optional[Float[np.ndarray, "2 3"]]:
    """The box around the cells of a grid that survive all views; None if none does."""
    steps = np.indices((resolution,) * 3).reshape(3, -1).T + 0.5
    points = (box[0] + cell * steps).astype(np.float32)
    votes = np.zeros(len(points), dtype=np.int32)
    radius = 0.5 * float(np.linalg.norm(cell))
    for view in views:
        judged, outside = _judged(points, radius, view)
        points, votes = points[~outside], (votes + judged)[~outside]
    points = points[votes >= min(len(views), max(2, len(views) // 4))]
    if len(points) == 0:
        return None
    return np.stack([points.min(axis=0) - 0.5 * cell, points.max(axis=0) + 0.5 * cell])


def _judged(
    points: Float[np.ndarray, "points 3"], radius: float, view: SilhouetteView
) -> tuple[Bool[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
    """Whether the view judges each ball around a point, and whether the ball is wholly outside its silhouette."""
    in_camera = (points - view.camera_to_world[:, 3]) @ view.camera_to_world[:, :3]
    depth = -in_camera[:, 2]
    clearance = np.maximum(depth - radius, 1e-6)
    near = np.maximum(depth, 1e-6)
    u = view.focal[0] * in_camera[:, 0] / near + view.centre[0]
    v = view.centre[1] - view.focal[1] * in_camera[:, 1] / near
    height, width = view.distance.shape
    column, row = np.clip(u, 0, width - 0.5), np.clip(v, 0, height - 0.5)
    # Exact inside the image. Outside it is a lower bound: the image is convex and holds the silhouette.
    distance = np.sqrt((u - column) ** 2 + (v - row) ** 2 + view.distance[row.astype(int), column.astype(int)] ** 2)
    # Off the axis, a ball's image is longer by the secant of its angle to the axis.
    size = max(view.focal) * radius * np.linalg.norm(in_camera, axis=1) / (near * clearance)
    # One pixel for the rounding of coordinates, one for the metric of the distance transform.
    outside = distance > size + 2.0
    in_front, behind = depth > radius, depth < -radius
    if view.whole:
        return in_front | behind, (in_front & outside) | behind
    judged = in_front & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return judged, judged & outside
