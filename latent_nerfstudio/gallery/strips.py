"""Sprite strips: the views of a turn beside each other in one small picture."""

import io
from dataclasses import replace
from pathlib import Path
from typing import List

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from latent_nerfstudio.api.framing import framed
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.api.scenes import Scenes, joined
from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.latent_space import as_bytes
from latent_nerfstudio.latent_space.resolution import resized

MAX_STRIP, QUALITY = 16383, 82
"""Pixels along a side of a WebP at most, and its quality."""

SHOWN, ACROSS = 12, 4
"""Scenes of a sheet at most, and beside each other."""


def check_strip(views: int, size: int) -> None:
    most = MAX_STRIP // max(1, size)
    if size < 16 or not 1 <= views <= most:
        expected = f"1 to {max(1, most)} views of at least 16 pixels, {MAX_STRIP} pixels beside each other at most"
        raise ValueError(problem("gallery", expected, f"{views} views of {size}", "lower --views or --size"))


def strip(scenes: Scenes, name: str, views: int, size: int) -> UInt8[np.ndarray, "size strip_width 3"]:
    """The views of a turn about a scene, squares beside each other that the object fills and does not leave."""
    ring = scenes.ring(name)
    side = min(ring.height, ring.width)
    cameras = framed(scenes, [name], replace(ring, height=side, width=side)).cameras(views)
    pictures = joined(list(scenes.stream([name] * views, cameras))).rgb
    return np.concatenate(list(as_bytes(resized(pictures, size, size))), axis=1)


def sheet(scenes: Scenes, size: int = 256) -> bytes:
    """One view of each of some scenes, in rows, as WebP."""
    thumbnails = [strip(scenes, name, 1, size) for name in scenes.names[:SHOWN]]
    across = min(ACROSS, len(thumbnails))
    thumbnails += [np.full_like(thumbnails[0], 255)] * (-len(thumbnails) % across)
    rows = [np.concatenate(thumbnails[i : i + across], axis=1) for i in range(0, len(thumbnails), across)]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(stream, "WEBP", quality=QUALITY)
    return stream.getvalue()


def write_strips(scenes: Scenes, names: List[str], folder: Path, views: int, size: int) -> List[str]:
    """Writes a strip of each scene and returns their names, which have nothing of the scenes' own names."""
    folder.mkdir(parents=True)
    files = [f"{index:05d}.webp" for index in range(len(names))]
    for name, file in zip(progress(names, "Drawing scenes", len(names)), files, strict=True):
        Image.fromarray(strip(scenes, name, views, size)).save(folder / file, quality=QUALITY, method=4)
    return files
