"""`latent-triplane`, and `triplane`: the same model on RGB, the baseline of every comparison."""

from typing import Any, Mapping, Optional

from nerfstudio.engine.optimizers import OptimizerConfig
from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.engine.options import AdamConfig, ViewerOptions
from latent_nerfstudio.engine.row_adam import RowAdamConfig
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.triplane import TriplaneModelConfig
from latent_nerfstudio.models.viewer_address import LOCAL
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

NEVER = 1_000_000
"""Interval of what a run does not do by itself: Nerfstudio's evaluations would cost more than the training."""

LEARNING_RATES = {"planes": 8e-2, "shared_planes": 4e-2, "mlp": 5e-3, "decoder": 4e-3}
"""Of each parameter group; the decoder's is for the bundled one of 0.9 M parameters."""

RGB_RATES = {**LEARNING_RATES, "planes": 0.12}
"""Of RGB, which is best with it at four photos and as good at eight and forty (benchmarks/choices.md)."""

ALIGNMENT_RATES = {**LEARNING_RATES, "planes": 4e-2}
"""The same at the beginning of RGB alignment."""

SCENE_GROUPS = ("planes", "shared_planes")
"""Parameter groups of tri-planes that hold a row a scene; base planes are among them."""

MAX_IDLE = 16.0
"""Steps of a scene are stretched to its next turn, up to turns in every sixteenth step: rates beyond grow too large."""


def adam(group: str, pipeline: LatentPipelineConfig, lr: float, **settings: Any) -> OptimizerConfig:
    """Adam for a parameter group of a pipeline; the rows of scenes that are not in a step stay as they are."""
    if group in SCENE_GROUPS and isinstance(getattr(pipeline.model, "nerf", None), TriplaneModelConfig):
        return RowAdamConfig(lr=lr, max_idle=MAX_IDLE, **settings)
    return AdamConfig(lr=lr, **settings)


def run(
    method_name: str,
    max_num_iterations: int,
    pipeline: LatentPipelineConfig,
    learning_rates: Mapping[str, float] = LEARNING_RATES,
    alignment_rates: Optional[Mapping[str, float]] = None,
) -> LatentTrainerConfig:
    """A run of a method: Adam, and schedules that end with the stages; RGB alignment begins with rates of its own, or
    with the same."""
    later = alignment_rates or learning_rates
    return LatentTrainerConfig(
        method_name=method_name,
        max_num_iterations=max_num_iterations,
        steps_per_save=1000,
        steps_per_eval_batch=NEVER,
        steps_per_eval_image=500,
        steps_per_eval_all_images=NEVER,
        pipeline=pipeline,
        optimizers={
            name: {
                "optimizer": adam(name, pipeline, lr),
                "scheduler": StagedSchedulerConfig(alignment_factor=later[name] / lr),
            }
            for name, lr in learning_rates.items()
        },
        viewer=ViewerOptions(websocket_host=LOCAL),
        vis="viewer",
    )


latent_triplane = MethodSpecification(
    config=run(
        "latent-triplane",
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=200,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=2048),
            model=LatentModelConfig(
                nerf=TriplaneModelConfig(
                    field=TriplaneFieldConfig(micro_features=10, macro_features=22, num_base_planes=8)
                )
            ),
        ),
        alignment_rates=ALIGNMENT_RATES,
    ),
    description="Tri-planes in the latent space of an autoencoder, for one scene or many.",
)

triplane = MethodSpecification(
    config=run(
        "triplane",
        max_num_iterations=2000,
        pipeline=LatentPipelineConfig(
            datamanager=LatentDataManagerConfig(),
            model=LatentModelConfig(
                autoencoder=AutoencoderConfig(source="identity"),
                nerf=TriplaneModelConfig(field=TriplaneFieldConfig(resolution=64)),
            ),
        ),
        learning_rates=RGB_RATES,
    ),
    description="Tri-planes in RGB: latent-triplane with the identity latent space.",
)
