"""Pictures to raw latents and back, in the convention of the autoencoder itself: nothing of a NeRF's normaliser is in
them, and diffusers' own `vae.decode` takes them as they are."""

from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.errors import check_whole, problem
from latent_nerfstudio.files.hub import FILES
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.latent_space.autoencoder import Autoencoder, AutoencoderConfig, check_not_retired, save_vae
from latent_nerfstudio.latent_space.latent_space import as_float, over_background
from latent_nerfstudio.latent_space.resolution import latent_size
from latent_nerfstudio.pictures import plain, read_picture

ROUNDING = 1e-3
"""How far beyond [0, 1] numbers of pictures may be."""

AT_ONCE = 16
"""Pictures that an autoencoder is given together where they are not enlarged."""

Picture = Union[Tensor, np.ndarray, Image.Image, str, Path]

Images = Union[Picture, Sequence[Picture]]


class Codec:
    """An autoencoder, for pictures [n, H, W, 3] in [0, 1] and raw latents [n, C, h, w].

    A diffusers pipeline works on `(latents - shift_factor) * scaling_factor` between its encoder and its decoder."""

    def __init__(self, autoencoder: Autoencoder):
        self.autoencoder = autoencoder.eval()

    @property
    def num_channels(self) -> int:
        """C."""
        return self.autoencoder.num_channels

    @property
    def downscale_factor(self) -> int:
        """f: h = ceil(H / f)."""
        return self.autoencoder.downscale_factor

    @property
    def scaling_factor(self) -> float:
        """What diffusers' pipelines multiply raw latents by; 1 where the autoencoder names none."""
        return self._setting("scaling_factor", 1.0)

    @property
    def shift_factor(self) -> float:
        """What they subtract before that; 0 where the autoencoder names none."""
        return self._setting("shift_factor", 0.0)

    def _setting(self, name: str, default: float) -> float:
        config = getattr(getattr(self.autoencoder, "vae", None), "config", None)
        return float(getattr(config, name, None) or default)

    @property
    def device(self) -> torch.device:
        """Where it is; pictures and latents may be anywhere."""
        return self.autoencoder.device

    @torch.no_grad()
    def encode(self, pictures: Images) -> Float[Tensor, "n channels latent_height latent_width"]:
        """Raw latents of pictures, on the host.

        Args:
            pictures: [n, H, W, 3] or one [H, W, 3]: uint8, or floats in [0, 1]; or paths of picture files, or pictures
                of Pillow. Transparency, of arrays a fourth channel, is put on white.

        Raises:
            FileNotFoundError: no such file.
            ValueError: another shape, numbers that are neither, or a file that is no picture.
        """
        batch = as_batch(pictures)
        parts = batch.split(self.autoencoder.at_once(AT_ONCE, *batch.shape[1:3]))
        bar = progress(parts, "Encoding", len(parts))
        latents = [self.autoencoder.encode(part.to(self.device)).float().cpu() for part in bar]
        return torch.cat(latents).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def decode(
        self, latents: Union[Tensor, np.ndarray], height: Optional[int] = None, width: Optional[int] = None
    ) -> Float[Tensor, "n height width 3"]:
        """Pictures in [0, 1] of raw latents, on the host.

        Args:
            latents: [n, C, h, w] or one [C, h, w].
            height: of the pictures that were encoded, pixels; by default f h.
            width: likewise; by default f w.

        Raises:
            ValueError: latents of another shape, or of other channels than the autoencoder's.
        """
        expected = f"[n, {self.num_channels}, h, w]"
        batch = as_tensor(latents, "latents", expected).float()
        batch = batch[None] if batch.ndim == 3 else batch
        if batch.ndim != 4 or batch.shape[1] != self.num_channels or not batch.numel():
            do = "take the autoencoder that they come from"
            raise ValueError(problem("latents", expected, list(batch.shape), do))
        rows, columns = (side * self.downscale_factor for side in batch.shape[2:])
        height, width = rows if height is None else height, columns if width is None else width
        check_whole("height", height, 1)
        check_whole("width", width, 1)
        if latent_size(height, width, self.downscale_factor) != tuple(batch.shape[2:]):
            low = self.downscale_factor - 1
            expected = f"pictures of {rows - low} to {rows} x {columns - low} to {columns} pixels"
            raise ValueError(problem("latents", expected, f"{height} x {width}", "give the size that was encoded"))
        parts = batch.permute(0, 2, 3, 1).split(self.autoencoder.at_once(AT_ONCE, height, width))
        bar = progress(parts, "Decoding", len(parts))
        pictures = [self.autoencoder.decode(part.to(self.device)).float().cpu() for part in bar]
        return torch.cat(pictures)[:, :height, :width].clamp(0, 1)

    def save(self, folder: Union[str, Path]) -> Path:
        """Writes the autoencoder in diffusers format, whole or not at all: `AutoencoderKL.from_pretrained` reads it.

        Raises:
            ValueError: the identity, which is no autoencoder of diffusers, and one that no longer ships.
            FileExistsError: the folder holds something else than an autoencoder.
        """
        if self.autoencoder.is_identity:
            raise ValueError(problem("autoencoder", "one of diffusers", "the identity", "there is nothing to save"))
        check_not_retired(self.autoencoder.retired)
        place = Path(folder).expanduser()
        with replacing_folder(place, FILES["autoencoder"]) as writing:
            save_vae(self.autoencoder.vae, writing)
        return place

    def __repr__(self) -> str:
        kind = "identity" if self.autoencoder.is_identity else type(self.autoencoder.vae).__name__
        return f"Codec({kind}, downscale_factor={self.downscale_factor}, num_channels={self.num_channels})"


