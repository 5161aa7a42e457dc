"""Pictures as files: the one place where they are opened, and what their pixels mean.

Values are those of the file: no turning by EXIF tags, no colour profiles. Only formats that Pillow decodes by itself
are opened (an EPS file of any name would start Ghostscript), and only regular files.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional, Union

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import UnusualFile, open_file

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Formats that are read, by Pillow's names, whatever the file's name ends in."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of pictures where a folder is searched."""

MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
"""Modes of 8 bits that are read. Of float and 32 bits nobody knows where white is."""

LARGEST = 178_956_970
"""Pixels of a picture at most, as Pillow has it: a few bytes may say to be of any size."""

BROKEN = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError, EOFError)
"""What Pillow's decoders raise where a file is damaged."""


class PictureError(ValueError):
    """A picture that cannot be read, worded."""


@contextmanager
def open_picture(path: Union[Path, str], any_mode: bool = False) -> Iterator[Image.Image]:
    """Opens a picture, to be decoded when the block asks for its pixels; `any_mode` takes others than `MODES`, too."""
    with worded(path), open_file(path) as file, Image.open(file, formats=FORMATS) as image:
        check_size(image.size, path)
        if not (any_mode or image.mode in MODES or is_sixteen_bits(image)):
            expected, do = "grey or colours of 8 or 16 bits", "save it as PNG of 8 bits"
            raise PictureError(problem(path, expected, f"Pillow's mode {image.mode}", do))
        yield image


@contextmanager
def worded(path: object) -> Iterator[None]:
    """Words what Pillow's decoders and the file system raise."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(problem(path, "a picture", "nothing there", "check the path")) from None
    except (PictureError, UnusualFile):
        raise
    except BROKEN as error:
        reason = "another kind of file" if isinstance(error, UnidentifiedImageError) else f"'{error}'"
        do = "export the image again, or leave it out"
        raise PictureError(problem(path, "a readable image", reason, do)) from error


def check_size(size: tuple[int, int], path: object) -> None:
    """Refuses pictures without pixels, and those that no memory holds."""
    width, height = size
    if not 0 < width * height <= LARGEST:
        expected, do = f"an image of 1 to {LARGEST:,} pixels", "export the image again, smaller"
        raise PictureError(problem(path, expected, f"{width} x {height}", do))


def is_sixteen_bits(image: Image.Image) -> bool:
    """Whether a picture is grey of 16 bits; of PNG and PGM, Pillow calls that 32 bits in some of its versions."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has transparency of any kind: a channel, a palette's, or a colour that stands for it."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def plain(image: Image.Image) -> Image.Image:
    """A picture, of `MODES` or the upper 8 of 16 bits of grey, as RGB, or as RGBA where it has transparency."""
    if is_sixteen_bits(image):
        values, clear = np.asarray(image), image.info.get("transparency")
        grey = Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
        if clear is not None:
            grey.putalpha(Image.fromarray(values != clear).convert("L"))
        return grey
    if image.mode in ("La", "PA"):  # Pillow knows no direct way
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return image.convert("RGBA" if has_alpha(image) else "RGB")


def read_picture(path: Union[Path, str], scale: float = 1.0) -> UInt8[np.ndarray, "height width channels"]:
    """Reads a picture as RGB, or as RGBA where it has transparency; scaled sides are rounded down."""
    with open_picture(path) as image:
        picture = plain(image)
        if scale != 1.0:
            picture = picture.resize(scaled(picture.size, scale), Image.Resampling.BILINEAR)
        return np.array(picture)


def read_over_white(path: Union[Path, str]) -> UInt8[np.ndarray, "height width 3"]:
    """Reads a picture as RGB; what is transparent becomes white."""
    with open_picture(path) as image:
        picture = plain(image)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.array(picture)


def read_silhouette(path: Union[Path, str]) -> Optional[Bool[np.ndarray, "height width"]]:
    """Reads where a picture is not fully transparent; None where it has no transparency."""
    with open_picture(path) as image:
        return np.asarray(plain(image).getchannel("A")) > 0 if has_alpha(image) else None


def read_mask(
    path: Union[Path, str], scale: float = 1.0, marks_ignored: bool = False
) -> Bool[np.ndarray, "height width"]:
    """Reads which pixels a mask keeps, by its colours, never by indices of a palette.

    A pixel is kept from half of the largest value on, so that masks of 0 and 1, of 0 and 255, and those that JPEG has
    blurred are all read as they are meant. The value is that of the brightest channel, times alpha; alpha alone where
    it varies over plain black. In instant-ngp's dynamic masks, which mark what is ignored, all that is not zero is left
    out."""
    with open_picture(path, any_mode=True) as image:
        if scale != 1.0:
            image = image.resize(scaled(image.size, scale), Image.Resampling.NEAREST)
        value = mask_value(image)
    return value <= 0 if marks_ignored else kept_pixels(value)


def kept_pixels(value: Shaped[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Which pixels a mask keeps: those from half of its largest value on."""
    return value >= max(float(value.max(initial=0)) / 2, np.finfo(np.float32).tiny)


def mask_value(image: Image.Image) -> np.ndarray:
    """One number a pixel, float32."""
    if image.mode not in MODES:
        return np.asarray(image, dtype=np.float32).reshape(image.height, image.width, -1).max(axis=2)
    channels = np.asarray(plain(image), dtype=np.float32)
    value, alpha = channels[..., :3].max(axis=2), channels[..., 3:].sum(axis=2)
    if channels.shape[2] == 3:
        return value
    return value * alpha if value.any() or alpha.min() == alpha.max() else alpha


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """A size with both sides multiplied and rounded down, as Nerfstudio does."""
    return int(size[0] * scale), int(size[1] * scale)
