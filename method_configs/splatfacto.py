"""`latent-splatfacto`: gaussians in the latent space, on CUDA."""

from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.splatfacto import LatentSplatfactoModelConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

from .triplane import run

LEARNING_RATES = {
    "means": 1.6e-4,
    "scales": 5e-3,
    "quats": 1e-3,
    "opacities": 5e-2,
    "features": 1e-2,
    "decoder": 1e-3,
}
"""Splatfacto's, but for the features, which have four times its colours' rate: latents vary more than colours do."""

latent_splatfacto = MethodSpecification(
    config=run(
        "latent-splatfacto",
        max_num_iterations=10000,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=6000,
            datamanager=LatentDataManagerConfig(),
            model=LatentModelConfig(nerf=LatentSplatfactoModelConfig(stop_split_at=5000)),
        ),
        learning_rates=LEARNING_RATES,
    ),
    description="Gaussians of latents, rasterised by gsplat; needs CUDA.",
)
