"""Tri-plane NeRF of one or many scenes, of any number of channels."""

from dataclasses import dataclass, field
from typing import Dict, List, Tuple, Type

import torch
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.model_components.ray_samplers import PDFSampler, UniformLinDispPiecewiseSampler, UniformSampler
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.fields.triplane_field import TriplaneField, TriplaneFieldConfig
from latent_nerfstudio.models.rendering import MIN_SPAN, composite, intersect_box, ray_weights


@dataclass
class TriplaneModelConfig(ModelConfig):
    """Tri-planes rendered along rays."""

    _target: Type = field(default_factory=lambda: TriplaneModel)
    enable_collider: bool = False
    """Unused: rays are cut at the scene box."""
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    field: TriplaneFieldConfig = field(default_factory=TriplaneFieldConfig)
    """Planes and tiny MLP."""
    num_samples: int = 24
    """Stratified samples a ray within the scene box (the papers: 48)."""
    num_importance_samples: int = 0
    """Further samples drawn where the first ones found matter (the papers: 48)."""
    near: float = 0.05
    """Nearest distance that is rendered."""
    far: float = 100.0
    """Farthest distance that is rendered with scene contraction; without it the box ends the ray."""
    scene_contraction: bool = False
    """Contract the whole space into the planes, for unbounded captures; what lies in the scene box keeps its shape."""
    total_variation_weight: float = 1e-2
    """Weight of the planes' total variation, a mean, so independent of batch and plane size."""


