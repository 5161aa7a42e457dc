"""Normalisers: raw latents <-> the range that a NeRF renders.

`mean-std` gives each channel zero mean and unit variance over the training latents, so that losses, learning rates and
regularisers mean the same for every autoencoder. `tanh` is the papers' tanh(0.02 z), which uses a small part of its
range (-1, 1) (IG-AE, `ae/normalizer.py`; 3Da-AE settled on the same).
"""

from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from latent_nerfstudio.latent_space.autoencoder import Prior

NormalizerKind = Literal["mean-std", "tanh", "none"]

TANH_SCALE = 0.02
TANH_EPS = 1e-4


class Normalizer(nn.Module):
    """Per-channel affine or tanh normaliser; its numbers are buffers, so that they are stored with the run.

    Args:
        kind: `mean-std`, `tanh` or `none` (the identity).
        num_channels: C.
        mean: prior mean of raw latents, of all channels or of each.
        std: prior standard deviation of raw latents, positive, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: NormalizerKind, num_channels: int, mean: Prior = 0.0, std: Prior = 1.0):
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).expand(num_channels).clone())
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).expand(num_channels).clone())

    @torch.no_grad()
    def fit(self, latents: Float[Tensor, "n channels"]) -> None:
        """Takes mean and standard deviation of raw latents; a constant channel keeps the scale 1."""
        self.mean.copy_(latents.mean(dim=0))
        std = latents.std(dim=0, correction=0)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    @torch.no_grad()
    def follow(self, latents: Float[Tensor, "n channels"], momentum: float) -> None:
        """Moves mean and standard deviation towards those of raw latents, by a share in (0, 1]."""
        self.mean.lerp_(latents.mean(dim=0), momentum)
        self.std.lerp_(latents.std(dim=0, correction=0).clamp(min=1e-6), momentum)

    def forward(self, raw: Shaped[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        """Raw latents (any float type) to normalised ones in float32."""
        raw = raw.float()
        if self.kind == "mean-std":
            return (raw - self.mean) / self.std
        return torch.tanh(TANH_SCALE * raw) if self.kind == "tanh" else raw

    def inverse(self, normalized: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        """Normalised latents to raw ones; tanh's are clamped to the open interval first."""
        if self.kind == "mean-std":
            return normalized * self.std + self.mean
        if self.kind == "tanh":
            return torch.atanh(normalized.clamp(-1 + TANH_EPS, 1 - TANH_EPS)) / TANH_SCALE
        return normalized
