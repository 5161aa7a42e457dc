"""`latent-instant-ngp`: Nerfstudio's Instant-NGP in the latent space."""

from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.models.instant_ngp import LatentInstantNGPModelConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig
from method_configs.triplane import run

latent_instant_ngp = MethodSpecification(
    config=run(
        "latent-instant-ngp",
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=400,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=1024),
            model=LatentModelConfig(nerf=LatentInstantNGPModelConfig()),
        ),
        learning_rates={"fields": 3e-2, "decoder": 4e-3},
    ),
    description="Instant-NGP in the latent space of an autoencoder.",
)
