"""Nerfstudio's Instant-NGP, of any number of channels, in bounds that suit the scene, on the CPU as on CUDA."""

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Type, Union

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.fields.nerfacto_field import NerfactoField
from nerfstudio.model_components.losses import MSELoss, scale_gradients_by_distance_squared
from nerfstudio.model_components.ray_samplers import VolumetricSampler
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.instant_ngp import InstantNGPModelConfig, NGPModel
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.fields.boxes import farthest_corner
from latent_nerfstudio.fields.heads import MLPImplementation, mlp_implementation
from latent_nerfstudio.models.channel_nerf import ChannelNeRF, NoCollider
from latent_nerfstudio.models.occupancy import OccupancyGrid, Samples, composite_packed, packed_weights


@dataclass
class LatentInstantNGPModelConfig(NoCollider, InstantNGPModelConfig):
    """Instant-NGP in the scene box, of a size for latents. For captured scenes: `disable-scene-contraction False`,
    `grid-levels 4`, `alpha-thre 0.01` and `cone-angle 0.004`."""

    _target: Type = field(default_factory=lambda: LatentInstantNGPModel)
    eval_num_rays_per_chunk: int = 8192
    """Rays rendered at once outside training."""
    disable_scene_contraction: bool = True
    """Rays end at the scene box; off for captured scenes."""
    grid_levels: int = 1
    """Levels of the occupancy grid, each twice as large: 1 for a box, 4 for captured scenes."""
    grid_resolution: Union[int, List[int]] = 32
    """Cells along a side of the occupancy grid, all of which are evaluated while it warms up (Instant-NGP: 128)."""
    alpha_thre: float = 0.0
    """Opacity below which samples are left out: 0 in a box, where thin beginnings must be able to grow; 0.01 for
    captured scenes."""
    cone_angle: float = 0.0
    """Length of steps in proportion to the distance; 0 for steps of one length, 0.004 for captured scenes."""
    steps_across_box: int = 192
    """Steps along the scene box's diagonal, where `render_step_size` is not given (Instant-NGP: 1000)."""
    num_levels: int = 8
    """Levels of the hash grid (Instant-NGP: 16)."""
    max_res: int = 256
    """Finest resolution of the hash grid; several times the latent's side (Instant-NGP: 2048)."""
    log2_hashmap_size: int = 15
    """Entries of each level of the hash grid, as a power of two (Instant-NGP: 19)."""
    average_init_density: float = 10.0
    """Factor of the density, which an exponential gives: about what it is everywhere at first, a unit of length. In a
    box about one object, Instant-NGP's 1 is a thin fog for long: 1 dB less after 150 steps."""
    implementation: MLPImplementation = "auto"
    """Code of hash grid and MLPs: `auto` takes tiny-cuda-nn where it is installed and torch elsewhere."""


class PortableNGPModel(NGPModel):
    """Instant-NGP with a field and a grid as the config has them, which also runs without CUDA."""

    config: LatentInstantNGPModelConfig

    def populate_modules(self):
        """Nerfstudio's modules, without its own constructor, which embeds each picture where it should not, does not
        know of the number of levels, and takes tiny-cuda-nn for granted."""
        super(NGPModel, self).populate_modules()
        config = self.config
        if config.render_step_size is None:  # in a copy: the config belongs to config.yml
            diagonal = float((self.scene_box.aabb[1] - self.scene_box.aabb[0]).norm())
            self.config = config = replace(config, render_step_size=diagonal / config.steps_across_box)
        self.field = NerfactoField(
            aabb=self.scene_box.aabb,
            num_images=self.num_train_data,
            appearance_embedding_dim=0,
            num_levels=config.num_levels,
            max_res=config.max_res,
            log2_hashmap_size=config.log2_hashmap_size,
            spatial_distortion=None if config.disable_scene_contraction else SceneContraction(order=float("inf")),
            average_init_density=config.average_init_density,
            implementation=mlp_implementation(config.implementation),
        )
        self.scene_aabb = Parameter(self.scene_box.aabb.flatten(), requires_grad=False)
        self.occupancy_grid = OccupancyGrid(self.scene_aabb, config.grid_resolution, config.grid_levels)
        self.sampler = VolumetricSampler(self.occupancy_grid, density_fn=self.field.density_fn)
        self.renderer_rgb = RGBRenderer()
        self.rgb_loss = MSELoss()

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Tensor]:
        """`latent` [rays, C], `accumulation` and `depth` [rays, 1], and `num_samples_per_ray` [rays]. Nerfstudio's own
        packs samples by a function that is for CUDA alone."""
        config, count = self.config, len(ray_bundle)
        steps = config.render_step_size, config.near_plane, config.far_plane, config.alpha_thre, config.cone_angle
        with torch.no_grad():
            samples, ray_indices = self.sampler(ray_bundle, *steps)
        values = self.field(samples)
        if config.use_gradient_scaling:
            values = scale_gradients_by_distance_squared(values, samples)
        packed = Samples(ray_indices, samples.frustums.starts[..., 0], samples.frustums.ends[..., 0])
        weights = packed_weights(packed, values[FieldHeadNames.DENSITY][..., 0], count)
        far = farthest_corner(ray_bundle.origins, self.scene_aabb.view(2, 3))
        outputs = composite_packed(packed, weights, values[FieldHeadNames.RGB], far)
        return {**outputs, "num_samples_per_ray": torch.bincount(ray_indices, minlength=count)}

    def get_metrics_dict(self, outputs: Dict[str, Any], batch: Dict[str, Any]) -> Dict[str, Any]:
        return {"num_samples_per_batch": outputs["num_samples_per_ray"].sum()}


class LatentInstantNGPModel(ChannelNeRF, PortableNGPModel):
    """Instant-NGP with C channels."""

    config: LatentInstantNGPModelConfig
