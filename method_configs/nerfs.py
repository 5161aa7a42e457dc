"""`latent-nerfacto`, `latent-tensorf`, `latent-vanilla-nerf`, `latent-instant-ngp`: models of Nerfstudio in latents."""

from typing import Dict

from nerfstudio.models.base_model import ModelConfig
from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.models.instant_ngp import LatentInstantNGPModelConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.nerfacto import LatentNerfactoModelConfig
from latent_nerfstudio.models.tensorf import LatentTensoRFModelConfig
from latent_nerfstudio.models.vanilla_nerf import LatentVanillaNeRFModelConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

from .triplane import LEARNING_RATES, run


def one_scene(
    method_name: str, nerf: ModelConfig, rates: Dict[str, float], description: str, alignment_start: int = 400
) -> MethodSpecification:
    """One of Nerfstudio's models in the latent space: latent supervision, crops, then whole pictures."""
    config = run(
        method_name,
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=alignment_start,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=1024),
            model=LatentModelConfig(nerf=nerf),
        ),
        learning_rates={**rates, "decoder": LEARNING_RATES["decoder"]},
    )
    return MethodSpecification(config=config, description=description)


latent_nerfacto = one_scene(
    "latent-nerfacto",
    LatentNerfactoModelConfig(),
    {"fields": 2e-2, "proposal_networks": 1e-2},
    "Nerfacto in the latent space of an autoencoder.",
)

latent_tensorf = one_scene(
    "latent-tensorf",
    LatentTensoRFModelConfig(),
    {"fields": 1e-3, "encodings": 2e-2},
    "TensoRF in the latent space of an autoencoder.",
)

latent_vanilla_nerf = one_scene(
    "latent-vanilla-nerf",
    LatentVanillaNeRFModelConfig(),
    {"fields": 5e-3},
    "Vanilla NeRF in the latent space of an autoencoder.",
    alignment_start=600,
)

latent_instant_ngp = one_scene(
    "latent-instant-ngp",
    LatentInstantNGPModelConfig(),
    {"fields": 3e-2},
    "Instant-NGP in the latent space of an autoencoder.",
)
