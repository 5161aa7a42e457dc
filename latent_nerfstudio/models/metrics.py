"""Metrics of pictures and of latents."""

import os
from typing import Any, Dict, Optional, Tuple

import torch
from jaxtyping import Bool, Float
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor, nn

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup

LPIPS_VARIABLE = "LNS_LPIPS"
"""Environment variable that names the network of LPIPS; its weights are looked for in `TORCH_HOME/hub/checkpoints`."""

LPIPS_WEIGHTS = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
"""Networks of LPIPS, and the files of torchvision that hold their weights."""

PICTURE_METRICS = ("psnr", "ssim", "lpips", "lpips_squeeze", "lpips_vgg", "autoencoder_psnr")
"""What is measured of a picture, and the best that its autoencoder could do; LPIPS by each of its networks."""

Photo = Float[Tensor, "height width 3"]
Kept = Bool[Tensor, "height width 1"]


class ImageMetrics(nn.Module):
    """PSNR, SSIM and LPIPS of pictures in [0, 1], on the pixels that a mask keeps. Masked pixels are taken from the
    photo, so that windows of SSIM and LPIPS see no difference there, and do not enter the means of PSNR and SSIM. LPIPS
    is a mean over the whole picture, so masks make it smaller.

    The network of LPIPS is built when first used, and kept out of state dicts. If its weights (AlexNet's, or those that
    `LNS_LPIPS` names) cannot be had, LPIPS is left out, with one warning."""

    def __init__(self) -> None:
        super().__init__()
        lpips_network()  # refuses another name before anything is trained
        self._networks: Dict[str, Any] = {}

    def forward(self, output: Photo, photo: Photo, kept: Optional[Kept] = None) -> Dict[str, float]:
        """`psnr`, `ssim`, and `lpips` (or `lpips_squeeze`, `lpips_vgg`) if it can be had; `kept` pixels count."""
        metrics = {"psnr": self.psnr(output, photo, kept), "ssim": self.ssim(output, photo, kept)}
        lpips = self.lpips(output if kept is None else torch.where(kept, output, photo), photo)
        return metrics if lpips is None else {**metrics, lpips_name(): lpips}

    def psnr(self, output: Photo, photo: Photo, kept: Optional[Kept] = None) -> float:
        return float(-10 * mean_of_kept((output - photo).square(), kept).clamp(min=1e-10).log10())

    def ssim(self, output: Photo, photo: Photo, kept: Optional[Kept] = None) -> float:
        """Structural similarity with torchmetrics' default window."""
        from torchmetrics.functional import structural_similarity_index_measure

        pair = as_batch(output if kept is None else torch.where(kept, output, photo)), as_batch(photo)
        _, each = structural_similarity_index_measure(*pair, data_range=1.0, return_full_image=True)
        return float(mean_of_kept(each[0].permute(1, 2, 0), kept))

    def lpips(self, output: Photo, photo: Photo) -> Optional[float]:
        """LPIPS, or None where its network's weights are missing or the picture is too small for it."""
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
    """LPIPS as a loss; 0 where its network's weights are missing, with one warning. It is no part of a checkpoint."""

    def __init__(self) -> None:
        self.network = _build_lpips()

    def __call__(
        self, output: Float[Tensor, "batch height width 3"], target: Float[Tensor, "batch height width 3"]
    ) -> Float[Tensor, ""]:
        """Mean over pictures in [0, 1], with gradient."""
        if self.network is None:
            return output.new_zeros(())
        pictures = (picture.permute(0, 3, 1, 2) for picture in (output, target))
        return self.network.to(output.device).net(*pictures, normalize=True).mean()


def mean_of_kept(values: Float[Tensor, "height width channels"], kept: Optional[Kept]) -> Float[Tensor, ""]:
    """The mean over the pixels that are kept; over all where there is no mask, or one that keeps nothing."""
    return (values if kept is None or not kept.any() else values[kept[..., 0]]).mean()


def as_batch(image: Photo) -> Float[Tensor, "1 3 height width"]:
    return image.permute(2, 0, 1)[None]


def latent_psnr(
    latents: Float[Tensor, "height width channels"],
    target: Float[Tensor, "height width channels"],
    value_range: Tuple[float, float],
    kept: Optional[Kept] = None,
) -> float:
    """PSNR of normalised latents; the peak is the normaliser's range, or plus and minus three deviations."""
    low, high = value_range
    peak = 6.0 if low == -float("inf") else high - low
    return float(10 * (peak**2 / mean_of_kept((latents - target).square(), kept).clamp(min=1e-10)).log10())


def lpips_network() -> str:
    """The network that LPIPS is measured with: `alex` (the default), `vgg` or `squeeze`."""
    network = os.environ.get(LPIPS_VARIABLE) or "alex"
    if network not in LPIPS_WEIGHTS:
        do = f"set the environment variable {LPIPS_VARIABLE} to one of these, or not at all"
        raise ValueError(problem(LPIPS_VARIABLE, " or ".join(LPIPS_WEIGHTS), network, do))
    return network


def lpips_name() -> str:
    """What the metric is called in results: `lpips` of AlexNet, which is what papers report, `lpips_squeeze`, ..."""
    network = lpips_network()
    return "lpips" if network == "alex" else f"lpips_{network}"


def _build_lpips() -> Optional[Any]:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    network: Any = lpips_network()
    try:
        return LearnedPerceptualImagePatchSimilarity(net_type=network, normalize=True).eval()
    except Exception as error:  # urllib's, torch.hub's and torchmetrics' errors differ
        file = f"{torch.hub.get_dir()}/checkpoints/{LPIPS_WEIGHTS[network]}"
        do = "put the file there (torchvision's weights), or set TORCH_HOME; PSNR and SSIM are reported without"
        text = problem(lpips_name(), f"weights in {file}, or a network", type(error).__name__, do)
        CONSOLE.print(for_markup(text), style="yellow", soft_wrap=True)
        return None
