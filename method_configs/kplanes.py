"""`latent-kplanes`, and `rgb-kplanes`: the same model on RGB, the baseline of every comparison."""

from nerfstudio.plugins.types import MethodSpecification

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.fields.kplanes_field import KPlanesFieldConfig
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.kplanes import KPlanesModelConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

from .triplane import run

LEARNING_RATES = {"planes": 1e-1, "mlp": 5e-3, "proposal_networks": 1e-2, "decoder": 4e-3}
"""Of each parameter group; the decoder's is for the bundled one of 0.9 M parameters.

The planes' is high, since a product of three features is small at first: 150 steps of latent supervision of a car at
128 px gave 22.8 dB with 2e-2, 25.3 with 8e-2 and 25.7 with 1.2e-1.
"""

latent_kplanes = MethodSpecification(
    config=run(
        "latent-kplanes",
        max_num_iterations=1250,
        pipeline=LatentPipelineConfig(
            rgb_alignment_start=200,
            crop=64,
            whole_pictures_start=1050,
            datamanager=LatentDataManagerConfig(rays_per_batch=2048),
            model=LatentModelConfig(nerf=KPlanesModelConfig()),
        ),
        learning_rates=LEARNING_RATES,
    ),
    description="K-Planes in the latent space of an autoencoder, for one scene.",
)

rgb_kplanes = MethodSpecification(
    config=run(
        "rgb-kplanes",
        max_num_iterations=2000,
        pipeline=LatentPipelineConfig(
            datamanager=LatentDataManagerConfig(),
            model=LatentModelConfig(
                autoencoder=AutoencoderConfig(source="identity"),
                nerf=KPlanesModelConfig(field=KPlanesFieldConfig(scales=(1, 2, 4))),
            ),
        ),
        learning_rates=LEARNING_RATES,
    ),
    description="K-Planes in RGB: latent-kplanes with the identity latent space.",
)
