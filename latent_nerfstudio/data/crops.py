"""Crops: parts of pictures with the cameras that would have taken them. An encoder makes of a crop what it makes of a
small picture, borders and all, so that its corner may lie anywhere."""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from latent_nerfstudio.latent_space.latent_space import as_float, to_device

BACKGROUND_TOLERANCE = 2.5 / 255
"""A pixel that is farther than this from the background's colour in a channel belongs to the object: more than two
levels of 255, with half a level for rounding."""


def differs(photo: Float[Tensor, "*any 3"], color: Float[Tensor, "3"]) -> Bool[Tensor, "*any"]:
    """Which pixels are not of the background's colour."""
    return ((photo - color).abs() > BACKGROUND_TOLERANCE).any(dim=-1)


def is_plain(photo: Float[Tensor, "*any 3"]) -> bool:
    """Whether a photo is of one colour all over."""
    pixels = photo.reshape(-1, 3)
    return not len(pixels) or not bool(differs(pixels, pixels[0]).any())


def sees_object(
    images: Float[Tensor, "n height width 3"], background: Float[Tensor, "3"], factor: int, share: float = 1e-6
) -> Bool[Tensor, "n h w"]:
    """Latent pixels, `factor` image pixels wide, of which a share, by default any, is not of the background's colour;
    from a half on, the ray through their middle should meet the object's box."""
    shown = differs(images, background.to(images))[:, None].float()
    return F.avg_pool2d(shown, factor, ceil_mode=True)[:, 0] >= share


def object_latents(
    raw: Shaped[Tensor, "n h w channels"],
    images: Float[Tensor, "n height width 3"],
    background: Float[Tensor, "3"],
    factor: int,
    kept: Optional[Bool[Tensor, "n h w"]] = None,
) -> Shaped[Tensor, "pixels channels"]:
    """What a normaliser is fitted to: raw latents that see an object and that masks keep, or all if there are none. A
    plain background would dominate the statistics, and objects would be far from unit variance."""
    shown = sees_object(images, background, factor)
    shown = shown if kept is None else shown & kept.to(shown.device)
    return raw[shown] if bool(shown.any()) else raw.flatten(0, -2)


class ObjectPixels:
    """Finds which pixels of pictures show an object, once for each picture, and keeps them as bits."""

    def __init__(self, color: Float[Tensor, "3"]):
        self.color = color
        self._bits: Dict[int, np.ndarray] = {}

    def of(self, index: int, image: Shaped[Tensor, "height width 3"]) -> Int[Tensor, "pixels"]:
        """Flat positions of the object's pixels in a picture, rising; of all pixels if there is no object."""
        if index not in self._bits:
            self._bits[index] = np.packbits(differs(as_float(image.cpu()), self.color).numpy())
        count = image.shape[0] * image.shape[1]
        solid = np.flatnonzero(np.unpackbits(self._bits[index], count=count))
        return torch.from_numpy(solid) if len(solid) else torch.arange(count)


def draw_crops(
    objects: Sequence[Int[Tensor, "_"]], size: Tuple[int, int], side: int, generator: torch.Generator
) -> Int[Tensor, "n 2"]:
    """Top left corners of crops in pictures, each around a random one of a picture's `objects` (see `ObjectPixels`)."""
    drawn = torch.stack([places[torch.randint(len(places), (), generator=generator)] for places in objects])
    centres = torch.stack([drawn // size[1], drawn % size[1]], dim=1)
    last = torch.tensor([max(0, extent - side) for extent in size])
    return (centres - side // 2).clamp(min=0).minimum(last)


def cropped(pictures: Sequence[Shaped[Tensor, "_ _ channels"]], corners: Int[Tensor, "n 2"], side: int) -> List[Tensor]:
    """The parts of pictures at the corners; a side that is longer than the picture is cut off."""
    places = zip(pictures, corners.tolist(), strict=True)
    return [picture[top : top + side, left : left + side] for picture, (top, left) in places]


def cropped_cameras(cameras: Cameras, corners: Int[Tensor, "n 2"], side: int) -> Cameras:
    """The cameras of the parts: the principal point moves, and nothing else."""
    result = cameras[torch.arange(len(cameras), device=cameras.device)]
    top, left = to_device(corners, cameras.device).unbind(dim=1)
    result.cx, result.cy = cameras.cx - left[:, None], cameras.cy - top[:, None]
    result.height, result.width = cameras.height.clamp(max=side), cameras.width.clamp(max=side)
    return result
