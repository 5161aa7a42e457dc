"""A latent space: an autoencoder with its normaliser and its background, all between pixels and what a NeRF learns.
Axes: `height width` of the image, `h w` both divided by the downscale factor and rounded up, `channels` of the latent.

Normalisers map raw latents to the range that a NeRF renders. `mean-std` gives each channel zero mean and unit variance
over the training latents, so that losses, learning rates and regularisers mean the same for every autoencoder. `tanh`
is the papers' tanh(0.02 z), which uses a small part of its range (-1, 1) (IG-AE, `ae/normalizer.py`; 3Da-AE settled on
the same)."""

from typing import Any, Dict, Literal, Optional, Tuple, Union

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from nerfstudio.utils import colors
from torch import Tensor, nn

from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.autoencoder import Autoencoder, AutoencoderConfig, Prior
from latent_nerfstudio.latent_space.resolution import latent_size

NormalizerKind = Literal["mean-std", "tanh", "none"]

PREVIEW_DEVIATIONS = 2.5
"""Standard deviations of the principal components that fill the range [0, 1] of the picture of a latent."""

TANH_SCALE = 0.02
TANH_EPS = 1e-4

BACKGROUND_SIDE = 16
"""Latent pixels along the side of the stored background. Borders of an encoded picture differ from its middle, so both
are stored, and a picture of another size repeats or leaves out rows and columns of the middle."""


class Normalizer(nn.Module):
    """Per-channel affine or tanh normaliser, whose numbers are stored with the run. It starts from the given mean and
    standard deviation of raw latents, of all channels or of each."""

    mean: Tensor
    std: Tensor

    def __init__(self, kind: NormalizerKind, num_channels: int, mean: Prior = 0.0, std: Prior = 1.0):
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(num_channels) + torch.as_tensor(mean))
        self.register_buffer("std", torch.zeros(num_channels) + torch.as_tensor(std))

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
        """Raw latents (any float type), or uint8 colours, to normalised ones in float32."""
        raw = as_float(raw)
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


class LatentSpace(nn.Module):
    """Pixels <-> normalised latents; the identity autoencoder has no normaliser. The colour behind the objects is a
    name, as in Nerfstudio's `alpha_color`, or three numbers in [0, 1]."""

    background: Tensor
    fitted: Tensor
    preview_weight: Tensor
    preview_bias: Tensor

    def __init__(self, autoencoder: AutoencoderConfig, normalizer: NormalizerKind, background_color: Any = "white"):
        super().__init__()
        self.autoencoder: Autoencoder = autoencoder.setup()
        kind: NormalizerKind = "none" if self.autoencoder.is_identity else normalizer
        channels = self.autoencoder.num_channels
        priors = (self.autoencoder.prior_mean, self.autoencoder.prior_std)  # JSON may have whole numbers
        self.normalizer = Normalizer(kind, channels, *(torch.tensor(p, dtype=torch.float64).tolist() for p in priors))
        self.background_color = background_color_of(background_color)
        self.trains_encoder = False
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.register_buffer("background", torch.zeros(BACKGROUND_SIDE, BACKGROUND_SIDE, channels))
        self.register_buffer("preview_weight", torch.eye(channels, 3))
        self.register_buffer("preview_bias", torch.zeros(3))
        self.register_state_dict_post_hook(_drop_encoder)
        self.register_load_state_dict_pre_hook(_keep_encoder)
        if self.autoencoder.is_identity:
            self.background.copy_(self.background_color)

    def train_encoder(self) -> None:
        self.trains_encoder = True
        for parameter in self.autoencoder.encoder_parameters():
            parameter.requires_grad_(True)

    @property
    def downscale_factor(self) -> int:
        return self.autoencoder.downscale_factor

    @property
    def num_channels(self) -> int:
        return self.autoencoder.num_channels

    @property
    def is_identity(self) -> bool:
        return self.autoencoder.is_identity

    @property
    def value_range(self) -> Tuple[float, float]:
        """Bounds of the normalised latents; infinite for `mean-std`."""
        limits = {"tanh": (-1.0, 1.0), "none": (0.0, 1.0)}
        return limits.get(self.normalizer.kind, (-float("inf"), float("inf")))

    @torch.no_grad()
    def fit(self, raw_latents: Float[Tensor, "n channels"]) -> None:
        """Fits normaliser, background and preview to a sample of the training images' raw latents."""
        if not self.is_identity:
            raw_latents = raw_latents.to(self.background.device)
            self.normalizer.fit(raw_latents)
            self.encode_background()
            weight, bias = fit_preview(self.normalizer(raw_latents))
            self.preview_weight.copy_(weight)
            self.preview_bias.copy_(bias)
        self.fitted.fill_(True)

    @torch.no_grad()
    def encode_background(self) -> None:
        """Encodes the background anew, with the encoder and the normaliser as they are."""
        side = BACKGROUND_SIDE * self.downscale_factor
        image = self.background_color.to(self.background.device).expand(1, side, side, 3)
        self.background.copy_(self.encode(image)[0])

    def encode(self, images: Float[Tensor, "n height width 3"]) -> Float[Tensor, "n h w channels"]:
        """Images in [0, 1] to normalised latents."""
        return self.normalizer(self.autoencoder.encode(images))

    def decode(
        self, latents: Float[Tensor, "n h w channels"], height: int, width: int, by: Optional[Autoencoder] = None
    ) -> Float[Tensor, "n height width 3"]:
        """Normalised latents to images around [0, 1], not clamped, cropped to the size of what was encoded. The decoder
        is this autoencoder's, or that of `by`."""
        expected = latent_size(height, width, self.downscale_factor)
        if tuple(latents.shape[1:3]) != expected:
            what, got = f"latents of {expected} for an image of {height} x {width}", tuple(latents.shape[1:3])
            raise ValueError(problem("decode", what, got, "pass the size of the image that was encoded"))
        images = (by or self.autoencoder).decode(self.normalizer.inverse(latents))
        return images if images.shape[1:3] == (height, width) else images[:, :height, :width]

    def background_at(self, places: Int[Tensor, "*n 2"], sizes: Int[Tensor, "*n 2"]) -> Float[Tensor, "*n channels"]:
        """The background's normalised latents at rows and columns of latent pictures of the given sizes: those stored
        at the same distance from the nearer border or, far from both, in the middle."""
        middle, from_end = BACKGROUND_SIDE // 2, sizes - 1 - places
        from_end_stored = BACKGROUND_SIDE - 1 - from_end.clamp(max=middle - 1)
        stored = torch.where(places <= from_end, places.clamp(max=middle), from_end_stored)
        return self.background[stored[..., 0], stored[..., 1]]

    def preview(self, latents: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch 3"]:
        """A fixed projection to three channels in [0, 1], for looking at."""
        return (latents @ self.preview_weight + self.preview_bias).clamp(0, 1)


def fit_preview(latents: Float[Tensor, "n channels"]) -> Tuple[Float[Tensor, "channels 3"], Float[Tensor, "3"]]:
    """Weight and bias that map the three principal components to [0, 1], their mean to 0.5: fixed, so that colours do
    not flicker between frames. A component's largest weight is positive, which makes the map reproducible."""
    mean = latents.mean(dim=0)
    centred = latents - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / max(len(latents), 1))
    count = min(3, latents.shape[1])
    variances, vectors = variances[-count:].flip(0), vectors[:, -count:].flip(1)
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    scale = 2 * PREVIEW_DEVIATIONS * variances.clamp(min=1e-12).sqrt()
    weight = torch.zeros(latents.shape[1], 3, device=latents.device)
    weight[:, :count] = vectors * signs / scale
    return weight, 0.5 - mean @ weight


