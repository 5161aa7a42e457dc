"""Tri-plane NeRF of one or many scenes, of any number of channels."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Type

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.model_components.ray_samplers import PDFSampler, UniformLinDispPiecewiseSampler, UniformSampler
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.fields.triplane_field import TriplaneField, TriplaneFieldConfig
from latent_nerfstudio.models.boxed import BoxedModel, BoxedModelConfig
from latent_nerfstudio.models.rendering import composite, ray_weights


@dataclass
class TriplaneModelConfig(BoxedModelConfig):
    """Tri-planes rendered along rays."""

    _target: Type = field(default_factory=lambda: TriplaneModel)
    field: TriplaneFieldConfig = field(default_factory=TriplaneFieldConfig)
    """Planes and tiny MLP."""
    num_samples: int = 24
    """Stratified samples a ray within the scene box (the papers: 48)."""
    num_importance_samples: int = 0
    """Further samples drawn where the first ones found matter (the papers: 48)."""
    total_variation_weight: float = 1e-2
    """Weight of the planes' total variation, a mean, so independent of batch and plane size."""


class PlaneCache:
    """The composed planes of the scenes that were rendered last, kept while no parameter of theirs changes.

    A frame is rendered in chunks, and a video in frames, of the same scenes. Channels-last, as kernels read them.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets the planes, and gives their memory back."""
        self.key: Optional[Tuple[Any, ...]] = None
        self.planes = torch.empty(0)

    def get(
        self, field: TriplaneField, scenes: Int[Tensor, "scenes"]
    ) -> Float[Tensor, "scenes planes features rows cols"]:
        """`field.scene_planes(scenes)`, composed anew only if the scenes are others or a parameter was written to."""
        return self.keep(field, tuple(scenes.tolist()), lambda: field.scene_planes(scenes))

    def get_views(
        self, field: TriplaneField, views: Sequence[SceneView]
    ) -> Float[Tensor, "views planes features rows cols"]:
        """As `get`, of views."""
        return self.keep(field, tuple(views), lambda: field.view_planes(views))

    def keep(self, field: TriplaneField, what: Tuple[Any, ...], compose: Callable[[], Tensor]) -> Tensor:
        """What `compose` makes of the field's parameters, or made of them when it was last asked for the same."""
        parameters = [*field.plane_parameters(), *field.shared_plane_parameters()]
        key = (what, *((p.data_ptr(), p._version) for p in parameters))
        if key != self.key:
            planes = compose().permute(0, 1, 3, 4, 2).contiguous()
            self.key, self.planes = key, planes.permute(0, 1, 4, 2, 3)  # in one line: the viewer interrupts at any
        return self.planes


class TriplaneModel(BoxedModel):
    """Renders C channels of the scenes of rays.

    A ray's scene is `metadata["scene_index"]`; rays without one belong to `current_scene`.
    """

    config: TriplaneModelConfig

    def populate_modules(self):
        """Field and samplers; `num_channels`, `value_range` and `num_scenes` come from the owner."""
        super().populate_modules()
        config = self.config
        if config.num_samples < 1 or config.num_importance_samples < 0:
            got = f"{config.num_samples} and {config.num_importance_samples}"
            do = "raise --pipeline.model.nerf.num-samples"
            raise ValueError(problem("num_samples and num_importance_samples", "at least 1 and 0", got, do))
        self.current_scene = 0
        self.plane_cache = PlaneCache()
        self.field: TriplaneField = config.field.setup(
            num_scenes=self.kwargs.get("num_scenes", 1),
            num_channels=self.kwargs.get("num_channels", 3),
            value_range=self.kwargs.get("value_range", (0.0, 1.0)),
        )
        sampler = UniformLinDispPiecewiseSampler if config.scene_contraction else UniformSampler
        self.sampler = sampler(num_samples=config.num_samples)
        self.importance_sampler = PDFSampler(num_samples=config.num_importance_samples)

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """Groups `planes` (micro planes), `shared_planes` (base planes and scene weights) and `mlp`."""
        groups = {
            "planes": self.field.plane_parameters(),
            "shared_planes": self.field.shared_plane_parameters(),
            "mlp": list(self.field.mlp.parameters()),
        }
        return {name: parameters for name, parameters in groups.items() if parameters}

    def get_outputs(self, ray_bundle: RayBundle, views: Sequence[SceneView] = ()) -> Dict[str, Tensor]:
        """`rgb` [rays, C], `accumulation` and `depth` [rays, 1], all without background.

        Rays that miss the scene box cost nothing: they are left out before any sample is taken.

        Args:
            ray_bundle: rays.
            views: what `scene_index` counts instead of the scenes, where it is given.
        """
        bundle, hit = self.clip(ray_bundle)
        scenes, slots = self.scenes_of(bundle)
        planes = self.planes_of(scenes, views)
        samples = self.sampler(bundle)
        if self.config.num_importance_samples:
            with torch.no_grad():
                density, _ = self.evaluate(samples, slots, planes)
                weights = ray_weights(samples, density)
            samples = self.importance_sampler(bundle, samples, weights[..., None])
        density, channels = self.evaluate(samples, slots, planes)
        result = composite(samples, ray_weights(samples, density), channels)
        outputs = self.outputs_of(result, hit, ray_bundle)
        if self.training:
            outputs["planes"] = planes
        return outputs

    def scenes_of(self, bundle: RayBundle) -> Tuple[Int[Tensor, "scenes"], Int[Tensor, "rays"]]:
        """The distinct scenes of a bundle, and which of them each ray belongs to."""
        index = bundle.metadata.get("scene_index") if bundle.metadata else None
        if index is None:
            scene = torch.tensor([self.current_scene], device=bundle.origins.device)
            return scene, torch.zeros(len(bundle), dtype=torch.long, device=bundle.origins.device)
        scenes, slots = torch.unique(index.reshape(-1).long(), return_inverse=True)
        return scenes, slots

    def planes_of(
        self, scenes: Int[Tensor, "scenes"], views: Sequence[SceneView] = ()
    ) -> Float[Tensor, "scenes planes features rows cols"]:
        """The composed planes of scenes, or of views by their number; outside training those of the last call, where
        they still hold."""
        chosen = [views[i] for i in scenes.tolist()] if views else []
        if self.training or torch.is_grad_enabled():
            self.plane_cache.clear()
            return self.field.view_planes(chosen) if chosen else self.field.scene_planes(scenes)
        return self.plane_cache.get_views(self.field, chosen) if chosen else self.plane_cache.get(self.field, scenes)

    def evaluate(
        self, samples: RaySamples, slots: Int[Tensor, "rays"], planes: Tensor
    ) -> Tuple[Float[Tensor, "rays samples"], Float[Tensor, "rays samples channels"]]:
        """Density and channels at the samples of rays."""
        positions = samples.frustums.get_positions()
        rays, count = positions.shape[:2]
        box = self.normalize(positions).view(-1, 3)
        density, channels = self.field(box, slots.repeat_interleave(count), planes)
        return density.view(rays, count), channels.view(rays, count, -1)

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
