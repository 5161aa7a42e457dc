"""What NeRFs in the scene box share: rays cut at it, contraction of the space outside, outputs of rays that miss."""

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor

from latent_nerfstudio.models.rendering import Composite, clip_rays, cropped_box, farthest_corner, scatter


@dataclass
class BoxedModelConfig(ModelConfig):
    """A NeRF in the scene box."""

    enable_collider: bool = False
    """Unused: rays are cut at the scene box."""
    collider_params: Optional[Dict[str, float]] = None
    """Unused, as `enable_collider`."""
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    near: float = 0.05
    """Nearest distance that is rendered."""
    far: float = 100.0
    """Farthest distance that is rendered with scene contraction; without it the box ends the ray."""
    scene_contraction: bool = False
    """Contract the whole space into the planes, for unbounded captures; what lies in the scene box keeps its shape."""


class BoxedModel(Model):
    """Renders C channels along the part of each ray that lies in the scene box, or along all of it with contraction.

    Nothing is composited behind the scene: outputs are sums along the ray, and the owner adds the background.
    """

    config: BoxedModelConfig
    aabb: Tensor

    def populate_modules(self):
        """The box and the contraction."""
        super().populate_modules()
        self.register_buffer("aabb", self.scene_box.aabb.clone().float())
        self.contraction = SceneContraction(order=float("inf")) if self.config.scene_contraction else None

    def clip(self, ray_bundle: RayBundle) -> Tuple[RayBundle, Bool[Tensor, "rays"]]:
        """The rays that meet the scene box, with near and far set, and which ones they are; see `clip_rays`."""
        box = self.visible_box() if self.contraction is None else None
        return clip_rays(ray_bundle, box, self.config.near, self.config.far)

    def visible_box(self) -> Float[Tensor, "2 3"]:
        """The scene box, or its part that the viewer's or ns-render's crop leaves."""
        if self.render_aabb is None or self.training:
            return self.aabb
        return cropped_box(self.aabb, self.render_aabb.aabb.to(self.aabb))

    def background_depth(self, ray_bundle: RayBundle) -> Float[Tensor, "rays 1"]:
        """Depth of rays that meet nothing: as far as the box's farthest corner, so that depth pictures have a range."""
        return farthest_corner(ray_bundle.origins, self.aabb)

    def normalize(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World to [-1, 1]^3: the scene box fills it, or its inner half where space is contracted."""
        unit = (positions - self.aabb[0]) / (self.aabb[1] - self.aabb[0]) * 2 - 1
        return unit if self.contraction is None else self.contraction(unit) / 2

    def outputs_of(self, result: Composite, hit: Bool[Tensor, "rays"], ray_bundle: RayBundle) -> Dict[str, Tensor]:
        """`rgb`, `accumulation` and `depth` of all rays, from what those that meet the box collect."""
        fill = torch.zeros_like(hit, dtype=torch.float32)[:, None]
        return {
            "rgb": scatter(result.channels, hit, fill),
            "accumulation": scatter(result.accumulation, hit, fill),
            "depth": scatter(result.depth, hit, fill + self.background_depth(ray_bundle)),
        }

    def get_image_metrics_and_images(self, outputs, batch):
        """Metrics belong to the model that decodes; see LatentModel."""
        raise NotImplementedError(
            f"{type(self).__name__} renders channels; LatentModel, which wraps it, measures pictures"
        )
