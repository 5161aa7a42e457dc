"""Tri-plane lookup and tiny MLP in plain torch, with a backward pass of its own: the twin of `triplane_triton`.

A point's features are the sum of its bilinear values in three planes, hence a weighted sum of twelve texels: an
embedding bag forwards, and backwards the transpose of that sparse matrix. Axes: `scenes` S, `rows cols` texels,
`features` F, `hidden` the MLP's width, `outputs`, `points`, and `texels` for 12, four for each plane.

Planes are channels-last, [S, 3, rows, cols, F], so that the features of a texel are neighbours in memory."""

from typing import Any, NamedTuple, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

Axes = Tuple[Tuple[int, int], ...]
"""For each plane, the coordinates along its columns and along its rows."""


Features = Float[Tensor, "points features"]
Texels = Int[Tensor, "points texels"]
Weights = Float[Tensor, "points texels"]
"""Of points: their features, the texels that these are made of, as rows of the flattened planes, and their weights."""


class TinyMLP(NamedTuple):
    """Weights of features -> hidden, ReLU -> outputs, as `torch.nn.Linear` keeps them."""

    hidden_weight: Float[Tensor, "hidden features"]
    hidden_bias: Float[Tensor, "hidden"]
    output_weight: Float[Tensor, "outputs hidden"]
    output_bias: Float[Tensor, "outputs"]


def triplane_mlp(
    planes: Float[Tensor, "scenes 3 rows cols features"],
    positions: Float[Tensor, "points 3"],
    slots: Int[Tensor, "points"],
    mlp: TinyMLP,
    axes: Axes,
    negligible: float = 0.0,
) -> Float[Tensor, "points outputs"]:
    """The MLP's outputs at points of several scenes in any order, with gradients for those weights that need one.

    Planes have at least 2 x 2 texels, whose first and last centres lie at -1 and +1. Positions outside of [-1, 1]^3
    take the border's value, and none gets a gradient; `slots` says which scene's planes each is looked up in. Points
    whose largest gradient is below the share `negligible` of the mean are left out backwards: most lie in empty space
    or behind surfaces, and move nothing."""
    return _TriplaneMLP.apply(planes, *mlp, positions, slots, axes, negligible)  # type: ignore[return-value]


class _TriplaneMLP(torch.autograd.Function):
    """See `triplane_mlp`; written out, because autograd would keep and visit the points that move nothing."""

    @staticmethod
    def forward(ctx, planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, axes, share):
        index, weight = texels_of(positions, slots, planes.shape[2], planes.shape[3], axes)
        table = planes.flatten(0, 3).to(hidden_weight)
        features = F.embedding_bag(index, table, mode="sum", per_sample_weights=weight.to(table))
        hidden = F.linear(features, hidden_weight, hidden_bias).relu_()
        ctx.shape, ctx.dtype, ctx.negligible = planes.shape, planes.dtype, share
        features = features if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(index, weight, features, hidden, hidden_weight, output_weight)
        return F.linear(hidden, output_weight, output_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):
        index, weight, features, hidden, hidden_weight, output_weight = ctx.saved_tensors
        kept = kept_points(gradient, ctx.negligible)
        if kept is not None:
            index, weight, hidden, gradient = (t.index_select(0, kept) for t in (index, weight, hidden, gradient))
            features = None if features is None else features.index_select(0, kept)
        needs = ctx.needs_input_grad
        to_hidden = torch.ops.aten.threshold_backward(gradient @ output_weight, hidden, 0)  # that of ReLU
        to_planes = None
        if needs[0]:
            table = spread(to_hidden @ hidden_weight, index, weight, ctx.shape[:4].numel())
            to_planes = table.to(ctx.dtype).view(ctx.shape)
        return (
            to_planes,
            to_hidden.T @ features if needs[1] else None,
            to_hidden.sum(dim=0) if needs[2] else None,
            gradient.T @ hidden if needs[3] else None,
            gradient.sum(dim=0) if needs[4] else None,
            *(None,) * 4,
        )


def texels_of(
    positions: Float[Tensor, "points 3"], slots: Int[Tensor, "points"], rows: int, cols: int, axes: Axes
) -> Tuple[Texels, Weights]:
    """The texels that a point's features are made of, as rows of the flattened planes, and their bilinear weights."""
    last = torch.cat([positions.new_full((1,), side - 1) for side in (cols, rows)])  # made where positions are
    place = torch.stack([positions[:, axis] for pair in axes for axis in pair], dim=1).view(-1, len(axes), 2)
    place = torch.minimum(((place + 1) * (last / 2)).clamp(min=0), last)
    low = torch.minimum(place.floor(), last - 1)
    (right, down), (column, row) = (place - low).unbind(dim=2), low.int().unbind(dim=2)
    plane = slots.int()[:, None] * len(axes) + torch.arange(len(axes), dtype=torch.int32, device=slots.device)
    first = (plane * rows + row) * cols + column
    left, up = 1 - right, 1 - down
    index = torch.stack([first, first + 1, first + cols, first + cols + 1], dim=2)
    weight = torch.stack([left * up, right * up, left * down, right * down], dim=2)
    return index.flatten(1), weight.flatten(1)


def kept_points(gradient: Float[Tensor, "points outputs"], negligible: float) -> Optional[Int[Tensor, "kept"]]:
    """The points that the backward pass visits; None for all of them. What is not finite is visited, and seen."""
    if negligible <= 0:
        return None
    largest = gradient.abs().amax(dim=1)
    return (~(largest < negligible * largest.mean())).nonzero()[:, 0]


def spread(gradient: Features, index: Texels, weight: Weights, count: int) -> Float[Tensor, "{count} features"]:
    """The lookup's transpose: what each of `count` texels gets from the points around it."""
    way = spread_on_host if gradient.device.type == "cpu" else spread_sorted
    return way(gradient, index, weight.to(gradient), count)


def spread_on_host(gradient: Features, index: Texels, weight: Weights, count: int) -> Float[Tensor, "{count} features"]:
    """`spread` point by point, by scipy: a sixth of the time of sorting, where a texel may be added to at any time."""
    from scipy.sparse import csc_matrix

    starts = np.arange(0, index.numel() + 1, index.shape[1], dtype=np.int32)
    lookup = (weight.flatten().numpy(), index.flatten().numpy(), starts)
    return torch.from_numpy(csc_matrix(lookup, shape=(count, len(index))) @ gradient.numpy())


def spread_sorted(gradient: Features, index: Texels, weight: Weights, count: int) -> Float[Tensor, "{count} features"]:
    """`spread` with the texels sorted, each of which sums up its points in one bag: half the time of adding points."""
    texel, order = torch.sort(index.flatten())
    starts = torch.searchsorted(texel, torch.arange(count, dtype=texel.dtype, device=texel.device))
    weights = weight.flatten()[order]
    return F.embedding_bag(order // index.shape[1], gradient, starts, mode="sum", per_sample_weights=weights)
