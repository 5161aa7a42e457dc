"""Planes as whole numbers of eight bits, with one scale a plane and feature."""

from typing import Tuple

import numpy as np
import torch
from jaxtyping import Float, Float16, Int8
from torch import Tensor

LARGEST = 127
"""Largest whole number; -128 stays unused, so that zero is the middle."""


def quantise(
    planes: Float[Tensor, "planes features rows cols"],
) -> Tuple[Int8[Tensor, "planes features rows cols"], Float16[Tensor, "planes features"]]:
    """Planes as whole numbers from -127 to 127, and the scale of each plane and feature, rounded up to float16, so that
    each number is off by half a scale at most. Refuse values beyond 127 times float16's largest number before."""
    wanted = (planes.abs().amax(dim=(2, 3)) / LARGEST).numpy()
    nearest = wanted.astype(np.float16)
    scales = torch.from_numpy(np.where(nearest < wanted, np.nextafter(nearest, np.float16(np.inf)), nearest))
    divisor = torch.where(scales > 0, scales.float(), 1.0)[..., None, None]
    return (planes / divisor).round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


def dequantise(
    quanta: Int8[Tensor, "planes features rows cols"], scales: Float16[Tensor, "planes features"]
) -> Float[Tensor, "planes features rows cols"]:
    """Planes in float32 from what `quantise` gave."""
    return quanta.float() * scales.float()[..., None, None]
