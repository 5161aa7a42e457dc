"""Real images: a folder of pictures of anything, whose reconstruction joint training keeps."""

from collections import OrderedDict
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from latent_nerfstudio.errors import problem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

SIXTEEN_BITS = ("I;16", "I;16B", "I")
"""Pillow's names of grey with 16 bits, which it converts to RGB by clipping."""

PROBED = 16
"""Pictures that are read before training begins: a folder of unreadable ones is found out early."""

KEPT_BYTES = 1 << 30
"""Decoded pictures kept in memory, at most; the last one in any case."""

SMALLEST_SHARE = 0.8
"""A third of the crops are taken from the picture shrunk to between this share and the whole of its size."""


class RealImages:
    """Random crops of the pictures in a folder; those of a step are a function of seed and step.

    Args:
        folder: searched with its subfolders for JPEG, PNG, WebP and BMP pictures.
        height: of the crops, pixels; smaller pictures are enlarged to fit.
        width: likewise.
        seed: seed of the crops.

    Raises:
        FileNotFoundError: no folder, or one without pictures.
        ValueError: a picture that cannot be read.
    """

    def __init__(self, folder: Path, height: int, width: int, seed: int = 0):
        self.paths = find_images(folder)
        self.size = (height, width)
        self.seed = seed
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._kept_bytes = 0
        for index in np.linspace(0, len(self.paths) - 1, min(PROBED, len(self.paths))).astype(int):
            self.read(int(index))

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, step: int, count: int, side: Optional[int] = None) -> Float[Tensor, "count height width 3"]:
        """Crops in [0, 1], half of them mirrored left to right; no side is longer than `side`, where it is given."""
        random = np.random.default_rng([self.seed, step])
        chosen = random.integers(len(self.paths), size=count)
        height, width = (extent if side is None else min(side, extent) for extent in self.size)
        crops = [random_crop(self.read(int(index)), (height, width), random) for index in chosen]
        return torch.from_numpy(np.stack(crops)).float() / 255

    def read(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """A picture, from memory if it was read not long ago."""
        if index not in self._kept:
            picture = read_image(self.paths[index])
            while self._kept and self._kept_bytes + picture.nbytes > KEPT_BYTES:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
            self._kept[index] = picture
            self._kept_bytes += picture.nbytes
        return self._kept[index]


def find_images(folder: Path) -> List[Path]:
    """Pictures in a folder and below, in the order of their names."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        got = "a folder without any" if folder.is_dir() else "no such folder"
        do = "name a folder of pictures with --pipeline.real-images, or leave the flag out"
        raise FileNotFoundError(problem(f"real images {folder}", f"{', '.join(IMAGE_SUFFIXES)} pictures", got, do))
    return paths


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """A picture as RGB; what is transparent becomes white, and 16 bits of grey become 8."""
    try:
        with Image.open(path) as image:
            if image.mode in SIXTEEN_BITS:
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
            if "A" not in image.mode and "transparency" not in image.info:
                return np.array(image.convert("RGB"))
            page = Image.new("RGBA", image.size, "white")
            return np.array(Image.alpha_composite(page, image.convert("RGBA")).convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        got = f"{type(error).__name__}: {error}"
        raise ValueError(problem(f"real images {path}", "a picture", got, "remove or replace the file")) from error


def random_crop(
    picture: UInt8[np.ndarray, "_ _ 3"], size: Tuple[int, int], random: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """A crop of the given height and width; the picture is enlarged where it is too small, now and then shrunk."""
    fit = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    scale = random.uniform(max(fit, SMALLEST_SHARE), 1.0) if fit < 1 and random.random() < 1 / 3 else max(fit, 1.0)
    if scale != 1.0:
        shape = [max(wanted, round(extent * scale)) for wanted, extent in zip(size, picture.shape, strict=False)]
        image = Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
        picture = np.asarray(image)
    top, left = (int(random.integers(picture.shape[axis] - size[axis] + 1)) for axis in (0, 1))
    crop = picture[top : top + size[0], left : left + size[1]]
    return crop[:, ::-1] if random.random() < 0.5 else crop
