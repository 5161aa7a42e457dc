"""Nerfstudio's models in the latent space, of a size that trains in tests."""

from typing import Any, Callable, Dict, Optional, Sequence

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import ModelConfig
from tiny import cube

from latent_nerfstudio.fields.kplanes_field import KPlanesDensityConfig, KPlanesFieldConfig
from latent_nerfstudio.models.instant_ngp import LatentInstantNGPModelConfig
from latent_nerfstudio.models.kplanes import KPlanesModelConfig
from latent_nerfstudio.models.nerfacto import LatentNerfactoModelConfig
from latent_nerfstudio.models.tensorf import LatentTensoRFModelConfig
from latent_nerfstudio.models.vanilla_nerf import LatentVanillaNeRFModelConfig

LINEAR = (-float("inf"), float("inf"))
"""The range of channels of `mean-std` latents."""


def small_nerfacto(**settings: Any) -> LatentNerfactoModelConfig:
    """Nerfacto with tables of 1024 entries; what the config does not share with Nerfstudio's is as there."""
    proposal = {"hidden_dim": 8, "log2_hashmap_size": 8, "num_levels": 2, "max_res": 16, "use_linear": False}
    sizes = {"num_levels": 3, "max_res": 16, "base_res": 4, "log2_hashmap_size": 10, "hidden_dim": 16}
    samples = {"num_proposal_samples_per_ray": (10, 8), "num_nerf_samples_per_ray": 8, "num_proposal_iterations": 2}
    sizes |= {"features_per_level": 2, "geometry_features": 15, "color_layers": 3}
    defaults = {"hidden_dim_color": 16, "proposal_net_args_list": [proposal, proposal], "implementation": "torch"}
    return LatentNerfactoModelConfig(**{**sizes, **samples, **defaults, **settings})


def small_tensorf(**settings: Any) -> LatentTensoRFModelConfig:
    """TensoRF with planes of 6 x 6."""
    sizes = {"init_resolution": 6, "final_resolution": 6, "upsampling_iters": (), "num_uniform_samples": 12}
    components = {"num_den_components": 3, "num_color_components": 4, "appearance_dim": 5, "num_samples": 8}
    return LatentTensoRFModelConfig(**{**sizes, **components, **settings})


def small_vanilla(**settings: Any) -> LatentVanillaNeRFModelConfig:
    """Vanilla NeRF of two layers of 16."""
    sizes = {"hidden_layers": 2, "hidden_width": 16, "num_coarse_samples": 8, "num_importance_samples": 6}
    return LatentVanillaNeRFModelConfig(**{**sizes, **settings})


def small_kplanes(**settings: Any) -> KPlanesModelConfig:
    """K-Planes with planes of 6 x 6."""
    field = {"resolution": 6, "features": 3, "hidden_width": 8, "implementation": "torch", **settings.pop("field", {})}
    proposal = KPlanesDensityConfig(features=2, hidden_width=8, implementation="torch")
    settings = {"proposal_resolutions": (6,), "num_proposal_samples": (10,), "num_samples": 8, **settings}
    return KPlanesModelConfig(field=KPlanesFieldConfig(**field), proposal=proposal, **settings)


def small_ngp(**settings: Any) -> LatentInstantNGPModelConfig:
    """Instant-NGP with tables of 256 entries."""
    sizes = {"num_levels": 3, "max_res": 16, "log2_hashmap_size": 8, "grid_resolution": 8, "steps_across_box": 24}
    return LatentInstantNGPModelConfig(**{**sizes, "implementation": "torch", **settings})


SMALL: Dict[str, Callable[..., ModelConfig]] = {
    "nerfacto": small_nerfacto,
    "tensorf": small_tensorf,
    "vanilla": small_vanilla,
}
"""Nerfstudio's methods, by name."""

REGULARIZERS = {
    "nerfacto": {"interlevel_loss", "distortion_loss"},
    "tensorf": {"tv_reg_density", "tv_reg_color"},
    "vanilla": {"rgb_loss_coarse"},
}
"""Losses of theirs that hold in both stages."""


def make_dense(nerf: Any) -> None:
    """Puts an opaque cube in place of the densities of one of Nerfstudio's models."""
    if hasattr(nerf, "density"):
        nerf.density = lambda samples: torch.full_like(samples.deltas, 1e4)
    for field in [module for module in nerf.modules() if hasattr(module, "get_density")]:
        original = field.get_density

        def get_density(samples: Any, original: Callable[..., Any] = original) -> Any:
            density = original(samples)
            if isinstance(density, tuple):
                return torch.full_like(density[0], 1e4), density[1]
            return torch.full_like(density, 1e4)

        field.get_density = get_density


def nerf_of(config: ModelConfig, num_channels: int = 4, side: float = 1.0, **kwargs: Any) -> Any:
    """The NeRF of a config in a cube about the origin, of any channels; all cells of its grid may be occupied."""
    torch.manual_seed(0)
    kwargs = {"num_scenes": 1, "value_range": LINEAR, **kwargs}
    nerf = config.setup(scene_box=cube(side), num_train_data=3, num_channels=num_channels, **kwargs)
    if hasattr(nerf, "occupancy_grid"):
        nerf.occupancy_grid.binaries[:] = True
    return nerf


def rays_at(count: int = 40, scenes: Optional[Sequence[int]] = None, spread: float = 0.8) -> RayBundle:
    """Rays from a sphere of radius 3 to points near the origin."""
    origins = torch.nn.functional.normalize(torch.randn(count, 3), dim=-1) * 3
    directions = torch.nn.functional.normalize(spread * (torch.rand(count, 3) * 2 - 1) - origins, dim=-1)
    metadata = {} if scenes is None else {"scene_index": torch.as_tensor(scenes)[:, None]}
    return RayBundle(origins=origins, directions=directions, pixel_area=torch.ones(count, 1), metadata=metadata)


def rays_towards(count: int, spread: float = 0.4, seed: int = 0) -> RayBundle:
    """Rays from (0, 0, 3) down, into and beside the cube of side 2."""
    generator = torch.Generator().manual_seed(seed)
    aside = spread * (2 * torch.rand(count, 2, generator=generator) - 1)
    directions = torch.nn.functional.normalize(torch.cat([aside, -torch.ones(count, 1)], dim=1), dim=-1)
    return RayBundle(torch.tensor([[0.0, 0.0, 3.0]]).repeat(count, 1), directions, torch.full((count, 1), 1e-3))
