"""The picture of a latent: a fixed linear map to three channels, so that colours do not flicker between frames."""

from typing import Tuple

import torch
from jaxtyping import Float
from torch import Tensor

DEVIATIONS = 2.5
"""Standard deviations of the principal components that fill the range [0, 1]."""


def fit_preview(latents: Float[Tensor, "n channels"]) -> Tuple[Float[Tensor, "channels 3"], Float[Tensor, "3"]]:
    """Weight and bias that map the three principal components to [0, 1], their mean to 0.5. A component's largest
    weight is positive, which makes the map reproducible."""
    mean = latents.mean(dim=0)
    centred = latents - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / max(len(latents), 1))
    count = min(3, latents.shape[1])
    variances, vectors = variances[-count:].flip(0), vectors[:, -count:].flip(1)
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    scale = 2 * DEVIATIONS * variances.clamp(min=1e-12).sqrt()
    weight = torch.zeros(latents.shape[1], 3, device=latents.device)
    weight[:, :count] = vectors * signs / scale
    return weight, 0.5 - mean @ weight
