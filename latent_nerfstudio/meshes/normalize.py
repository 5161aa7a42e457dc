"""Brings any mesh to one size, place and orientation."""

from typing import Literal

import numpy as np
from jaxtyping import Float

UpAxis = Literal["y", "z"]


def to_unit_box(triangles: Float[np.ndarray, "faces 3 3"], up_axis: UpAxis = "z") -> Float[np.ndarray, "faces 3 3"]:
    """Centres triangles on the origin and scales their longest side to 1, z up.

    Args:
        triangles: corners of the triangles, any unit.
        up_axis: which axis of the input points up.

    Returns:
        The corners, in [-0.5, 0.5]^3.

    Raises:
        ValueError: there are no triangles, or all of them lie in one point, or a corner is not finite.
    """
    if len(triangles) == 0:
        raise ValueError("mesh: expected at least one face, got none; export it with faces (point clouds have none)")
    if not np.isfinite(triangles).all():
        raise ValueError("mesh: expected finite vertices, got inf or NaN; repair the mesh")
    turned = triangles @ up_rotation(up_axis).T
    low, high = turned.reshape(-1, 3).min(0), turned.reshape(-1, 3).max(0)
    size = float((high - low).max())
    if size <= 0.0:
        raise ValueError("mesh: expected faces with an extent, got all of them in one point; repair the mesh")
    return np.clip((turned - 0.5 * (low + high)) / size, -0.5, 0.5)


def up_rotation(up_axis: UpAxis) -> Float[np.ndarray, "3 3"]:
    """The rotation that turns an up axis to z; y up keeps x, and what looked along z then looks along -y."""
    if up_axis == "z":
        return np.eye(3)
    return np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
