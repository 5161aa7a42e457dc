"""Real images: a folder of pictures of anything, whose reconstruction joint training keeps."""

from collections import OrderedDict
from math import ceil
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.pictures import SUFFIXES, read_over_white

PROBED = 16
"""Pictures that are read before training begins: a folder of unreadable ones is found out early."""

KEPT_BYTES = 1 << 30
"""Decoded pictures kept in memory, at most; the last one in any case."""

SMALLEST_SHARE = 0.8
"""A third of the crops are taken from the picture shrunk to between this share and the whole of its size."""


class RealImages:
    """Random crops, `height` x `width` pixels, of the pictures in a folder and its subfolders; those of a step are a
    function of seed and step. Smaller pictures are enlarged to fit."""

    def __init__(self, folder: Path, height: int, width: int, seed: int = 0):
        self.paths, self.size, self.seed = find_images(folder), (height, width), seed
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
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        got = "a folder without any" if folder.is_dir() else "no such folder"
        do = "name a folder of pictures with --pipeline.real-images, or leave the flag out"
        raise FileNotFoundError(problem(f"real images {folder}", f"{', '.join(SUFFIXES)} pictures", got, do))
    return paths


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return read_over_white(path)
    except ValueError as error:
        raise ValueError(f"real images {error}") from error


def random_crop(
    picture: UInt8[np.ndarray, "_ _ 3"], size: Tuple[int, int], random: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """A crop of the given height and width; the picture is enlarged where it is too small, now and then shrunk."""
    fit = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    scale = random.uniform(max(fit, SMALLEST_SHARE), 1.0) if fit < 1 and random.random() < 1 / 3 else max(fit, 1.0)
    whole = [max(wanted, round(extent * scale)) for wanted, extent in zip(size, picture.shape, strict=False)]
    top, left = (int(random.integers(whole[axis] - size[axis] + 1)) for axis in (0, 1))
    crop = resized_part(picture, (whole[0], whole[1]), (top, left), size)
    return crop[:, ::-1] if random.random() < 0.5 else crop


def resized_part(
    picture: UInt8[np.ndarray, "_ _ 3"], whole: Tuple[int, int], corner: Tuple[int, int], size: Tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """The part at a corner (row, column) of a picture that is resized to `whole`, up to hundredths of a pixel."""
    if whole == picture.shape[:2]:
        return picture[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    (y, x), fy, fx = corner, picture.shape[0] / whole[0], picture.shape[1] / whole[1]
    reach = 2 * max(fy, fx, 1) + 1  # of bicubic weights; what is beyond is not copied
    top, left = max(0, int(y * fy - reach)), max(0, int(x * fx - reach))
    part = picture[top : ceil((y + size[0]) * fy + reach), left : ceil((x + size[1]) * fx + reach)]
    box = (x * fx - left, y * fy - top, (x + size[1]) * fx - left, (y + size[0]) * fy - top)
    return np.asarray(Image.fromarray(part).resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))
