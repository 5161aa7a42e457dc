"""Nerfstudio's Nerfacto, of any number of channels."""

from dataclasses import dataclass, field
from functools import partial
from typing import Dict, List, Literal, Tuple, Type

from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.fields.nerfacto_field import NerfactoField
from nerfstudio.models import nerfacto
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig

from latent_nerfstudio.fields.heads import mlp_implementation
from latent_nerfstudio.models.channel_nerf import ChannelNeRF, NoCollider, replaced


def small_proposal_networks() -> List[Dict]:
    """Settings of the proposal networks for objects in a box."""
    shared = {"hidden_dim": 16, "num_levels": 4, "use_linear": False}
    return [{**shared, "log2_hashmap_size": 15, "max_res": res} for res in (48, 96)]


@dataclass
class LatentNerfactoModelConfig(NoCollider, NerfactoModelConfig):
    """Nerfacto in the scene box, of a size for latents, which have few pixels and no fine texture."""

    _target: Type = field(default_factory=lambda: LatentNerfactoModel)
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    implementation: Literal["tcnn", "torch"] = field(default_factory=lambda: mlp_implementation("auto"))
    """tiny-cuda-nn where it is installed, else torch."""
    disable_scene_contraction: bool = True
    """Rays end at the scene box. Off for captured scenes, with `proposal-initial-sampler piecewise` and two proposal
    networks."""
    proposal_initial_sampler: Literal["piecewise", "uniform"] = "uniform"
    """Where the first proposals lie: `uniform` in a box, `piecewise` with scene contraction."""
    camera_optimizer: CameraOptimizerConfig = field(default_factory=lambda: CameraOptimizerConfig(mode="off"))
    """Off: poses are not learned in latents."""
    use_appearance_embedding: bool = False
    """Off: latents have no embedding for each picture."""
    num_levels: int = 4
    """Levels of the hash grid (Nerfacto: 16)."""
    features_per_level: int = 4
    """Features of each level of the hash grid (Nerfacto: 2)."""
    max_res: int = 64
    """Finest resolution of the hash grid; twice the latent's side (Nerfacto: 2048)."""
    log2_hashmap_size: int = 15
    """Entries of each level of the hash grid, as a power of two (Nerfacto: 19)."""
    num_proposal_iterations: int = 1
    """Proposal networks (Nerfacto: 2)."""
    num_proposal_samples_per_ray: Tuple[int, ...] = (32, 24)
    """Samples of each proposal network, of which there may be more than are used (Nerfacto: 256 and 96)."""
    num_nerf_samples_per_ray: int = 16
    """Samples of the field (Nerfacto: 48)."""
    geometry_features: int = 63
    """Features that the hash grid's network hands to the colour network, besides the density (Nerfacto: 15)."""
    color_layers: int = 2
    """Layers of the colour network (Nerfacto: 3)."""
    average_init_density: float = 5.0
    """Density at the beginning; an object's box is small, and nearly empty with less (Nerfacto: 0.01)."""
    proposal_net_args_list: List[Dict] = field(default_factory=small_proposal_networks)
    """Settings of the proposal networks."""
    proposal_warmup: int = 50
    """Steps over which proposal networks come to be trained every fifth step only (Nerfacto: 5000)."""
    proposal_weights_anneal_max_num_iters: int = 100
    """Steps over which proposals are sharpened (Nerfacto: 1000)."""


class SizedNerfactoModel(NerfactoModel):
    """Nerfacto whose colour network has the config's size, which Nerfstudio's own config does not know."""

    config: LatentNerfactoModelConfig

    def populate_modules(self):
        sizes = {"geo_feat_dim": self.config.geometry_features, "num_layers_color": self.config.color_layers}
        with replaced(nerfacto, "NerfactoField", partial(NerfactoField, **sizes)):
            super().populate_modules()


class LatentNerfactoModel(ChannelNeRF, SizedNerfactoModel):
    """Nerfacto with C channels."""

    config: LatentNerfactoModelConfig
