"""Convolutions of the three planes of scenes, which see each other.

Axes: `scenes`, `3` planes, `width` channels, `rows cols` or `side side` texels.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latent_nerfstudio.fields.planes import PLANE_AXES


class PlaneBlock(nn.Module):
    """A residual block of three planes, which see each other along the axes that they share (Rodin, CVPR 2023)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.across, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "scenes 3 width rows cols"]) -> Float[Tensor, "scenes 3 width rows cols"]:
        normed = self.norm(x.flatten(0, 1))
        across, down = profiles(normed.unflatten(0, x.shape[:2]))
        exchanged = self.across(across.mT).mT[..., None, :] + self.down(down.mT).mT[..., None]
        inner = F.relu(self.first(normed) + exchanged.flatten(0, 1))
        return x + self.last(inner).unflatten(0, x.shape[:2])


class Hourglass(nn.Module):
    """Residual blocks of planes at their resolution and, `blocks` of them, at half of it."""

    def __init__(self, width: int, inner_width: int, blocks: int):
        super().__init__()
        self.before, self.after = PlaneBlock(width), PlaneBlock(width)
        self.shrink = nn.Conv2d(width, inner_width, 2, stride=2)
        self.inner = nn.ModuleList(PlaneBlock(inner_width) for _ in range(blocks))
        self.grow = nn.ConvTranspose2d(inner_width, width, 2, stride=2)

    def forward(
        self, x: Float[Tensor, "scenes 3 width side side"]
    ) -> Tuple[Float[Tensor, "scenes 3 width side side"], Float[Tensor, "scenes 3 inner_width half half"]]:
        """Planes, and those of half the resolution."""
        x = self.before(x)
        inner = self.shrink(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        for block in self.inner:
            inner = block(inner)
        grown = resized(self.grow(inner.flatten(0, 1)), x.shape[-1])
        return self.after(x + grown.unflatten(0, x.shape[:2])), inner


def resized(x: Float[Tensor, "planes width rows cols"], side: int) -> Float[Tensor, "planes width side side"]:
    """Planes of another resolution, border texels' centres staying where they are."""
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", align_corners=True)


def profiles(
    planes: Float[Tensor, "scenes 3 width side side"],
) -> Tuple[Float[Tensor, "scenes 3 width side"], Float[Tensor, "scenes 3 width side"]]:
    """For each plane, along its columns and along its rows: the means of the other plane that has this axis."""
    sides = [(plane, side) for plane in range(3) for side in (0, 1)]
    along = {(plane, PLANE_AXES[plane][side]): planes[:, plane].mean(dim=side - 2) for plane, side in sides}

    def others(side: int) -> Tensor:
        wanted = [(plane, axes[side]) for plane, axes in enumerate(PLANE_AXES)]
        found = [along[other] for own in wanted for other in along if other[1] == own[1] and other != own]
        return torch.stack(found, dim=1)

    return others(0), others(1)
