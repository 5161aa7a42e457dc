"""What fields of any number of channels share: a range for their channels, a density, the choice of an MLP, and colour
heads of Nerfstudio's fields, widened in place."""

from typing import List, Literal, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.field_components.field_heads import RGBFieldHead
from nerfstudio.field_components.mlp import MLP
from nerfstudio.utils.external import TCNN_EXISTS
from torch import Tensor, nn

from latent_nerfstudio.errors import problem

Range = Tuple[float, float]
"""Lower and upper limit of channels."""

UNBOUNDED: Range = (-float("inf"), float("inf"))
"""Of a linear output."""

MLPImplementation = Literal["auto", "torch", "tcnn"]


def mlp_implementation(wanted: MLPImplementation) -> Literal["torch", "tcnn"]:
    """What `auto` means on this machine."""
    if wanted != "auto":
        return wanted
    return "tcnn" if TCNN_EXISTS and torch.cuda.is_available() else "torch"


def bound(values: Float[Tensor, "*batch channels"], limits: Range) -> Float[Tensor, "*batch channels"]:
    """A sigmoid onto finite limits, widened by a thousandth so that the limits themselves are reached (mip-NeRF)."""
    low, high = limits
    if low == -float("inf"):
        return values
    margin = 0.001 * (high - low)
    return torch.sigmoid(values) * (high - low + 2 * margin) + low - margin


def density_of(raw: Float[Tensor, "*batch"], scale: float) -> Float[Tensor, "*batch"]:
    """scale * softplus(raw - 1): positive, and thin where the network says nothing."""
    return scale * F.softplus(raw - 1)


class Bounded(nn.Module):
    """Values onto a range, see `bound`; infinite limits leave them as they are."""

    def __init__(self, limits: Range):
        super().__init__()
        self.limits = limits

    def forward(self, values: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        return bound(values, self.limits)


class ScaledSoftplus(nn.Module):
    """See `density_of`."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, values: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        return density_of(values, self.scale)


def color_heads(model: nn.Module) -> List[nn.Module]:
    """The heads of a model that give colours: `RGBFieldHead`, and `MLP` with three outputs and a sigmoid."""

    def is_color(module: nn.Module) -> bool:
        return isinstance(module, MLP) and module.out_dim == 3 and isinstance(module.out_activation, nn.Sigmoid)

    return [module for module in model.modules() if isinstance(module, RGBFieldHead) or is_color(module)]


def widen(head: nn.Module, num_channels: int, limits: Range) -> None:
    """Gives a head of `color_heads` another number of channels within limits; its hidden layers are kept."""
    if isinstance(head, RGBFieldHead):
        head.out_dim, head.activation = num_channels, Bounded(limits)
        head.set_in_dim(head.in_dim)  # which makes a fresh linear layer
    elif isinstance(head, MLP):
        widen_mlp(head, num_channels, limits)
    else:
        do = "widen it in the model's own `widen_heads`"
        raise TypeError(problem("colour head", "Nerfstudio's RGBFieldHead or MLP", type(head).__name__, do))


def widen_mlp(mlp: MLP, num_channels: int, limits: Range) -> None:
    """A fresh last layer of `num_channels` outputs; with tiny-cuda-nn, whose layers are one tensor, a fresh network."""
    mlp.out_dim, mlp.out_activation = num_channels, Bounded(limits)
    if mlp.tcnn_encoding is None:
        mlp.layers[-1] = nn.Linear(mlp.layers[-1].in_features, num_channels)  # type: ignore[arg-type]
        return
    sizes = mlp.in_dim, mlp.num_layers, mlp.layer_width, num_channels
    fresh = MLP(*sizes, activation=mlp.activation, implementation="tcnn")
    mlp.tcnn_encoding = nn.Sequential(fresh.tcnn_encoding, mlp.out_activation)  # type: ignore[arg-type]
