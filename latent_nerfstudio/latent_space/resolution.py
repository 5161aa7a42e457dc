"""Sizes: latent pixel (i, j) of an autoencoder with factor f covers the image pixels [f i, f i + f) x [f j, f j + f).

Images whose sides are no multiples of f are padded at the bottom and on the right, so this holds for every size, and
decoded images are cropped back."""

from copy import deepcopy
from typing import Any, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor


def latent_size(height: int, width: int, factor: int) -> Tuple[int, int]:
    """Height and width of the latent of an image: both divided by the factor, rounded up."""
    return -(-height // factor), -(-width // factor)


def pad_to_multiple(images: Float[Tensor, "n channels height width"], factor: int) -> Float[Tensor, "n channels _ _"]:
    """Repeats the last row and column until both sides are multiples of the factor."""
    height, width = images.shape[-2:]
    bottom, right = -height % factor, -width % factor
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def resized_cameras(cameras: Cameras, height: int, width: int) -> Cameras:
    """A copy of cameras with other numbers of pixels. Rows and columns are scaled separately, so that both pictures
    show exactly the same, however their sizes were rounded."""
    size = torch.full_like(cameras.height, height), torch.full_like(cameras.width, width)
    return scaled_cameras(cameras, height / cameras.height, width / cameras.width, size)


def latent_cameras(cameras: Cameras, factor: int) -> Cameras:
    """A copy of cameras whose pixels are latent pixels: intrinsics divided as floats, sizes rounded up. A latent
    pixel's ray is the mean of the rays of the image pixels that it covers."""
    size = -(-cameras.height // factor), -(-cameras.width // factor)
    return scaled_cameras(cameras, 1 / factor, 1 / factor, size)


def scaled_cameras(cameras: Cameras, down: Any, across: Any, size: Tuple[Tensor, Tensor]) -> Cameras:
    scaled = deepcopy(cameras)
    scaled.fy, scaled.cy = cameras.fy * down, cameras.cy * down
    scaled.fx, scaled.cx = cameras.fx * across, cameras.cx * across
    scaled.height, scaled.width = size
    return scaled


def resized(
    pictures: Float[Tensor, "*batch _ _ channels"], height: int, width: int
) -> Float[Tensor, "*batch height width channels"]:
    """Pictures with other numbers of pixels, bilinear, so that ranges are kept; smaller ones are antialiased."""
    if pictures.shape[-3:-1] == (height, width):
        return pictures
    batch = pictures.reshape(-1, *pictures.shape[-3:]).permute(0, 3, 1, 2)
    batch = F.interpolate(batch, size=(height, width), mode="bilinear", antialias=height < batch.shape[2])
    return batch.permute(0, 2, 3, 1).reshape(*pictures.shape[:-3], height, width, -1).contiguous()


def repeat_pixels(
    images: Float[Tensor, "*batch h w channels"], factor: int, height: int, width: int
) -> Float[Tensor, "*batch height width channels"]:
    """Repeats each latent pixel f x f times and crops: what is shown beside a decoded image."""
    rows = images.repeat_interleave(factor, dim=-3)[..., :height, :, :]
    return rows.repeat_interleave(factor, dim=-2)[..., :width, :].contiguous()


def around_sphere(latents: Float[Tensor, "h w channels"], margin: int) -> Float[Tensor, "wide_h wide_w channels"]:
    """A panorama (latitude from top to bottom, an even number of columns) with a margin of what lies beyond its
    borders: its other side and, beyond a pole, the opposite half. The margin is at most as wide as the picture."""
    beyond = latents.flip(0).roll(latents.shape[1] // 2, dims=1)
    rows = torch.cat([beyond[len(beyond) - margin :], latents, beyond[:margin]])
    return torch.cat([rows[:, rows.shape[1] - margin :], rows, rows[:, :margin]], dim=1)


def mask_of_latent(mask: Shaped[Tensor, "*n height width"], factor: int) -> Bool[Tensor, "*n h w"]:
    """True where all image pixels under a latent pixel are, of one mask or several; padding counts as true."""
    return F.max_pool2d((mask == 0).float()[None], factor, ceil_mode=True)[0] == 0
