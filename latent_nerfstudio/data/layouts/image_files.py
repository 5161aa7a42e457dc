"""What is read of images before training: headers, at some 20 microseconds each, and a few silhouettes."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import numpy as np
from jaxtyping import Bool
from PIL import Image

from latent_nerfstudio.errors import problem

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_TAIL = 64
"""Bytes at the end of a JPEG in which its end marker is looked for: some cameras pad the file."""

LARGEST_IMAGE = 178_956_970
"""Pixels of an image at most, as Pillow has it: a few bytes may say to be of any size."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class ImageHeader:
    """What an image's header says."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    has_alpha: bool
    """True where the image has an alpha channel."""


def read_image_header(path: Union[Path, str]) -> ImageHeader:
    """Reads the size of an image without decoding it, and looks whether the file is complete.

    A PNG or JPEG that does not end as its format says is decoded, so that a truncated file is told from one with
    harmless bytes after its end. Other formats are judged by their headers alone.

    Args:
        path: an image file.

    Returns:
        The header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no image, is truncated, or says to be without pixels or of more than memory holds.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(26)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - JPEG_TAIL))
            tail = file.read(JPEG_TAIL)
        header = _png_header(head) or _decoded_header(path, full=False)
        if not _is_complete(head, tail):
            header = _decoded_header(path, full=True)
    except FileNotFoundError:
        raise
    # Pillow's decoders report broken files as OSError, SyntaxError, ValueError or struct.error.
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        do = "export the image again, or remove its frame from the camera file"
        raise ValueError(problem(path, "a readable image", f"'{error}'", do)) from error
    if not 0 < header.width * header.height <= LARGEST_IMAGE:
        got, do = f"{header.width} x {header.height}", "export the image again, smaller"
        raise ValueError(problem(path, f"an image of 1 to {LARGEST_IMAGE:,} pixels", got, do))
    return header


def _png_header(head: bytes) -> Optional[ImageHeader]:
    """The size in the first 26 bytes of a PNG; None for other formats."""
    if len(head) < 26 or not head.startswith(PNG_SIGNATURE) or head[12:16] != b"IHDR":
        return None
    width, height, _, color_type = struct.unpack(">IIBB", head[16:26])
    # Colour types 4 and 6 are grey and RGB with alpha.
    return ImageHeader(width, height, has_alpha=color_type in (4, 6))


def _is_complete(head: bytes, tail: bytes) -> bool:
    """Whether a PNG or JPEG ends with its end marker; True for other formats."""
    if head.startswith(PNG_SIGNATURE):
        return tail.endswith(PNG_END)
    return not head.startswith(JPEG_SIGNATURE) or JPEG_END in tail


def _decoded_header(path: Union[Path, str], full: bool) -> ImageHeader:
    """The header by way of Pillow; `full` decodes the pixels too, which raises if some are missing."""
    with Image.open(path) as image:
        if full:
            image.load()
        return ImageHeader(*image.size, has_alpha="A" in image.getbands())


def read_silhouette(path: Union[Path, str]) -> Bool[np.ndarray, "height width"]:
    """Reads where an image is not fully transparent.

    Args:
        path: an image with an alpha channel.

    Returns:
        True where alpha is above zero.

    Raises:
        ValueError: the image cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.getchannel("A")) > 0
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(problem(path, "a readable image with alpha", f"'{error}'", "export it again")) from error
