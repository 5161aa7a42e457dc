"""Rays against the box, and compositing of any number of channels. Pure functions."""

from typing import NamedTuple, Tuple

import torch
from jaxtyping import Bool, Float
from nerfacc import accumulate_along_rays, render_weight_from_density
from nerfstudio.cameras.rays import RaySamples
from torch import Tensor

MIN_SPAN = 1e-4
"""Rays that touch the box over less than this are treated as missing it."""


def intersect_box(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], aabb: Float[Tensor, "2 3"], near: float = 0.0
) -> Tuple[Float[Tensor, "rays"], Float[Tensor, "rays"], Bool[Tensor, "rays"]]:
    """Entry and exit of rays through an axis-aligned box (slab method), and whether they hit it.

    Args:
        origins: where rays start.
        directions: unit vectors.
        aabb: lower and upper corner.
        near: smallest distance that counts.
    """
    inverse = 1 / torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    bounds = (aabb[:, None] - origins) * inverse
    entry = bounds.amin(dim=0).amax(dim=-1).clamp(min=near)
    leave = bounds.amax(dim=0).amin(dim=-1)
    return entry, leave, leave > entry + MIN_SPAN


class Composite(NamedTuple):
    """What a ray collects; all zero where it meets nothing."""

    channels: Float[Tensor, "rays channels"]
    accumulation: Float[Tensor, "rays 1"]
    depth: Float[Tensor, "rays 1"]


def ray_weights(samples: RaySamples, density: Float[Tensor, "rays samples"]) -> Float[Tensor, "rays samples"]:
    """Weights T_i (1 - exp(-sigma_i delta_i)) of samples (NeRF, eq. 3), by nerfacc's dense function."""
    starts, ends = samples.frustums.starts[..., 0], samples.frustums.ends[..., 0]
    weights, _, _ = render_weight_from_density(starts, ends, density)
    return weights


def composite(
    samples: RaySamples,
    weights: Float[Tensor, "rays samples"],
    channels: Float[Tensor, "rays samples channels"],
) -> Composite:
    """Sums of the channels, of one and of the distance under the weights; nothing is clamped and no background added.

    Depth is the weighted mean distance, and the far end of the ray where nothing was met.
    """
    middle = (samples.frustums.starts + samples.frustums.ends) / 2
    accumulation = accumulate_along_rays(weights)
    distance = accumulate_along_rays(weights, middle)
    far = samples.frustums.ends[:, -1]
    return Composite(
        channels=accumulate_along_rays(weights, channels),
        accumulation=accumulation,
        depth=distance + (1 - accumulation) * far,
    )
