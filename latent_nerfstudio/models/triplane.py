"""Tri-plane NeRF of one or many scenes, of any number of channels."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallbackAttributes
from nerfstudio.model_components.ray_samplers import PDFSampler, UniformLinDispPiecewiseSampler, UniformSampler
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.planes import total_variation
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.fields.triplane_field import TriplaneField, TriplaneFieldConfig
from latent_nerfstudio.latent_space.latent_space import to_device
from latent_nerfstudio.models.rendering import BoxedModel, BoxedModelConfig, composite, for_all_rays, ray_weights


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


class TriplaneModel(BoxedModel):
    """Renders C channels of many scenes; a ray's scene is its `metadata["scene_index"]`, by default the first."""

    config: TriplaneModelConfig

    def populate_modules(self):
        """Field and samplers; `num_channels`, `value_range` and `num_scenes` come from the owner."""
        super().populate_modules()
        config = self.config
        if config.num_samples < 1 or config.num_importance_samples < 0:
            got = f"{config.num_samples} and {config.num_importance_samples}"
            raise ValueError(problem("num_samples and num_importance_samples", "at least 1 and 0", got, "raise them"))
        self.kept_planes: Optional[Tuple[Any, Tensor]] = None
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
        field = self.field
        groups = {
            "planes": [field.micro_planes],
            "shared_planes": [field.base_planes, field.scene_weights],
            "mlp": list(field.mlp.parameters()),
        }
        there = {name: [p for p in parameters if p is not None] for name, parameters in groups.items()}
        return {name: parameters for name, parameters in there.items() if parameters}

    def get_training_callbacks(self, training_callback_attributes: TrainingCallbackAttributes):
        """None. Tells the field which of its parameters have an optimizer that takes sparse gradients of rows."""
        optimizers = training_callback_attributes.optimizers
        every = {} if optimizers is None else optimizers.optimizers
        takes = [o for o in every.values() if getattr(o, "takes_row_gradients", False)]
        own = {id(p) for optimizer in takes for group in optimizer.param_groups for p in group["params"]}
        self.field.sparse_rows = frozenset(n for n, p in self.field.scene_parameters().items() if id(p) in own)
        return []

    def get_outputs(
        self, ray_bundle: RayBundle, scenes: Optional[Int[Tensor, "scenes"]] = None, views: Sequence[SceneView] = ()
    ) -> Dict[str, Tensor]:
        """`latent` [rays, C], `accumulation` and `depth` [rays, 1], all without background. Rays that miss the scene
        box are left out before any sample is taken. `scenes`, if known, are all scenes of the rays, rising, on the
        host; with `views`, `scene_index` counts these instead."""
        rays, hit = self.clip(ray_bundle)
        planes, slots, scenes = self.planes_of(rays, scenes, views)
        ray_samples = self.sampler(rays)
        if self.config.num_importance_samples:
            with torch.no_grad():
                density, _ = self.field(self.normalize(ray_samples.frustums.get_positions()), slots[:, None], planes)
                weights = ray_weights(ray_samples, density)
            ray_samples = self.importance_sampler(rays, ray_samples, weights[..., None])
        density, channels = self.field(self.normalize(ray_samples.frustums.get_positions()), slots[:, None], planes)
        weights = ray_weights(ray_samples, density)
        outputs = for_all_rays(composite(ray_samples, weights, channels), hit, ray_bundle, self.aabb)
        return {**outputs, "planes": planes, "scenes": scenes} if self.training else outputs

    def planes_of(
        self, rays: RayBundle, scenes: Optional[Int[Tensor, "scenes"]], views: Sequence[SceneView]
    ) -> Tuple[Float[Tensor, "scenes planes features rows cols"], Int[Tensor, "rays"], Int[Tensor, "scenes"]]:
        """The composed planes of the rays' scenes or views, the index of each ray's planes, and the scenes."""
        index = (rays.metadata or {}).get("scene_index")
        if index is None:
            index, scenes = torch.zeros_like(rays.origins[:, :1], dtype=torch.long), torch.zeros(1, dtype=torch.long)
        index = index.flatten().long()
        if scenes is None:
            found, slots = torch.unique(index, return_inverse=True)
            scenes = found.cpu()
        elif len(scenes) == 1:
            slots = torch.zeros_like(index)
        else:
            slots = torch.searchsorted(to_device(scenes, index.device), index)
        rows: Any = scenes
        shown = [views[i] for i in rows.tolist()] if views else []
        compose = partial(self.field.view_planes, shown) if shown else partial(self.field.scene_planes, rows)
        if self.training or torch.is_grad_enabled():
            self.kept_planes = None  # their memory is given back
            return compose(), slots, rows
        own = self.field.parameters(recurse=False)
        key = (tuple(shown or rows.tolist()), *((p.data_ptr(), p._version) for p in own))
        kept = self.kept_planes
        if kept is None or kept[0] != key:  # of a frame's first chunk, or a film's first frame; as kernels read them
            planes = compose().permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
            kept = self.kept_planes = key, planes
        return kept[1], slots, rows

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        """What holds in both stages: the total variation of the planes that the step used."""
        if self.config.total_variation_weight == 0 or "planes" not in outputs:
            return {}
        return {"total_variation": self.config.total_variation_weight * total_variation(outputs["planes"])}
