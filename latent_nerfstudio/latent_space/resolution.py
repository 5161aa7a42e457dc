"""Sizes: latent pixel (i, j) of an autoencoder with factor f covers the image pixels [f i, f i + f) x [f j, f j + f).

Images whose sides are no multiples of f are padded at the bottom and on the right, so this holds for every size, and
decoded images are cropped back.
"""

from copy import deepcopy
from typing import Literal, Tuple

import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor


def latent_size(height: int, width: int, factor: int) -> Tuple[int, int]:
    """Height and width of the latent of an image: both divided by the factor, rounded up."""
    return -(-height // factor), -(-width // factor)


def pad_to_multiple(
    images: Float[Tensor, "batch channels height width"], factor: int
) -> Float[Tensor, "batch channels padded_height padded_width"]:
    """Repeats the last row and column until both sides are multiples of the factor."""
    height, width = images.shape[-2:]
    bottom, right = -height % factor, -width % factor
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def rescaled_cameras(cameras: Cameras, scale: float, rounding: Literal["ceil", "round"]) -> Cameras:
    """The same views with other numbers of pixels: intrinsics scaled as floats. The argument is left as it is."""
    scaled = deepcopy(cameras)
    scaled.rescale_output_resolution(scale, scale_rounding_mode=rounding)
    return scaled


def latent_cameras(cameras: Cameras, factor: int) -> Cameras:
    """The cameras whose pixels are the latent pixels: intrinsics divided as floats, sizes rounded up.

    A latent pixel's ray is the mean of the rays of the image pixels it covers. The argument is left as it is.
    """
    return rescaled_cameras(cameras, 1 / factor, "ceil")


def enlarge(
    image: Float[Tensor, "latent_height latent_width channels"], factor: int, height: int, width: int
) -> Float[Tensor, "height width channels"]:
    """Repeats each latent pixel f x f times and crops: what is shown beside a decoded image."""
    rows = image.repeat_interleave(factor, dim=0)[:height]
    return rows.repeat_interleave(factor, dim=1)[:, :width].contiguous()
