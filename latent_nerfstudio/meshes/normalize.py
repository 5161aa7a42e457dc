"""Brings any mesh to one size, place and orientation."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.errors import problem

UpAxis = Literal["y", "z"]


def unit_box_map(
    triangles: Float[np.ndarray, "faces 3 3"], up_axis: UpAxis = "z"
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], float]:
    """The turn, the shift and the longest side that map triangles of any unit into [-0.5, 0.5]^3, centred and z up:
    (turn x + shift) / size."""
    if len(triangles) == 0:
        do = "export it with faces (point clouds have none)"
        raise ValueError(problem("mesh", "at least one face", "none", do))
    if not np.isfinite(triangles).all():
        raise ValueError(problem("mesh", "finite vertices", "inf or NaN", "repair the mesh"))
    # y up keeps x, and what looked along z then looks along -y
    turn = np.eye(3) if up_axis == "z" else np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    turned = (triangles @ turn.T).reshape(-1, 3)
    low, high = turned.min(0), turned.max(0)
    size = float((high - low).max())
    if size <= 0.0:
        raise ValueError(problem("mesh", "faces with an extent", "all of them in one point", "repair the mesh"))
    return turn, -0.5 * (low + high), size
