"""Planes: the planes of a scene are its own micro planes beside a weighted sum of base planes, which all scenes share.

Axes: `scenes` S, `planes` 3, `features` F = F_mic + F_mac, `rows cols` T x T. A plane's row runs along the second axis
of its pair, its column along the first. Coordinate -1 is the first texel's centre and +1 the last one's."""

from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from latent_nerfstudio.latent_space.latent_space import to_device

PLANE_AXES: Tuple[Tuple[int, int], ...] = ((0, 1), (0, 2), (1, 2))
"""XY, XZ and YZ."""

EG3D_AXES: Tuple[Tuple[int, int], ...] = ((0, 1), (0, 2), (2, 0))
"""What EG3D's code and its descendants sample: XY, XZ and ZX, so that no plane tells y from z (NVlabs/eg3d#67)."""


class GatherRows(torch.autograd.Function):
    """See `gather_rows`, with a sparse gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        own = to_device(index, table.device)
        ctx.save_for_backward(own)
        ctx.shape = table.shape
        ctx.rises = bool((index.diff() > 0).all())  # then nothing has to be sorted or added up, which takes a copy
        return table.index_select(0, own)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return torch.sparse_coo_tensor(index[None], grads[0], ctx.shape, is_coalesced=ctx.rises or None), None


def gather_rows(
    table: Float[Tensor, "rows *row"], index: Int[Tensor, "chosen"], sparse: bool = False
) -> Float[Tensor, "chosen *row"]:
    """Rows of a table, by their index on the host; `sparse` gradients hold these alone, which few optimizers take."""
    if sparse:
        return GatherRows.apply(table, index)  # type: ignore[return-value]
    return table.index_select(0, to_device(index, table.device))


def compose_planes(
    micro: Optional[Float[Tensor, "scenes planes micro_features rows cols"]],
    base: Optional[Float[Tensor, "bases planes macro_features rows cols"]],
    weights: Optional[Float[Tensor, "scenes bases"]],
) -> Float[Tensor, "scenes planes features rows cols"]:
    """Micro planes, then macro planes sum_i W_s^i B_i, joined along features (3Da-AE, section 3.1); not both None."""
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
    places = torch.stack([positions[..., list(pair)] for pair in axes], dim=1).flatten(0, 1).unsqueeze(2)
    sampled = F.grid_sample(planes.flatten(0, 1), places, padding_mode="border", align_corners=True)
    return sampled.view(scenes, count, features, -1).transpose(2, 3)


def total_variation(planes: Float[Tensor, "scenes planes features rows cols"]) -> Float[Tensor, ""]:
    """Mean squared difference of neighbouring texels, along rows plus along columns. The papers' sum over B scenes, by
    (rows + cols), is this times B * 3 * F * rows * (cols - 1) / (rows + cols)."""
    return planes.diff(dim=-1).square().mean() + planes.diff(dim=-2).square().mean()
