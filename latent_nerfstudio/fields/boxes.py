"""Axis-aligned boxes, given by their lower and upper corner, and rays through them."""

from typing import Tuple, Union

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MIN_SPAN = 1e-4
"""Rays that touch the box over less than this are treated as missing it."""


def intersect_box(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    aabb: Union[Float[Tensor, "2 3"], Float[Tensor, "2 rays 3"]],
    near: float = 0.0,
) -> Tuple[Float[Tensor, "rays"], Float[Tensor, "rays"], Bool[Tensor, "rays"]]:
    """Entry, `near` at least, and exit of rays through a box, or each through its own, and whether they hit it."""
    inverse = 1 / torch.where(directions.abs() < 1e-9, 1e-9, directions)
    corners = aabb if aabb.dim() == 3 else aabb[:, None]
    bounds = (corners - origins) * inverse
    entry = bounds.amin(dim=0).amax(dim=-1).clamp(min=near)
    leave = bounds.amax(dim=0).amin(dim=-1)
    return entry, leave, leave > entry + MIN_SPAN


def farthest_corner(origins: Float[Tensor, "rays 3"], aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "rays 1"]:
    return torch.maximum((origins - aabb[0]).abs(), (origins - aabb[1]).abs()).norm(dim=-1, keepdim=True)


def cropped_box(aabb: Float[Tensor, "2 3"], crop: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    """The part of a box that lies in another; without volume where they do not meet."""
    low = torch.maximum(crop[0], aabb[0])
    return torch.stack([low, torch.maximum(low, torch.minimum(crop[1], aabb[1]))])
