"""`latent-triplane`, and `triplane`: the same model on RGB, the baseline of every comparison."""

from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.triplane import TriplaneModelConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

NEVER = 1_000_000
"""Interval of what a run does not do by itself: Nerfstudio's evaluations during training cost more than training."""


def optimizers(plane_lr: float, mlp_lr: float, decoder_lr: float) -> dict:
    """Adam for each parameter group, with schedules that end with the stages."""
    rates = {"planes": plane_lr, "shared_planes": plane_lr, "mlp": mlp_lr, "decoder": decoder_lr}
    return {
        name: {"optimizer": AdamOptimizerConfig(lr=lr, eps=1e-15), "scheduler": StagedSchedulerConfig()}
        for name, lr in rates.items()
    }


latent_triplane = MethodSpecification(
    config=LatentTrainerConfig(
        method_name="latent-triplane",
        max_num_iterations=1500,
        steps_per_save=1000,
        steps_per_eval_batch=NEVER,
        steps_per_eval_image=500,
        steps_per_eval_all_images=NEVER,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=300,
            datamanager=LatentDataManagerConfig(rays_per_batch=2048),
            model=LatentModelConfig(),
        ),
        optimizers=optimizers(plane_lr=4e-2, mlp_lr=5e-3, decoder_lr=4e-3),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
        vis="viewer",
    ),
    description="Tri-planes in the latent space of an autoencoder, for one scene or many.",
)

triplane = MethodSpecification(
    config=LatentTrainerConfig(
        method_name="triplane",
        max_num_iterations=2000,
        steps_per_save=1000,
        steps_per_eval_batch=NEVER,
        steps_per_eval_image=500,
        steps_per_eval_all_images=NEVER,
        pipeline=LatentPipelineConfig(
            datamanager=LatentDataManagerConfig(),
            model=LatentModelConfig(
                autoencoder=AutoencoderConfig(source="identity"),
                nerf=TriplaneModelConfig(field=TriplaneFieldConfig(resolution=64)),
            ),
        ),
        optimizers=optimizers(plane_lr=4e-2, mlp_lr=5e-3, decoder_lr=4e-3),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
        vis="viewer",
    ),
    description="Tri-planes in RGB: latent-triplane with the identity latent space.",
)
