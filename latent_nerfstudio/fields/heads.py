"""Colour heads of Nerfstudio's fields, widened in place to any number of channels."""

from typing import List, Tuple

import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.field_components.field_heads import RGBFieldHead
from nerfstudio.field_components.mlp import MLP
from torch import Tensor, nn

from latent_nerfstudio.fields.triplane_field import bound

Range = Tuple[float, float]
"""Lower and upper limit of channels; infinite ones for a linear output."""


class Bounded(nn.Module):
    """Values onto a range, see `bound`; infinite limits leave them as they are."""

    def __init__(self, limits: Range):
        super().__init__()
        self.limits = limits

    def forward(self, values: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        return bound(values, self.limits)


class ScaledSoftplus(nn.Module):
    """Density from any number: scale * softplus(x - 1), as in the tri-plane field, whose reason holds here as well."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, values: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        return self.scale * F.softplus(values - 1)


def color_heads(model: nn.Module) -> List[nn.Module]:
    """The heads of a model that give colours: `RGBFieldHead`, and `MLP` with three outputs and a sigmoid."""
    return [module for module in model.modules() if isinstance(module, RGBFieldHead) or _is_color_mlp(module)]


def _is_color_mlp(module: nn.Module) -> bool:
    return isinstance(module, MLP) and module.out_dim == 3 and isinstance(module.out_activation, nn.Sigmoid)


def widen(head: nn.Module, num_channels: int, limits: Range) -> None:
    """Gives a colour head another number of channels within limits; its hidden layers are kept.

    Raises:
        TypeError: neither of the two kinds of heads that `color_heads` finds.
    """
    if isinstance(head, RGBFieldHead):
        widen_field_head(head, num_channels, limits)
    elif isinstance(head, MLP):
        widen_mlp(head, num_channels, limits)
    else:
        raise TypeError(
            f"colour head: expected Nerfstudio's RGBFieldHead or MLP, got {type(head).__name__}; "
            "widen it in the model's own `widen_heads`"
        )


def widen_field_head(head: RGBFieldHead, num_channels: int, limits: Range) -> None:
    """A fresh linear layer of `num_channels` outputs, and the limits as its activation."""
    head.out_dim = num_channels
    head.activation = Bounded(limits)
    head.set_in_dim(head.in_dim)


def widen_mlp(mlp: MLP, num_channels: int, limits: Range) -> None:
    """A fresh last layer of `num_channels` outputs; with tiny-cuda-nn, whose layers are one tensor, a fresh network."""
    mlp.out_dim = num_channels
    mlp.out_activation = Bounded(limits)
    if mlp.tcnn_encoding is None:
        mlp.layers[-1] = nn.Linear(mlp.layers[-1].in_features, num_channels)  # type: ignore[arg-type]
        return
    fresh = MLP(
        mlp.in_dim, mlp.num_layers, mlp.layer_width, num_channels, activation=mlp.activation, implementation="tcnn"
    )
    mlp.tcnn_encoding = nn.Sequential(fresh.tcnn_encoding, mlp.out_activation)  # type: ignore[arg-type]
