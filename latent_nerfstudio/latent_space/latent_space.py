"""A latent space: an autoencoder with its normaliser and its background.

Everything that is needed to go from pixels to what a NeRF learns, and back. Axes: `height width` of the image,
`latent_height latent_width` = both divided by the downscale factor and rounded up, `channels` of the latent.
"""

from typing import Any, Dict, Tuple, Union

import torch
from jaxtyping import Float, Int, Shaped
from nerfstudio.utils import colors
from torch import Tensor, nn

from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.autoencoder import Autoencoder, AutoencoderConfig
from latent_nerfstudio.latent_space.normalizer import Normalizer, NormalizerKind
from latent_nerfstudio.latent_space.preview import fit_preview
from latent_nerfstudio.latent_space.resolution import latent_size

BACKGROUND_SIDE = 16
"""Latent pixels along the side of the stored background. Borders of an encoded picture differ from its middle, so both
are stored, and a picture of another size repeats or leaves out rows and columns of the middle."""


class LatentSpace(nn.Module):
    """Pixels <-> normalised latents.

    Args:
        autoencoder: which autoencoder.
        normalizer: how raw latents become what a NeRF renders; the identity autoencoder has none.
        background_color: the colour behind the objects, as in Nerfstudio's `alpha_color`, or three numbers in [0, 1].
    """

    background: Tensor
    fitted: Tensor
    preview_weight: Tensor
    preview_bias: Tensor

    def __init__(self, autoencoder: AutoencoderConfig, normalizer: NormalizerKind, background_color: Any = "white"):
        super().__init__()
        self.autoencoder: Autoencoder = autoencoder.setup()
        kind: NormalizerKind = "none" if self.autoencoder.is_identity else normalizer
        channels = self.autoencoder.num_channels
        prior = (self.autoencoder.prior_mean, self.autoencoder.prior_std)
        self.normalizer = Normalizer(kind, channels, *prior)
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
        """From now on the encoder is trained, and belongs to checkpoints like everything else."""
        self.trains_encoder = True
        for parameter in self.autoencoder.encoder_parameters():
            parameter.requires_grad_(True)

    @property
    def downscale_factor(self) -> int:
        """f: image pixels along the side of a latent pixel."""
        return self.autoencoder.downscale_factor

    @property
    def num_channels(self) -> int:
        """C: channels of a latent."""
        return self.autoencoder.num_channels

    @property
    def is_identity(self) -> bool:
        """Whether latents are RGB pixels."""
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
            device = self.normalizer.mean.device
            self.normalizer.fit(raw_latents.to(device))
            self.encode_background()
            weight, bias = fit_preview(self.normalizer(raw_latents.to(device)))
            self.preview_weight.copy_(weight)
            self.preview_bias.copy_(bias)
        self.fitted.fill_(True)

    @torch.no_grad()
    def encode_background(self) -> None:
        """Encodes the background anew, with the encoder and the normaliser as they are."""
        side = BACKGROUND_SIDE * self.downscale_factor
        image = self.background_color.to(self.background.device).expand(1, side, side, 3)
        self.background.copy_(self.encode(image)[0])

    def encode(
        self, images: Float[Tensor, "batch height width 3"]
    ) -> Float[Tensor, "batch latent_height latent_width channels"]:
        """Images in [0, 1] to normalised latents."""
        return self.normalizer(self.autoencoder.encode(images))

    def decode(
        self, latents: Float[Tensor, "batch latent_height latent_width channels"], height: int, width: int
    ) -> Float[Tensor, "batch height width 3"]:
        """Normalised latents to images around [0, 1], not clamped, cropped to height x width.

        Raises:
            ValueError: an image size that does not belong to the latents' size.
        """
        expected = latent_size(height, width, self.downscale_factor)
        if tuple(latents.shape[1:3]) != expected:
            what, got = f"latents of {expected} for an image of {height} x {width}", tuple(latents.shape[1:3])
            raise ValueError(problem("decode", what, got, "pass the size of the image that was encoded"))
        return self.autoencoder.decode(self.normalizer.inverse(latents))[:, :height, :width]

    def background_at(
        self, rows: Int[Tensor, "*n"], columns: Int[Tensor, "*n"], heights: Int[Tensor, "*n"], widths: Int[Tensor, "*n"]
    ) -> Float[Tensor, "*n channels"]:
        """The normalised latent of the background at latent pixels of pictures of the given latent sizes."""
        return self.background[_background_index(rows, heights), _background_index(columns, widths)]

    def preview(self, latents: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch 3"]:
        """A fixed projection to three channels in [0, 1], for looking at."""
        return (latents @ self.preview_weight + self.preview_bias).clamp(0, 1)


def as_float(values: Shaped[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
    """uint8 colours to [0, 1], other types to float32."""
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()


def to_device(values: Shaped[Tensor, "*any"], device: Union[str, torch.device]) -> Shaped[Tensor, "*any"]:
    """A tensor of the host on a device: through pinned memory, so that the host need not wait for a GPU."""
    if torch.device(device).type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def background_color_of(color: Any) -> Float[Tensor, "3"]:
    """A colour's name or three numbers in [0, 1] as a tensor.

    Raises:
        ValueError: a name that Nerfstudio does not know, or numbers that are no colour.
    """
    try:
        value = colors.get_color(list(color) if isinstance(color, tuple) else color).float().cpu()
    except (AssertionError, KeyError, ValueError) as error:
        value = torch.full((0,), torch.nan)
        reason = error
    else:
        reason = None
    if value.shape != (3,) or not bool(((value >= 0) & (value <= 1)).all()):
        names = ", ".join(sorted(colors.COLORS_DICT))
        expected = f"one of {names}, or three numbers in [0, 1]"
        raise ValueError(problem("background color", expected, repr(color), "choose one of these")) from reason
    return value


def _background_index(position: Int[Tensor, "*n"], extent: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Row (or column) of the stored background for a position in a picture of `extent` rows: counted from the nearer
    border, and the middle row for all that are far from both."""
    middle = BACKGROUND_SIDE // 2
    from_end = extent - 1 - position
    return torch.where(
        position <= from_end, position.clamp(max=middle), BACKGROUND_SIDE - 1 - from_end.clamp(max=middle - 1)
    )


def _drop_encoder(module: Any, state_dict: Dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """The frozen encoder stays out of checkpoints: it comes from the autoencoder's source again."""
    if module.trains_encoder:
        return
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
