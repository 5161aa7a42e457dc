"""Metrics of pictures and of latents."""

from typing import Any, Dict, Optional, Tuple

import torch
from jaxtyping import Float
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor, nn

UNBOUNDED_RANGE = 6.0
"""Peak-to-peak range that stands for latents of unit variance in `latent_psnr`: plus and minus three deviations."""


class ImageMetrics(nn.Module):
    """PSNR, SSIM and LPIPS of pictures in [0, 1].

    The networks behind them are built when first used, and kept out of state dicts. LPIPS needs AlexNet's weights:
    where these are neither cached nor within reach it is left out, with one warning.
    """

    def __init__(self) -> None:
        super().__init__()
        self._networks: Dict[str, Any] = {}

    def forward(
        self, output: Float[Tensor, "height width 3"], photo: Float[Tensor, "height width 3"]
    ) -> Dict[str, float]:
        """`psnr`, `ssim`, and `lpips` if it can be had."""
        metrics = {"psnr": self.psnr(output, photo), "ssim": self.ssim(output, photo)}
        lpips = self.lpips(output, photo)
        return metrics if lpips is None else {**metrics, "lpips": lpips}

    def psnr(self, output: Float[Tensor, "height width 3"], photo: Float[Tensor, "height width 3"]) -> float:
        """-10 log10 of the mean squared error."""
        return float(-10 * (output - photo).square().mean().clamp(min=1e-10).log10())

    def ssim(self, output: Float[Tensor, "height width 3"], photo: Float[Tensor, "height width 3"]) -> float:
        """Structural similarity with torchmetrics' default window."""
        from torchmetrics.functional import structural_similarity_index_measure

        value = structural_similarity_index_measure(as_batch(output), as_batch(photo), data_range=1.0)
        return float(value)  # type: ignore[arg-type]

    def lpips(self, output: Float[Tensor, "height width 3"], photo: Float[Tensor, "height width 3"]) -> Optional[float]:
        """AlexNet LPIPS, or None where its weights are missing or the picture is too small for it."""
        if "lpips" not in self._networks:
            self._networks["lpips"] = _build_lpips()
        network = self._networks["lpips"]
        if network is None or min(output.shape[:2]) < 32:
            return None
        network = network.to(output.device)
        value = float(network(as_batch(output).clamp(0, 1), as_batch(photo).clamp(0, 1)))
        network.reset()
        return value


class LpipsLoss:
    """AlexNet LPIPS as a loss; 0 where its weights are missing, with one warning. It is no part of a checkpoint."""

    def __init__(self) -> None:
        self.network = _build_lpips()

    def __call__(
        self, output: Float[Tensor, "batch height width 3"], target: Float[Tensor, "batch height width 3"]
    ) -> Float[Tensor, ""]:
        """Mean over pictures in [0, 1], with gradient."""
        if self.network is None:
            return output.new_zeros(())
        network = self.network.to(output.device).net
        distance = network(output.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2), normalize=True)
        return distance.mean()


def as_batch(image: Float[Tensor, "height width 3"]) -> Float[Tensor, "1 3 height width"]:
    """One picture in the layout that torchmetrics takes."""
    return image.permute(2, 0, 1)[None]


def latent_psnr(
    latents: Float[Tensor, "height width channels"],
    target: Float[Tensor, "height width channels"],
    value_range: Tuple[float, float],
) -> float:
    """PSNR of normalised latents; the peak is the normaliser's range, or `UNBOUNDED_RANGE` deviations."""
    low, high = value_range
    peak = UNBOUNDED_RANGE if low == -float("inf") else high - low
    return float(10 * (peak**2 / (latents - target).square().mean().clamp(min=1e-10)).log10())


def _build_lpips() -> Optional[Any]:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).eval()
    except Exception as error:  # urllib's, torch.hub's and torchmetrics' errors differ
        CONSOLE.print(
            f"[yellow]lpips: expected AlexNet's weights in {torch.hub.get_dir()}/checkpoints or a network, got "
            f"{type(error).__name__}; it is left out, PSNR and SSIM are reported"
        )
        return None
