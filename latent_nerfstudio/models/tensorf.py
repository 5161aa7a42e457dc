"""Nerfstudio's TensoRF, of any number of channels."""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Optional, Tuple, Type

import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.models.tensorf import TensoRFModel, TensoRFModelConfig
from torch import Tensor

from latent_nerfstudio.fields.heads import ScaledSoftplus
from latent_nerfstudio.models.channel_nerf import ChannelNeRF, NoCollider


@dataclass
class LatentTensoRFModelConfig(NoCollider, TensoRFModelConfig):
    """TensoRF of a size for latents."""

    _target: Type = field(default_factory=lambda: LatentTensoRFModel)
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    init_resolution: int = 32
    """Side of the planes at first (TensoRF: 128)."""
    final_resolution: int = 64
    """Side of the planes after the last upsampling (TensoRF: 300)."""
    upsampling_iters: Tuple[int, ...] = (200, 400)
    """Steps after which planes are upsampled; none for planes of `init_resolution` throughout."""
    num_uniform_samples: int = 64
    """Samples of the density that find where a ray meets something (TensoRF: 200)."""
    num_samples: int = 32
    """Samples of density and channels (TensoRF: 50)."""
    density_scale: Optional[float] = 25.0
    """Factor of a softplus density; None for Nerfstudio's ReLU, which has no gradient left once a scene is empty."""
    regularization: Literal["none", "l1", "tv"] = "tv"
    """Regulariser of the planes: total variation, as in the papers of latent NeRFs."""
    camera_optimizer: CameraOptimizerConfig = field(default_factory=lambda: CameraOptimizerConfig(mode="off"))
    """Off: poses are not learned in latents."""


class LatentTensoRFModel(ChannelNeRF, TensoRFModel):
    """TensoRF with C channels; always within the scene box."""

    config: LatentTensoRFModelConfig

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Tensor]:
        """Density at uniform samples, then density and channels where it is; Nerfstudio's own knows three channels."""
        uniform = self.sampler_uniform(ray_bundle)
        with torch.no_grad():
            weights = uniform.get_weights(self.density(uniform))
        samples = self.sampler_pdf(ray_bundle, uniform, weights)
        weights = samples.get_weights(self.density(samples))
        return {
            "rgb": self.renderer_rgb(self.field.get_outputs(samples), weights),
            "accumulation": self.renderer_accumulation(weights),
            "depth": self.renderer_depth(weights, samples),
        }

    def density(self, samples: RaySamples) -> Float[Tensor, "rays samples 1"]:
        if self.config.density_scale is None:
            return self.field.get_density(samples)
        unit = SceneBox.get_normalized_positions(samples.frustums.get_positions(), self.box)
        total = self.field.density_encoding(2 * unit - 1).sum(dim=-1, keepdim=True)
        return ScaledSoftplus(self.config.density_scale)(total)

    def get_training_callbacks(self, training_callback_attributes: Any) -> List[TrainingCallback]:
        """Upsamples the planes at its steps; Nerfstudio's own starts the learning rate's schedule anew each time."""
        after, args = [TrainingCallbackLocation.AFTER_TRAIN_ITERATION], [training_callback_attributes.optimizers]
        return [TrainingCallback(after, self.upsample_planes, iters=self.upsampling_iters, args=args)]

    def upsample_planes(self, optimizers: Optimizers, step: int) -> None:
        """Upsamples the planes and restarts their optimizer; its schedule goes on."""
        self._upsample(self.resolution_at(step))
        parameters = self.get_param_groups()["encodings"]
        optimizer = optimizers.optimizers["encodings"]
        optimizer.state.clear()
        optimizer.param_groups[0]["params"] = parameters
        optimizers.parameters["encodings"] = parameters

    def update_to_step(self, step: int) -> None:
        """Gives planes their size after a step, in the parameters that the optimizers hold already."""
        encodings = self.field.density_encoding, self.field.color_encoding
        before = [dict(encoding.named_parameters()) for encoding in encodings]
        self._upsample(self.resolution_at(step))
        for encoding, parameters in zip(encodings, before, strict=True):
            for name, parameter in parameters.items():
                parameter.data = getattr(encoding, name).data
                setattr(encoding, name, parameter)

    def resolution_at(self, step: int) -> int:
        return [self.init_resolution, *self.upsampling_steps][bisect_right(sorted(self.upsampling_iters), step)]

    def _upsample(self, resolution: int) -> None:
        for encoding in (self.field.density_encoding, self.field.color_encoding):
            encoding.upsample_grid(resolution)  # type: ignore[operator]
