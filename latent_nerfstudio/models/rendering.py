"""Rays against the box, and compositing of any number of channels. Pure functions; axes: `rays`, `samples`, `channels`,
and `hits` for the rays that meet the box."""

from typing import Dict, Optional, Tuple

import torch
from jaxtyping import Bool, Float, Int
from nerfacc import accumulate_along_rays, render_weight_from_density
from nerfstudio.cameras.rays import RayBundle, RaySamples
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


def farthest_corner(origins: Float[Tensor, "rays 3"], aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "rays 1"]:
    """Distance from each origin to the box's farthest corner."""
    return torch.maximum((origins - aabb[0]).abs(), (origins - aabb[1]).abs()).norm(dim=-1, keepdim=True)


def cropped_box(aabb: Float[Tensor, "2 3"], crop: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    """The part of a box that lies in another; without volume where they do not meet."""
    low = torch.maximum(crop[0], aabb[0])
    return torch.stack([low, torch.maximum(low, torch.minimum(crop[1], aabb[1]))])


def clip_rays(
    rays: RayBundle, box: Optional[Float[Tensor, "2 3"]], near: float, far: float
) -> Tuple[RayBundle, Optional[Int[Tensor, "hits"]]]:
    """The rays that meet a box, with near and far set, and their positions; None where all do, as in most of training.

    Bounds that the bundle brings, those of an oriented crop box, are kept. If no ray meets the box, the first one
    stands in for them with near and far alike, so that later steps need not care; `for_all_rays` leaves it out.

    Args:
        rays: flat bundle; it is left as it is.
        box: where rays begin and end; None for the whole space.
        near: smallest distance that counts.
        far: largest distance, for the whole space.
    """
    if box is None:
        nears, fars = (torch.full_like(rays.origins[:, 0], distance) for distance in (near, far))
    else:
        nears, fars, _ = intersect_box(rays.origins, rays.directions, box, near)
    if rays.nears is not None and rays.fars is not None:
        nears, fars = torch.maximum(nears, rays.nears[:, 0]), torch.minimum(fars, rays.fars[:, 0])
    hit = (fars > nears + MIN_SPAN).nonzero()[:, 0]  # a device is asked once, for how many there are
    if len(hit) == len(nears):
        clipped, hit = rays[...], None
    else:
        kept = hit
        if not len(hit):
            kept = torch.zeros(1, dtype=torch.long, device=hit.device)
            nears = fars = torch.full_like(nears, max(near, MIN_SPAN))
        clipped, nears, fars = rays[kept], nears[kept], fars[kept]
    clipped.nears, clipped.fars = nears[:, None], fars[:, None]
    return clipped, hit


def for_all_rays(
    outputs: Dict[str, Float[Tensor, "kept _"]],
    hit: Optional[Int[Tensor, "hits"]],
    rays: RayBundle,
    aabb: Float[Tensor, "2 3"],
) -> Dict[str, Float[Tensor, "rays _"]]:
    """Outputs of the rays that meet the box, for all of them: zero for the others, and `depth` as far as the box's
    farthest corner, so that depth pictures have a range.

    Args:
        outputs: of the rays that `clip_rays` gave.
        hit: their positions, from `clip_rays`.
        rays: all rays.
        aabb: the box.
    """
    if hit is None:
        return outputs
    full = {name: value.new_zeros(len(rays), value.shape[-1]) for name, value in outputs.items()}
    if "depth" in full:
        full["depth"] = farthest_corner(rays.origins, aabb)
    return {name: value.index_copy(0, hit, outputs[name][: len(hit)].to(value)) for name, value in full.items()}


def ray_weights(samples: RaySamples, density: Float[Tensor, "rays samples"]) -> Float[Tensor, "rays samples"]:
    """Weights T_i (1 - exp(-sigma_i delta_i)) of samples (NeRF, eq. 3), by nerfacc's dense function."""
    starts, ends = samples.frustums.starts[..., 0], samples.frustums.ends[..., 0]
    weights, _, _ = render_weight_from_density(starts, ends, density)
    return weights


def composite(
    samples: RaySamples, weights: Float[Tensor, "rays samples"], channels: Float[Tensor, "rays samples channels"]
) -> Dict[str, Float[Tensor, "rays _"]]:
    """`latent`, `accumulation` and `depth`: sums of the channels, of one and of the distance under the weights.

    Nothing is clamped and no background added. Depth is the far end of the ray where nothing is met.
    """
    middle = (samples.frustums.starts + samples.frustums.ends) / 2
    accumulation = accumulate_along_rays(weights)
    behind = (1 - accumulation) * samples.frustums.ends[:, -1]
    return {
        "latent": accumulate_along_rays(weights, channels),
        "accumulation": accumulation,
        "depth": accumulate_along_rays(weights, middle) + behind,
    }
