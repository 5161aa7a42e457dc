"""Nerfstudio in the latent space of an image autoencoder."""

__version__ = "0.1.0"