def load_autoencoder(source: str, subfolder: Optional[str] = None, device: Optional[str] = None) -> Codec:
    """Any autoencoder: `bundled`, `bundled-standard`, `identity`, a folder in diffusers format, a run of
    ig-ae, or a Hub id.

    Args:
        source: which one.
        subfolder: of the folder or repository, `vae` for instance.
        device: where to run it; by default the GPU, if there is one.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no autoencoder that is known.
        ConnectionError: a Hub id that is neither cached nor within reach.
    """
    config = AutoencoderConfig(source=str(source), subfolder=subfolder)
    return Codec(config.setup().to(device_of(device)))


def device_of(name: Optional[str]) -> torch.device:
    """A device of this machine by its name; without one the GPU, if there is one."""
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=chosen).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch asserts that CUDA was compiled in
        do = "leave it out for the GPU, if there is one"
        raise ValueError(problem("device", "cpu, or cuda where there is a GPU", repr(chosen), do)) from error


def as_batch(pictures: Images) -> Float[Tensor, "n height width 3"]:
    """Pictures as floats in [0, 1], one after the other, on white where they are transparent."""
    is_many = isinstance(pictures, (list, tuple))
    each = pictures if is_many else [pictures]
    numbers = [opaque(as_numbers(picture)) for picture in each]  # type: ignore[union-attr]
    shapes = {tuple(value.shape) for value in numbers}
    if len(shapes) != 1:
        raise ValueError(problem("pictures", "pictures of one size", f"{len(shapes)} sizes", "encode each by itself"))
    given = torch.stack(numbers) if is_many else numbers[0]
    batch = as_colors(given, "pictures")
    batch = batch[None] if batch.ndim == 3 else batch
    if batch.ndim != 4 or batch.shape[-1] != 3 or not batch.numel():
        raise ValueError(problem("pictures", "[n, height, width, 3]", list(given.shape), "put channels last"))
    return batch


def as_colors(numbers: Tensor, where: str) -> Float[Tensor, "..."]:
    """Numbers of pictures as floats in [0, 1]; what is neither uint8 nor in that range is refused."""
    values = as_float(numbers)
    if not bool(((values > -ROUNDING) & (values < 1 + ROUNDING)).all()):
        kind = f"{list(numbers.shape)} in {str(numbers.dtype).removeprefix('torch.')}"
        got = f"{kind} from {float(values.min()):g} to {float(values.max()):g}"
        raise ValueError(problem(where, "finite numbers: uint8, or in [0, 1]", got, "leave it out, or scale it"))
    return values


def opaque(pictures: Tensor, background: Sequence[float] = (1.0, 1.0, 1.0)) -> Tensor:
    """A picture, or several, without alpha, which is the fourth channel: the background's colour is behind it."""
    has_alpha = pictures.ndim > 2 and pictures.shape[-1] == 4
    return over_background(pictures, torch.tensor(background)) if has_alpha else pictures


def as_numbers(picture: Any) -> Tensor:
    """A picture, or several, as a tensor, with alpha where it has it."""
    if isinstance(picture, (str, Path)):
        picture = read_picture(Path(picture).expanduser())
    elif isinstance(picture, Image.Image):
        picture = np.array(plain(picture))
    return as_tensor(picture, "pictures", "arrays, tensors, paths or pictures of Pillow")


def as_tensor(values: Any, what: str, expected: str) -> Tensor:
    """Numbers in any form as a tensor; what holds others is refused."""
    try:
        return torch.as_tensor(np.asarray(values) if isinstance(values, (list, tuple)) else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(problem(what, expected, f"a {type(values).__name__}", "give these")) from error
