"""What our own NeRFs share, which lie in the scene box: rays cut at it, and contraction of the space outside."""

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import tyro
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor

from latent_nerfstudio.models.rendering import clip_rays, cropped_box


@dataclass
class BoxedModelConfig(ModelConfig):
    """A NeRF in the scene box."""

    enable_collider: tyro.conf.Suppress[bool] = False
    """Unused: rays are cut at the scene box."""
    collider_params: tyro.conf.Suppress[Optional[Dict[str, float]]] = None
    """Unused, as `enable_collider`."""
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    scene_contraction: bool = False
    """Contract the whole space into the planes, for unbounded captures; what lies in the scene box keeps its shape."""
    near: tyro.conf.Suppress[float] = 0.05
    """Nearest distance that is rendered."""
    far: tyro.conf.Suppress[float] = 100.0
    """Farthest distance that is rendered with scene contraction; without it the box ends the ray."""


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

    def clip(self, rays: RayBundle) -> Tuple[RayBundle, Optional[Int[Tensor, "hits"]]]:
        """The rays that meet the scene box, or the part of it that a crop of the viewer or of ns-render leaves; see
        `clip_rays`."""
        box = None if self.contraction is not None else self.aabb
        if box is not None and self.render_aabb is not None and not self.training:
            box = cropped_box(box, self.render_aabb.aabb.to(box))
        return clip_rays(rays, box, self.config.near, self.config.far)

    def normalize(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World to [-1, 1]^3: the scene box fills it, or its inner half where space is contracted."""
        unit = (positions - self.aabb[0]) / (self.aabb[1] - self.aabb[0]) * 2 - 1
        return unit if self.contraction is None else self.contraction(unit) / 2

    def get_image_metrics_and_images(self, outputs, batch):
        """Metrics belong to the model that decodes; see LatentModel."""
        raise NotImplementedError(
            f"{type(self).__name__} renders channels; LatentModel, which wraps it, measures pictures"
        )
