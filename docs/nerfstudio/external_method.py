"""The entry of latent-nerfstudio for nerfstudio/configs/external_methods.py, where the import below is not needed."""

from nerfstudio.configs.external_methods import ExternalMethod, external_methods

# latent-nerfstudio
external_methods.append(
    ExternalMethod(
        """[bold yellow]latent-nerfstudio[/bold yellow]
For more information visit: https://docs.nerf.studio/nerfology/methods/latent_nerfstudio.html

To enable latent-nerfstudio, you must install it first by running:
  [grey]pip install latent-nerfstudio[/grey]""",
        configurations=[
            ("latent-triplane", "Tri-planes in the latent space of an autoencoder, for one scene or many"),
            ("triplane", "Tri-planes in RGB, the baseline of latent-triplane"),
            ("latent-nerfacto", "Nerfacto in the latent space of an autoencoder"),
            ("latent-instant-ngp", "Instant-NGP in the latent space of an autoencoder"),
            ("latent-tensorf", "TensoRF in the latent space of an autoencoder"),
            ("latent-kplanes", "K-Planes in the latent space of an autoencoder"),
            ("latent-vanilla-nerf", "Vanilla NeRF in the latent space of an autoencoder"),
            ("latent-splatfacto", "Gaussians of latents, rasterised by gsplat"),
            ("ig-ae", "Trains an autoencoder jointly with its scenes, so that its latents become 3D-aware"),
        ],
        pip_package="latent-nerfstudio",
    )
)