def as_float(values: Shaped[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
    """uint8 colours to [0, 1], other types to float32."""
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()


def over_background(image: Tensor, color: Tensor) -> Tensor:
    """A picture [H, W, 3 or 4] (uint8 or float) without alpha: the colour behind it where it is transparent."""
    if image.shape[-1] == 3:
        return image
    value = as_float(image)
    alpha = value[..., 3:]
    rgb = value[..., :3] * alpha + color.to(value) * (1 - alpha)
    return (rgb * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else rgb


def as_bytes(colors: Float[Tensor, "*any 3"]) -> UInt8[np.ndarray, "*any 3"]:
    """Colours in [0, 1] as uint8 on the host, rounded."""
    return (colors.clamp(0, 1) * 255).round().byte().cpu().numpy()


def to_device(values: Shaped[Tensor, "*any"], device: Union[str, torch.device]) -> Shaped[Tensor, "*any"]:
    """Copies a tensor to a device, through pinned memory, so that the host need not wait for a GPU."""
    if torch.device(device).type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def background_color_of(color: Any) -> Float[Tensor, "3"]:
    """A colour by a name that Nerfstudio knows, or by three numbers in [0, 1], as a tensor."""
    try:
        value = colors.get_color(list(color) if isinstance(color, tuple) else color).float().cpu()
    except (AssertionError, KeyError, ValueError):
        value = torch.zeros(0)
    if value.shape != (3,) or not bool(((value >= 0) & (value <= 1)).all()):
        expected = f"one of {', '.join(sorted(colors.COLORS_DICT))}, or three numbers in [0, 1]"
        raise ValueError(problem("background color", expected, repr(color), "choose one of these"))
    return value


def _drop_encoder(module: Any, state_dict: Dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """The frozen encoder stays out of checkpoints: it comes from the autoencoder's source again."""
    if not module.trains_encoder:
        for name in _encoder_state(module, prefix):
            state_dict.pop(name, None)


def _keep_encoder(module: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Fills in the encoder that a checkpoint leaves out, and refuses latents of another channel count."""
    saved = state_dict.get(f"{prefix}background")
    channels = module.background.shape[-1]
    if saved is not None and saved.shape[-1] != channels:
        expected = f"latents of {channels} channels, as the autoencoder has"
        do = "resume with the autoencoder that the run was started with (--pipeline.model.autoencoder.source)"
        raise ValueError(problem("checkpoint", expected, saved.shape[-1], do))
    if not module.trains_encoder:
        for name, value in _encoder_state(module, prefix).items():
            state_dict.setdefault(name, value)


def _encoder_state(module: Any, prefix: str) -> Dict[str, Tensor]:
    """The frozen encoder's tensors, by the names that they would have in a checkpoint."""
    state, frozen = module.autoencoder.state_dict(), module.autoencoder.frozen_prefixes
    return {f"{prefix}autoencoder.{name}": value for name, value in state.items() if name.startswith(frozen)}