class TriplaneModel(Model):
    """Renders C channels of the scenes of rays.

    A ray's scene is `metadata["scene_index"]`; rays without one belong to `current_scene`. Nothing is composited
    behind the scene: outputs are sums along the ray (`rgb` holds the C channels), and the owner adds the background.
    """

    config: TriplaneModelConfig
    aabb: Tensor

    def populate_modules(self):
        """Field and samplers; `num_channels`, `value_range` and `num_scenes` come from the owner."""
        super().populate_modules()
        config = self.config
        self.current_scene = 0
        self.register_buffer("aabb", self.scene_box.aabb.clone().float())
        self.field: TriplaneField = config.field.setup(
            num_scenes=self.kwargs.get("num_scenes", 1),
            num_channels=self.kwargs.get("num_channels", 3),
            value_range=self.kwargs.get("value_range", (0.0, 1.0)),
        )
        sampler = UniformLinDispPiecewiseSampler if config.scene_contraction else UniformSampler
        self.sampler = sampler(num_samples=config.num_samples)
        self.importance_sampler = PDFSampler(num_samples=config.num_importance_samples)
        self.contraction = SceneContraction(order=float("inf")) if config.scene_contraction else None

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """Groups `planes` (micro planes), `shared_planes` (base planes and scene weights) and `mlp`."""
        groups = {
            "planes": self.field.plane_parameters(),
            "shared_planes": self.field.shared_plane_parameters(),
            "mlp": list(self.field.mlp.parameters()),
        }
        return {name: parameters for name, parameters in groups.items() if parameters}

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Tensor]:
        """`rgb` [rays, C], `accumulation` and `depth` [rays, 1], all without background.

        Rays that miss the scene box cost nothing: they are left out before any sample is taken.
        """
        bundle, hit = self.clip(ray_bundle)
        scenes, slots = self.scenes_of(bundle)
        planes = self.field.scene_planes(scenes)
        samples = self.sampler(bundle)
        if self.config.num_importance_samples:
            with torch.no_grad():
                density, _ = self.evaluate(samples, slots, planes)
                weights = ray_weights(samples, density)
            samples = self.importance_sampler(bundle, samples, weights[..., None])
        density, channels = self.evaluate(samples, slots, planes)
        result = composite(samples, ray_weights(samples, density), channels)
        fill = torch.zeros_like(hit, dtype=torch.float32)[:, None]
        outputs = {
            "rgb": scatter(result.channels, hit, fill),
            "accumulation": scatter(result.accumulation, hit, fill),
            "depth": scatter(result.depth, hit, fill + self.background_depth(ray_bundle)),
        }
        if self.training:
            outputs["planes"] = planes
        return outputs

    def clip(self, ray_bundle: RayBundle) -> Tuple[RayBundle, Bool[Tensor, "rays"]]:
        """The rays that meet the scene box, with near and far set, and which ones they are.

        Bounds that the bundle brings, those of an oriented crop box, are kept. If no ray meets the box, the first one
        stands in for them, so that later steps need not care.
        """
        if self.contraction is not None:
            near, far = (torch.full_like(ray_bundle.origins[:, 0], v) for v in (self.config.near, self.config.far))
        else:
            aabb = self.visible_box()
            near, far, _ = intersect_box(ray_bundle.origins, ray_bundle.directions, aabb, self.config.near)
        if ray_bundle.nears is not None and ray_bundle.fars is not None:
            near, far = torch.maximum(near, ray_bundle.nears[:, 0]), torch.minimum(far, ray_bundle.fars[:, 0])
        hit = far > near + MIN_SPAN
        kept = hit
        if not bool(hit.any()):
            kept = torch.arange(len(hit), device=hit.device) == 0
            near = far = self.background_depth(ray_bundle)[:, 0]
        bundle = ray_bundle[kept]
        bundle.nears, bundle.fars = near[kept][:, None], far[kept][:, None]
        return bundle, hit

    def visible_box(self) -> Float[Tensor, "2 3"]:
        """The scene box, or its part that the viewer's or ns-render's crop leaves."""
        if self.render_aabb is None or self.training:
            return self.aabb
        crop = self.render_aabb.aabb.to(self.aabb)
        low = torch.maximum(crop[0], self.aabb[0])
        return torch.stack([low, torch.maximum(low, torch.minimum(crop[1], self.aabb[1]))])

    def background_depth(self, ray_bundle: RayBundle) -> Float[Tensor, "rays 1"]:
        """Depth of rays that meet nothing: as far as the box's farthest corner, so that depth pictures have a range."""
        corners = torch.stack([self.aabb[0], self.aabb[1]])
        farthest = torch.maximum((ray_bundle.origins - corners[0]).abs(), (ray_bundle.origins - corners[1]).abs())
        return farthest.norm(dim=-1, keepdim=True)

    def scenes_of(self, bundle: RayBundle) -> Tuple[Int[Tensor, "scenes"], Int[Tensor, "rays"]]:
        """The distinct scenes of a bundle, and which of them each ray belongs to."""
        index = bundle.metadata.get("scene_index") if bundle.metadata else None
        if index is None:
            scene = torch.tensor([self.current_scene], device=bundle.origins.device)
            return scene, torch.zeros(len(bundle), dtype=torch.long, device=bundle.origins.device)
        scenes, slots = torch.unique(index.reshape(-1).long(), return_inverse=True)
        return scenes, slots

    def evaluate(
        self, samples: RaySamples, slots: Int[Tensor, "rays"], planes: Tensor
    ) -> Tuple[Float[Tensor, "rays samples"], Float[Tensor, "rays samples channels"]]:
        """Density and channels at the samples of rays."""
        positions = samples.frustums.get_positions()
        rays, count = positions.shape[:2]
        box = self.normalize(positions).view(-1, 3)
        density, channels = self.field(box, slots.repeat_interleave(count), planes)
        return density.view(rays, count), channels.view(rays, count, -1)

    def normalize(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World to [-1, 1]^3: the scene box fills it, or its inner half where space is contracted."""
        unit = (positions - self.aabb[0]) / (self.aabb[1] - self.aabb[0]) * 2 - 1
        return unit if self.contraction is None else self.contraction(unit) / 2

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> Dict[str, Tensor]:
        """Mean squared error against `batch["latent"]` [rays, C], and the regularisers."""
        loss = (outputs["rgb"] - batch["latent"]).square().mean()
        return {"latent_loss": loss, **self.get_regularization_dict(outputs)}

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        """What holds in both stages: the total variation of the planes that the step used."""
        if self.config.total_variation_weight == 0 or "planes" not in outputs:
            return {}
        variation = self.field.total_variation(outputs["planes"])
        return {"total_variation": self.config.total_variation_weight * variation}

    def get_image_metrics_and_images(self, outputs, batch):
        """Metrics belong to the model that decodes; see LatentModel."""
        raise NotImplementedError("TriplaneModel renders channels; LatentModel, which wraps it, measures pictures")


def scatter(
    values: Float[Tensor, "hits channels"], hit: Bool[Tensor, "rays"], fill: Float[Tensor, "rays any"]
) -> Float[Tensor, "rays channels"]:
    """The values at the rays that hit, and the fill (one column, repeated) at the others."""
    full = fill.expand(-1, values.shape[-1])
    return full.masked_scatter(hit[:, None].expand_as(full), values)
