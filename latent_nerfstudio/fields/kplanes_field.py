"""K-Planes of a static scene (Fridovich-Keil et al. 2023): planes at several scales, multiplied, then a decoder.

Features of a point q (their eqs. 1 and 2): f(q) = prod_c f(q)_c over the planes c = XY, XZ, YZ, where f(q)_c is the
bilinear value of plane c at the projection of q; the vectors of all scales are joined (section 3.2)."""

from dataclasses import dataclass, field
from functools import reduce
from typing import Iterable, Optional, Sequence, Tuple, Type

import torch
from jaxtyping import Float
from nerfstudio.configs.base_config import InstantiateConfig
from nerfstudio.field_components.mlp import MLP
from nerfstudio.utils.math import components_from_spherical_harmonics
from torch import Tensor, nn
from torch.nn import Parameter, ParameterList

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.heads import UNBOUNDED, MLPImplementation, Range, bound, density_of, mlp_implementation
from latent_nerfstudio.fields.planes import sample_planes, total_variation

DIRECTION_LEVELS = 4
"""Levels of the spherical harmonics that the view direction is written in."""


@dataclass
class KPlanesFieldConfig(InstantiateConfig):
    """Planes and decoder of the NeRF."""

    _target: Type = field(default_factory=lambda: KPlanesField)
    resolution: int = 32
    """Texels along the side of the coarsest planes."""
    scales: Tuple[int, ...] = (1, 2)
    """Sides of the planes, as multiples of `resolution` (the papers: 1, 2, 4 of 128)."""
    features: int = 16
    """Features a plane, at each scale (the papers: 32)."""
    view_dependent: bool = False
    """Whether the channels depend on the view direction. In latents, what looks different from each side cannot be told
    from an inconsistency of the autoencoder, which the NeRF is to average away; for RGB with highlights, set it."""
    geometry_features: int = 15
    """With `view_dependent`: features that the view-dependent part of the decoder sees of a point."""
    hidden_width: int = 64
    """Width of the decoder's hidden layers."""
    hidden_layers: int = 1
    """Hidden layers of the decoder, and of its view-dependent part."""
    implementation: MLPImplementation = "auto"
    """Code of the decoder: `auto` takes tiny-cuda-nn where it is installed and torch elsewhere."""
    density_scale: float = 25.0
    """Factor of the density: surfaces need values of 100 a unit and more, which the decoder would reach slowly."""


class KPlanesField(nn.Module):
    """Density and C channels of points of one scene; infinite bounds leave the decoder's output as it is."""

    def __init__(self, config: KPlanesFieldConfig, num_channels: int, value_range: Range = UNBOUNDED):
        super().__init__()
        self.config = config
        self.value_range = value_range
        self.planes = fresh_planes(config.features, [config.resolution * scale for scale in config.scales])
        geometry = config.geometry_features if config.view_dependent else num_channels
        inner = config.hidden_width, config.hidden_layers, config.implementation
        self.mlp = decoder(config.features * len(config.scales), 1 + geometry, *inner)
        self.view_mlp: Optional[MLP] = None
        if config.view_dependent:
            self.view_mlp = decoder(geometry + DIRECTION_LEVELS**2, num_channels, *inner)

    def forward(
        self, positions: Float[Tensor, "points 3"], directions: Optional[Float[Tensor, "points 3"]] = None
    ) -> Tuple[Float[Tensor, "points"], Float[Tensor, "points channels"]]:
        """Density a unit of length, and the channels, of points in [-1, 1]^3. Directions are unit vectors along which
        they are seen, unused unless the field is view-dependent."""
        raw = self.mlp(multiscale_features(list(self.planes), positions)).to(positions)
        channels = raw[:, 1:]
        if self.view_mlp is not None:
            assert directions is not None
            harmonics = components_from_spherical_harmonics(DIRECTION_LEVELS, directions)
            channels = self.view_mlp(torch.cat([channels, harmonics], dim=-1)).to(positions)
        return density_of(raw[:, 0], self.config.density_scale), bound(channels, self.value_range)

    def decoder_parameters(self) -> Iterable[Parameter]:
        return [p for part in (self.mlp, self.view_mlp) if part is not None for p in part.parameters()]


@dataclass
class KPlanesDensityConfig(InstantiateConfig):
    """A proposal network: density alone, from planes of one scale (K-Planes, section 3.4)."""

    _target: Type = field(default_factory=lambda: KPlanesDensityField)
    features: int = 8
    """Features a plane (the papers: 8)."""
    hidden_width: int = 16
    """Width of the decoder's hidden layer (the papers: 64)."""
    implementation: MLPImplementation = "auto"
    """Code of the decoder: `auto` takes tiny-cuda-nn where it is installed and torch elsewhere."""
    density_scale: float = 25.0
    """Factor of the density, as of the NeRF's field."""


class KPlanesDensityField(nn.Module):
    """Density of points of one scene, from planes of so many texels along a side."""

    def __init__(self, config: KPlanesDensityConfig, resolution: int):
        super().__init__()
        self.config = config
        self.planes = fresh_planes(config.features, [resolution])
        self.mlp = decoder(config.features, 1, config.hidden_width, 1, config.implementation)

    def forward(self, positions: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
        """Density a unit of length of points in [-1, 1]^3."""
        raw = self.mlp(multiscale_features(list(self.planes), positions)).to(positions)
        return density_of(raw[:, 0], self.config.density_scale)


def fresh_planes(features: int, resolutions: Sequence[int]) -> ParameterList:
    """A parameter [1, 3, features, T, T] a scale, uniform in [0.1, 0.5]: products of features around 0 would vanish."""
    if features < 1 or not resolutions or min(resolutions) < 2:
        expected = "features > 0, at least one scale, and at least 2 texels along a plane's side"
        do = "set --pipeline.model.nerf.field.resolution and --pipeline.model.nerf.field.scales"
        raise ValueError(problem("K-Planes field", expected, f"features={features} and sides {list(resolutions)}", do))
    return ParameterList(torch.empty(1, 3, features, side, side).uniform_(0.1, 0.5) for side in resolutions)


def decoder(inputs: int, outputs: int, width: int, hidden_layers: int, implementation: MLPImplementation) -> MLP:
    code = mlp_implementation(implementation)
    return MLP(inputs, hidden_layers + 1, width, outputs, activation=nn.ReLU(), implementation=code)


def multiscale_features(
    planes: Sequence[Float[Tensor, "1 3 features _ _"]], positions: Float[Tensor, "points 3"]
) -> Float[Tensor, "points joined"]:
    """The product of the three planes' features at each scale, joined over the scales (K-Planes, eq. 2)."""
    # Not prod(): its gradient looks for zeros and divides, which takes three times as long.
    scales = [reduce(torch.mul, sample_planes(scale, positions[None])[0].unbind(dim=0)) for scale in planes]
    return torch.cat(scales, dim=-1)


def plane_total_variation(planes: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Mean over scales of `planes.total_variation` (K-Planes, eq. 3), so that a weight holds for any number of scales:
    half of what Nerfstudio's port of K-Planes sums up, so the weights of the papers are doubled here."""
    return torch.stack([total_variation(scale) for scale in planes]).mean()
