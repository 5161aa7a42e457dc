"""Brings any mesh to one size, place and orientation."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.errors import problem

UpAxis = Literal["y", "z"]


def unit_box_map(
    triangles: Float[np.ndarray, "faces 3 3"], up_axis: UpAxis = "z"
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], float]:
    """What centres triangles on the origin and brings their longest side to 1, z up: (turn x + shift) / size.

    Args:
        triangles: corners of the triangles, any unit.
        up_axis: which axis of the input points up.

    Returns:
        The turn, the shift after it, and the longest side; corners come to lie in [-0.5, 0.5]^3.

    Raises:
        ValueError: there are no triangles, or all of them lie in one point, or a corner is not finite.
    """
    if len(triangles) == 0:
        do = "export it with faces (point clouds have none)"
        raise ValueError(problem("mesh", "at least one face", "none", do))
    if not np.isfinite(triangles).all():
        raise ValueError(problem("mesh", "finite vertices", "inf or NaN", "repair the mesh"))
    turn = up_rotation(up_axis)
    turned = (triangles @ turn.T).reshape(-1, 3)
    low, high = turned.min(0), turned.max(0)
    size = float((high - low).max())
    if size <= 0.0:
        raise ValueError(problem("mesh", "faces with an extent", "all of them in one point", "repair the mesh"))
    return turn, -0.5 * (low + high), size


def up_rotation(up_axis: UpAxis) -> Float[np.ndarray, "3 3"]:
    """The rotation that turns an up axis to z; y up keeps x, and what looked along z then looks along -y."""
    if up_axis == "z":
        return np.eye(3)
    return np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
