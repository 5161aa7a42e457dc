"""Cuts objects out of a background of one colour."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import ImageColor

from latent_nerfstudio.errors import problem


def border_colour(pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "3"]:
    """The median colour of the borders of pictures, 0 to 255."""
    borders = [np.concatenate([p[0], p[-1], p[:, 0], p[:, -1]]) for p in pictures]
    return np.median(np.concatenate(borders), axis=0)


def colour_of(name: str) -> Float[np.ndarray, "3"]:
    """A colour, 0 to 255, from its name or from #rrggbb."""
    try:
        return np.array(ImageColor.getrgb(name)[:3], dtype=np.float64)
    except ValueError as error:
        do = "name the colour, or take auto"
        raise ValueError(problem("background", "auto, a colour's name or #rrggbb", repr(name), do)) from error


def object_mask(
    picture: UInt8[np.ndarray, "height width 3"], colour: Float[np.ndarray, "3"], tolerance: float
) -> Bool[np.ndarray, "height width"]:
    """Where a picture shows the object: what is not connected to the border through colours whose channels are off the
    background's by `tolerance` at most, 0 to 255; what is of its colour within the object stays."""
    import cv2

    like = (np.abs(picture.astype(np.float32) - colour.astype(np.float32)) <= tolerance).all(axis=2)
    _, labels = cv2.connectedComponents(like.astype(np.uint8), connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return ~np.isin(labels, np.setdiff1d(edge, [0]))
