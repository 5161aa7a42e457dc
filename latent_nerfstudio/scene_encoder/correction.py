"""Corrects predicted planes by what photos show otherwise: a step of gradient descent that was learned.

The squared error of photos, as predicted planes render them, is differentiated with respect to these planes; a network
makes of this gradient what is to be added to them, beyond what the photos see too (Adler and Oektem, "Solving ill-posed
inverse problems using iterative deep neural networks", 2017, eq. 7; for views of scenes DeepView, CVPR 2019).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_nerfstudio.fields.planes import PLANE_AXES
from latent_nerfstudio.scene_encoder.plane_blocks import Hourglass


class Missing(NamedTuple):
    """What photos tell of predicted planes, in sums as over 1,024 of their rays, texel by texel."""

    gradient: Float[Tensor, "scenes 3 features rows cols"]
    """Of the rays' squared errors, summed over channels."""
    seen: Float[Tensor, "scenes 3 1 rows cols"]
    """Weights of samples, as far as they are the texel's: near surfaces that photos see."""
    passed: Float[Tensor, "scenes 3 1 rows cols"]
    """Samples, likewise: wherever rays pass."""


class Correction(nn.Module):
    """A learned step for the first `micro_features` of planes of `features`, by what photos tell and `known` channels
    of first sight; `width` channels at the planes' resolution, and `blocks` of `inner_width` at half of it."""

    def __init__(self, features: int, micro_features: int, known: int, width: int, inner_width: int, blocks: int):
        super().__init__()
        self.enter = nn.Conv2d(features + micro_features + known + 2, width, 3, padding=1)
        self.trunk = Hourglass(width, inner_width, blocks)
        self.out = nn.ModuleList(nn.Conv2d(width, micro_features, 3, padding=1) for _ in PLANE_AXES)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)  # untrained, nothing is corrected

    def forward(
        self,
        micro_planes: Float[Tensor, "scenes 3 micro_features rows cols"],
        missing: Missing,
        known: Float[Tensor, "scenes 3 known rows cols"],
    ) -> Float[Tensor, "scenes 3 micro_features rows cols"]:
        gradient = missing.gradient / (missing.seen + 0.5)  # what a single ray says counts less
        gradient = gradient.sign() * gradient.abs().log1p()
        seen = (gradient, micro_planes, missing.seen.log1p(), missing.passed.log1p(), known)
        x = self.enter(torch.cat(seen, dim=2).flatten(0, 1)).unflatten(0, micro_planes.shape[:2])
        x, _ = self.trunk(x)
        return torch.stack([layer(x[:, i]) for i, layer in enumerate(self.out)], dim=1).float()
