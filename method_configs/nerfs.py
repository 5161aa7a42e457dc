"""`latent-nerfacto`, `latent-tensorf`, `latent-vanilla-nerf`: Nerfstudio's own models in the latent space."""

from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.nerfacto import LatentNerfactoModelConfig
from latent_nerfstudio.models.tensorf import LatentTensoRFModelConfig
from latent_nerfstudio.models.vanilla_nerf import LatentVanillaNeRFModelConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig
from method_configs.triplane import run

DECODER = 4e-3
"""Learning rate of the bundled decoder, as with tri-planes."""

latent_nerfacto = MethodSpecification(
    config=run(
        "latent-nerfacto",
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=400,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=1024),
            model=LatentModelConfig(nerf=LatentNerfactoModelConfig()),
        ),
        learning_rates={"fields": 1e-2, "proposal_networks": 1e-2, "decoder": DECODER},
    ),
    description="Nerfacto in the latent space of an autoencoder.",
)

latent_tensorf = MethodSpecification(
    config=run(
        "latent-tensorf",
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=400,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=1024),
            model=LatentModelConfig(nerf=LatentTensoRFModelConfig()),
        ),
        learning_rates={"fields": 1e-3, "encodings": 2e-2, "decoder": DECODER},
    ),
    description="TensoRF in the latent space of an autoencoder.",
)

latent_vanilla_nerf = MethodSpecification(
    config=run(
        "latent-vanilla-nerf",
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=600,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=1024),
            model=LatentModelConfig(nerf=LatentVanillaNeRFModelConfig()),
        ),
        learning_rates={"fields": 5e-3, "decoder": DECODER},
    ),
    description="Vanilla NeRF in the latent space of an autoencoder.",
)
