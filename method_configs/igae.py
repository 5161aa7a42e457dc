"""`ig-ae`: an autoencoder trained jointly with its scenes; and the published settings of the same method."""

from typing import Any, Dict, Tuple

from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.triplane import TriplaneModelConfig
from latent_nerfstudio.pipelines.igae_pipeline import IGAEPipelineConfig

from .triplane import LEARNING_RATES, adam, run

AUTOENCODER = ("encoder", "decoder")
"""Groups whose gradient is clipped to norm 1."""

Rates = Dict[str, Tuple[float, float]]
"""Learning rate of each parameter group at the beginning of the warm-up and of joint training."""

RATES: Rates = {
    "planes": (4e-2, 2e-2),
    "shared_planes": (LEARNING_RATES["shared_planes"], 2e-2),
    "mlp": (LEARNING_RATES["mlp"], 3e-3),
    "decoder": (4e-4, 4e-4),
    "encoder": (4e-4, 4e-4),
}

SQUARED_RANGE = 4.0
"""The papers' pictures are in [-1, 1], where squared errors are this times ours."""


def joint_run(
    method_name: str, steps: int, pipeline: IGAEPipelineConfig, rates: Rates = RATES, **schedule: Any
) -> LatentTrainerConfig:
    """A run that writes a shared bundle."""
    config = run(method_name, steps, pipeline)
    config.write_bundle = True
    config.steps_per_save = config.steps_per_pictures = 500
    config.optimizers = {
        name: {
            "optimizer": adam(name, pipeline, warm_up, max_norm=1.0 if name in AUTOENCODER else None),
            "scheduler": StagedSchedulerConfig(alignment_factor=joint / warm_up, **schedule),
        }
        for name, (warm_up, joint) in rates.items()
    }
    return config


def published(
    method_name: str,
    rates: Rates,
    floor: float,
    field: TriplaneFieldConfig,
    images: int,
    variation: float,
    **flags: Any,
) -> LatentTrainerConfig:
    """The settings of a paper: weights, rates, batch, planes, samples, normaliser.

    Renderer, cameras and the form of the schedules are ours, and so is the number of steps: theirs are epochs of their
    data. The weight of the planes' total variation is theirs, of a sum over the batch, converted to our mean:
    1e-4 (images * 3 * 32 * 64 * 63) / 128.

    Args:
        method_name: of the method.
        rates: learning rates.
        floor: factor of the learning rates at the end of a phase.
        field: planes.
        images: pictures a step.
        variation: weight of the planes' total variation as published.
        flags: of the pipeline.
    """
    weight = variation * images * 3 * 32 * 64 * 63 / 128
    flags = {"real_loss_weight": 0.1 * SQUARED_RANGE, **flags}
    return joint_run(
        method_name,
        steps=40000,
        pipeline=IGAEPipelineConfig(
            joint_training_start=20000,
            latent_loss_weight=1.0,
            scale_free_latent_loss=False,
            rgb_loss_weight=SQUARED_RANGE,
            autoencoder_loss_weight=0.1 * SQUARED_RANGE,
            crop=None,
            datamanager=LatentDataManagerConfig(
                rays_per_batch=8192, images_per_batch=images, scenes_per_batch=images, encode_batch_size=16
            ),
            model=LatentModelConfig(
                normalizer="tanh",
                nerf=TriplaneModelConfig(
                    field=field, num_samples=48, num_importance_samples=48, total_variation_weight=weight
                ),
            ),
            **flags,
        ),
        rates=rates,
        floor=floor,
    )


def published_planes() -> TriplaneFieldConfig:
    """Micro and macro planes of 3Da-AE and of Fused-Planes, along the axes of their code."""
    return TriplaneFieldConfig(micro_features=10, macro_features=22, num_base_planes=50, resolution=64, eg3d_axes=True)


ig_ae = MethodSpecification(
    config=joint_run(
        "ig-ae",
        steps=7500,
        pipeline=IGAEPipelineConfig(
            joint_training_start=1500,
            whole_pictures_start=6300,
            separate_decoders=True,
            datamanager=LatentDataManagerConfig(rays_per_batch=4096, images_per_batch=8, scenes_per_batch=8),
            model=LatentModelConfig(
                nerf=TriplaneModelConfig(
                    field=TriplaneFieldConfig(micro_features=10, macro_features=22, num_base_planes=8)
                )
            ),
        ),
    ),
    description="Trains an autoencoder jointly with its scenes, so that its latents become 3D-aware.",
)

three_da_ae = MethodSpecification(
    config=published(
        "3da-ae",
        rates={
            "planes": (1e-2, 1e-3),
            "shared_planes": (1e-2, 1e-2),
            "mlp": (1e-2, 1e-3),
            "decoder": (1e-4, 1e-4),
            "encoder": (1e-4, 1e-4),
        },
        floor=1.0,
        field=published_planes(),
        images=32,
        variation=1e-4,
    ),
    description="ig-ae with the settings of 3Da-AE (arXiv 2403.11678): L_latent, L_RGB, 0.1 L_ae, tanh normaliser.",
)

fused_planes = MethodSpecification(
    config=published(
        "fused-planes",
        rates={
            "planes": (1e-2, 1e-4),
            "shared_planes": (1e-2, 1e-2),
            "mlp": (1e-2, 1e-4),
            "decoder": (1e-4, 1e-4),
            "encoder": (1e-4, 1e-4),
        },
        floor=0.09,
        field=published_planes(),
        images=32,
        variation=1e-4,
    ),
    description="ig-ae with the settings of Scaled Inverse Graphics and Fused-Planes (arXiv 2410.23742).",
)

ig_ae_published = MethodSpecification(
    config=published(
        "ig-ae-published",
        rates={
            "planes": (1e-3, 1e-4),
            "mlp": (1e-3, 1e-4),
            "decoder": (5e-5, 5e-5),
            "encoder": (5e-5, 5e-5),
        },
        floor=0.4,
        field=TriplaneFieldConfig(micro_features=32, resolution=64, eg3d_axes=True),
        images=12,
        variation=1e-4,
        real_images_per_batch=3,
        real_lpips_weight=0.01,
        real_variation_weight=1e-5,
    ),
    description="ig-ae with the settings of IG-AE (arXiv 2410.22936); it needs --pipeline.real-images FOLDER.",
)
