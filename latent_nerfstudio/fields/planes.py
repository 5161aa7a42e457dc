"""Planes: scene planes = micro planes of one scene, beside a weighted sum of the base planes that all scenes share.

Axes: `scenes` S, `planes` 3, `features` F = F_mic + F_mac, `rows cols` T x T. A plane's row runs along the second axis
of its pair, its column along the first. Texel centres lie on the box's border: coordinate -1 is the first texel's
centre and +1 the last one's.
"""

from functools import reduce
from typing import Literal, Optional, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PLANE_AXES: Tuple[Tuple[int, int], ...] = ((0, 1), (0, 2), (1, 2))
"""XY, XZ and YZ."""

EG3D_AXES: Tuple[Tuple[int, int], ...] = ((0, 1), (0, 2), (2, 0))
"""What EG3D's code and its descendants sample: XY, XZ and ZX, so that no plane tells y from z (NVlabs/eg3d#67)."""

Aggregation = Literal["sum", "product", "concat"]


def compose_planes(
    micro: Optional[Float[Tensor, "scenes planes micro_features rows cols"]],
    base: Optional[Float[Tensor, "bases planes macro_features rows cols"]],
    weights: Optional[Float[Tensor, "scenes bases"]],
) -> Float[Tensor, "scenes planes features rows cols"]:
    """Scene planes: micro planes, then macro planes sum_i W_s^i B_i, joined along the features (3Da-AE, section 3.1).

    Either kind may be None, but not both.
    """
    parts = [] if micro is None else [micro]
    if base is not None and weights is not None:
        parts.append(torch.einsum("sb,bpfrc->spfrc", weights, base))
    return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]


def sample_planes(
    planes: Float[Tensor, "scenes planes features rows cols"],
    positions: Float[Tensor, "scenes points 3"],
    axes: Tuple[Tuple[int, int], ...] = PLANE_AXES,
) -> Float[Tensor, "scenes planes points features"]:
    """Bilinear features of points in [-1, 1]^3, one row a plane; points outside take the border's."""
    scenes, count, features = planes.shape[:3]
    coordinates = torch.stack([positions[..., list(pair)] for pair in axes], dim=1)
    sampled = F.grid_sample(
        planes.flatten(0, 1), coordinates.flatten(0, 1).unsqueeze(2), padding_mode="border", align_corners=True
    )
    return sampled.view(scenes, count, features, -1).transpose(2, 3)


def aggregate(
    features: Float[Tensor, "scenes planes points features"], how: Aggregation
) -> Float[Tensor, "scenes points out"]:
    """One feature vector a point from the three planes' vectors."""
    if how == "sum":
        return features.sum(dim=1)
    if how == "product":
        # Not prod(): its gradient looks for zeros and divides, which takes three times as long.
        return reduce(torch.mul, features.unbind(dim=1))
    return features.transpose(1, 2).flatten(2)


def total_variation(planes: Float[Tensor, "scenes planes features rows cols"]) -> Float[Tensor, ""]:
    """Mean squared difference of neighbouring texels, along rows plus along columns.

    A mean, so that its weight does not depend on how many scenes a step holds or on the planes' size. The papers' sum
    over B scenes divided by (rows + cols) is this times B * 3 * F * rows * (cols - 1) / (rows + cols).
    """
    return planes.diff(dim=-1).square().mean() + planes.diff(dim=-2).square().mean()


def group_points(slots: Int[Tensor, "points"], scenes: int) -> Tuple[Int[Tensor, "points"], Int[Tensor, ""]]:
    """Where each point goes in a scenes x longest table that keeps the points of one scene in one row.

    Args:
        slots: row of each point, in [0, scenes).
        scenes: number of rows.

    Returns:
        The position in the flattened table of each point, and the table's row length.
    """
    counts = torch.bincount(slots, minlength=scenes)
    longest = counts.max()
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(slots), device=slots.device)
    if not bool((slots.diff() >= 0).all()):  # training draws rays scene by scene, which saves the sort
        rank = torch.empty_like(slots).index_copy(0, torch.argsort(slots, stable=True), rank)
    return slots * longest + rank - starts[slots], longest


def sample_scenes(
    planes: Float[Tensor, "scenes planes features rows cols"],
    positions: Float[Tensor, "points 3"],
    slots: Int[Tensor, "points"],
    how: Aggregation = "sum",
    axes: Tuple[Tuple[int, int], ...] = PLANE_AXES,
) -> Float[Tensor, "points out"]:
    """Features of points of several scenes in any order: point i is looked up in the planes of scene `slots[i]`."""
    scenes = planes.shape[0]
    if scenes == 1:
        return aggregate(sample_planes(planes, positions[None], axes), how)[0]
    place, longest = group_points(slots, scenes)
    table = positions.new_zeros(scenes * int(longest), 3)
    table = table.index_copy(0, place, positions)
    return aggregate(sample_planes(planes, table.view(scenes, -1, 3), axes), how).flatten(0, 1).index_select(0, place)
