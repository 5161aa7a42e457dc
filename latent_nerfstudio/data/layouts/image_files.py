"""What is read of images before training: headers, at some 30 microseconds each."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional, Union

from PIL import ExifTags, Image
from tqdm import tqdm

from latent_nerfstudio.files.reading import open_file
from latent_nerfstudio.pictures import check_size, has_alpha, open_picture, worded

PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"
JPEG_SIGNATURE, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
TAIL = 64
"""Bytes at the end of a JPEG in which its end marker is looked for: some cameras pad the file."""


@dataclass(frozen=True)
class ImageHeader:
    """What an image's header says: its size in pixels, as they are stored, and whether it has transparency of any kind.
    Where the EXIF orientation is above 1, viewers turn or mirror the picture, which Nerfstudio and we do not."""

    width: int
    height: int
    has_alpha: bool = False
    orientation: int = 1


def read_image_headers(paths: Sequence[Path]) -> list[ImageHeader]:
    """The headers of images, with a bar where they take more than two seconds."""
    return [read_image_header(path) for path in tqdm(paths, "Reading headers", delay=2, leave=False, unit="image")]


def read_image_header(path: Union[Path, str], any_mode: bool = False) -> ImageHeader:
    """Reads the size of an image without decoding it, and refuses one that is truncated or larger than memory. A PNG or
    JPEG that does not end as its format says is decoded, so that a truncated file is told from one with harmless bytes
    after its end. Other formats are judged by their headers alone. `any_mode` as for `open_picture`."""
    with worded(path), open_file(path) as file:
        header = _png_header(file)
        file.seek(0)
        start = file.read(len(PNG_SIGNATURE))
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        is_whole = _is_complete(start, file.read(TAIL))
    if header is not None and is_whole:
        check_size((header.width, header.height), path)
        return header
    with open_picture(path, any_mode) as image:
        if not is_whole:
            image.load()
        return ImageHeader(*image.size, has_alpha(image), _orientation(image))


def _png_header(file: BinaryIO) -> Optional[ImageHeader]:
    """What the chunks before the pixels of a PNG say; None for other formats, and where there is an EXIF chunk."""
    head = file.read(33)
    if len(head) < 33 or not head.startswith(PNG_SIGNATURE) or head[12:16] != b"IHDR":
        return None
    width, height, _, color_type = struct.unpack(">IIBB", head[16:26])
    alpha = color_type in (4, 6)  # grey and RGB with alpha
    while (chunk := file.read(8))[4:] not in (b"IDAT", b""):
        if chunk[4:] == b"eXIf":
            return None
        alpha |= chunk[4:] == b"tRNS"  # of a palette, or a colour that is transparent
        file.seek(int.from_bytes(chunk[:4], "big") + 4, os.SEEK_CUR)
    return ImageHeader(width, height, alpha)


def _is_complete(start: bytes, tail: bytes) -> bool:
    """Whether a PNG or JPEG ends with its end marker; True for other formats."""
    if start.startswith(PNG_SIGNATURE):
        return tail.endswith(PNG_END)
    return not start.startswith(JPEG_SIGNATURE) or JPEG_END in tail


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where none can be read, and for TIFF, which Pillow turns by itself."""
    if image.format == "TIFF":
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF says nothing; Pillow raises many kinds
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
