"""Nerfstudio's vanilla NeRF, of any number of channels."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Dict, Optional, Tuple, Type

from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.fields.vanilla_nerf_field import NeRFField
from nerfstudio.model_components.ray_samplers import UniformLinDispPiecewiseSampler
from nerfstudio.models.vanilla_nerf import NeRFModel, VanillaModelConfig
from torch import Tensor

from latent_nerfstudio.fields.heads import ScaledSoftplus
from latent_nerfstudio.models.channel_nerf import ChannelNeRF, NoCollider


@dataclass
class LatentVanillaNeRFModelConfig(NoCollider, VanillaModelConfig):
    """Vanilla NeRF of a size for latents."""

    _target: Type = field(default_factory=lambda: LatentVanillaNeRFModel)
    eval_num_rays_per_chunk: int = 4096
    """Rays rendered at once outside training."""
    num_coarse_samples: int = 16
    """Samples of the coarse network (NeRF: 64)."""
    num_importance_samples: int = 16
    """Further samples of the fine network (NeRF: 128)."""
    hidden_layers: int = 4
    """Layers of each network before the density (NeRF: 8)."""
    hidden_width: int = 128
    """Width of these layers, and twice that of the layers before the colour (NeRF: 256)."""
    density_scale: Optional[float] = 25.0
    """Factor of the density, which would else reach the values of a surface slowly; None for Nerfstudio's own."""
    disable_scene_contraction: bool = True
    """Rays end at the scene box. Off for captured scenes."""
    near_plane: float = 0.05
    """Nearest distance that is rendered."""
    far_plane: float = 100.0
    """Farthest distance that is rendered with scene contraction; without it the box ends the ray."""


class SizedNeRFModel(NeRFModel):
    """Vanilla NeRF with networks of the config's size, and with scene contraction where it is asked for."""

    config: LatentVanillaNeRFModelConfig

    def populate_modules(self):
        super().populate_modules()
        contraction = None if self.config.disable_scene_contraction else SceneContraction(order=float("inf"))
        for name in ("field_coarse", "field_fine"):
            original: NeRFField = getattr(self, name)
            sized = NeRFField(
                position_encoding=original.position_encoding,
                direction_encoding=original.direction_encoding,
                base_mlp_num_layers=self.config.hidden_layers,
                base_mlp_layer_width=self.config.hidden_width,
                head_mlp_layer_width=self.config.hidden_width // 2,
                spatial_distortion=contraction,
            )
            if self.config.density_scale is not None:
                sized.field_output_density.activation = ScaledSoftplus(self.config.density_scale)
            setattr(self, name, sized)
        if contraction is not None:
            self.sampler_uniform = UniformLinDispPiecewiseSampler(num_samples=self.config.num_coarse_samples)


class LatentVanillaNeRFModel(ChannelNeRF, SizedNeRFModel):
    """Vanilla NeRF with C channels. The coarse network is fitted to the latents in latent supervision. In RGB alignment
    only what the fine network renders is decoded, and the coarse one follows that."""

    config: LatentVanillaNeRFModelConfig
    pictures: ClassVar[Tuple[Tuple[str, str], ...]] = (
        ("latent", "accumulation"),
        ("latent_coarse", "accumulation_coarse"),
    )
    reconstruction_loss: ClassVar[str] = "rgb_loss_fine"

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Any]:
        """Nerfstudio's outputs; those of the fine network under the names that all models have."""
        return {name.removesuffix("_fine"): value for name, value in super().get_outputs(ray_bundle).items()}

    def host_losses(self, outputs: Dict[str, Any], target: Tensor) -> Dict[str, Tensor]:
        """The host's losses know the fine network's picture by its own name."""
        fine = {"latent_fine": outputs["latent"], "accumulation_fine": outputs["accumulation"]}
        return super().host_losses({**outputs, **fine}, target)
