"""Sprite strips: the views of a turn beside each other in one small picture."""

from dataclasses import replace
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from latent_nerfstudio.api.cameras import Ring
from latent_nerfstudio.api.scenes import Pictures, Scenes, as_bytes, joined
from latent_nerfstudio.errors import problem

MAX_STRIP = 16383
"""Pixels along a side of a WebP at most."""

QUALITY = 82
"""Of the WebP."""

SOLID = 0.1
"""Opacity from which on a pixel belongs to the object."""

ROOM = 1.06
"""Side of a thumbnail over what it must hold."""

FARTHER = 1.5
"""How much more is looked at where an object is cut."""


def check_strip(views: int, size: int) -> None:
    """Refuses strips that cannot be.

    Raises:
        ValueError: a number out of its range.
    """
    most = MAX_STRIP // max(1, size)
    if size < 16 or not 1 <= views <= most:
        expected = f"1 to {max(1, most)} views of at least 16 pixels, {MAX_STRIP} pixels beside each other at most"
        raise ValueError(problem("gallery", expected, f"{views} views of {size}", "lower --views or --size"))


def strip(scenes: Scenes, name: str, views: int, size: int) -> UInt8[np.ndarray, "size strip_width 3"]:
    """The views of a turn about a scene, squares beside each other that the object fills and does not leave."""
    pictures = turn(scenes, name, scenes.ring(name), views)
    for _ in range(2):
        if not is_cut(pictures):
            break
        pictures = turn(scenes, name, wider(scenes.ring(name), FARTHER), views)
    top, left, side = square_around(pictures)
    page = F.pad(pictures.rgb.permute(0, 3, 1, 2), (side,) * 4, mode="replicate")
    cut = page[:, :, top + side : top + 2 * side, left + side : left + 2 * side]
    shown = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
    return np.concatenate(list(as_bytes(shown.permute(0, 2, 3, 1))), axis=1)


def turn(scenes: Scenes, name: str, ring: Ring, views: int) -> Pictures:
    """The pictures of a turn."""
    return joined(list(scenes.stream([name] * views, ring.cameras(views))))


def wider(ring: Ring, factor: float) -> Ring:
    """A ring whose pictures show more around the object, at the same scale."""
    return replace(ring, height=round(ring.height * factor), width=round(ring.width * factor))


def object_of(pictures: Pictures) -> Bool[Tensor, "height width"]:
    """Pixels that show the object in any picture of a turn."""
    return (pictures.accumulation[..., 0] > SOLID).any(dim=0)


def is_surrounded(seen: Bool[Tensor, "height width"]) -> bool:
    """Whether what is seen fills the pictures, with its surroundings: it is no object then."""
    border = torch.cat([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    return float(border.float().mean()) >= 0.5


def is_cut(pictures: Pictures) -> bool:
    """Whether an object leaves the pictures."""
    seen = object_of(pictures)
    border = bool(seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any())
    return border and not is_surrounded(seen)


def square_around(pictures: Pictures) -> Tuple[int, int, int]:
    """Top, left and side, pixels, of the square around the object; of the middle where there is none."""
    seen = object_of(pictures)
    height, width = seen.shape
    rows, columns = (torch.nonzero(seen.any(dim=axis)).flatten() for axis in (1, 0))
    if not len(rows) or is_surrounded(seen):
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side
    spans = [(int(places[0]), int(places[-1]) + 1) for places in (rows, columns)]
    side = round(max(high - low for low, high in spans) * ROOM) + 2
    top, left = ((low + high - side) // 2 for low, high in spans)
    return top, left, side


def write_strips(scenes: Scenes, names: List[str], folder: Path, views: int, size: int) -> List[str]:
    """Writes a strip of each scene; their names have nothing of the scenes' own, which may be anything.

    Returns:
        The files' names, in the order of the scenes.
    """
    from latent_nerfstudio.api.progress import progress

    folder.mkdir(parents=True)
    files = [f"{index:05d}.webp" for index in range(len(names))]
    for name, file in zip(progress(names, "Drawing scenes", len(names)), files, strict=True):
        Image.fromarray(strip(scenes, name, views, size)).save(folder / file, quality=QUALITY, method=4)
    return files
