"""Pictures of a dataparser, decoded whatever their mode, and named where they cannot be."""

import struct
import zlib

import numpy as np
from jaxtyping import UInt8
from nerfstudio.data.datasets.base_dataset import InputDataset
from PIL import Image

from latent_nerfstudio.data.real_images import SIXTEEN_BITS
from latent_nerfstudio.errors import problem

PLAIN = ("RGB", "RGBA", "L")
"""Modes that Nerfstudio reads as they are; it takes palettes for grey, CMYK for RGBA and 16 bits for their lower 8."""

BROKEN = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow's decoders raise where a file is damaged."""


class PictureDataset(InputDataset):
    """Nerfstudio's dataset with pictures of all modes."""

    def get_numpy_image(self, image_idx: int) -> UInt8[np.ndarray, "height width channels"]:
        """A picture as RGB or RGBA.

        Raises:
            ValueError: it cannot be decoded.
        """
        path = self._dataparser_outputs.image_filenames[image_idx]
        try:
            with Image.open(path) as image:
                picture = plain(image)
                if self.scale_factor != 1.0:
                    size = [int(side * self.scale_factor) for side in picture.size]
                    picture = picture.resize((size[0], size[1]), resample=Image.Resampling.BILINEAR)
                pixels = np.array(picture, dtype=np.uint8)
        except BROKEN as error:
            got, do = f"'{error}'", "export it again, or remove its frame from the camera file"
            raise ValueError(problem(path, "a readable picture", got, do)) from error
        return pixels if pixels.ndim == 3 else pixels[:, :, None].repeat(3, axis=2)


def plain(image: Image.Image) -> Image.Image:
    """A picture as RGB, RGBA or grey of 8 bits."""
    if image.mode in PLAIN:
        return image
    if image.mode in SIXTEEN_BITS:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGBA" if "A" in image.mode or "transparency" in image.info else "RGB")
