"""Rounded shapes made of quads: super-ellipse outlines swept along an axis."""

import numpy as np
from jaxtyping import Float


def superellipse(per_side: int, exponent: float) -> Float[np.ndarray, "points 2"]:
    """Outline |a|^p + |b|^p = 1, counter-clockwise from (1, -1)'s corner: `per_side` points of each side of the square,
    right, top, left and bottom, projected inwards, so that flat sides and round corners both get points."""
    step = np.linspace(-1.0, 1.0, per_side, endpoint=False)
    one = np.ones(per_side)
    sides = [np.stack(pair, -1) for pair in ((one, step), (-step, one), (-one, -step), (step, -one))]
    return onto_superellipse(np.concatenate(sides), exponent)


def onto_superellipse(points: Float[np.ndarray, "points 2"], exponent: float) -> Float[np.ndarray, "points 2"]:
    """Scales each point along its ray from the origin until |a|^p + |b|^p = 1."""
    return points / (np.abs(points) ** exponent).sum(-1, keepdims=True) ** (1.0 / exponent)


def half_profile(end_steps: int, long_steps: int, exponent: float) -> Float[np.ndarray, "rows 2"]:
    """(t, s) from (-1, 0) over the flat s = 1 to (1, 0): position along an axis, and scale of the section there."""
    end, flat = np.linspace(0.0, 1.0, end_steps, endpoint=False), np.ones(end_steps)
    t = np.concatenate([-flat, np.linspace(-1.0, 1.0, long_steps), flat])
    s = np.concatenate([end, np.ones(long_steps), end[::-1]])
    return onto_superellipse(np.stack([t, s], -1), exponent)


def dome_profile(side_steps: int, top_steps: int, exponent: float) -> Float[np.ndarray, "rows 2"]:
    """(s, u) from (1, 0) up the side and over the top to (0, 1): scale of the section, and height."""
    s = np.concatenate([np.ones(side_steps), np.linspace(1.0, 0.0, top_steps)])
    u = np.concatenate([np.linspace(0.0, 1.0, side_steps, endpoint=False), np.ones(top_steps)])
    return onto_superellipse(np.stack([s, u], -1), exponent)


def sweep(rows: Float[np.ndarray, "rows columns 3"]) -> Float[np.ndarray, "faces 3 3"]:
    """Triangles between rings of vertices, one ring a row. Quad (i, j) gives the triangles 2 * (i * columns + j) and
    the one after; they face outwards when (row direction) x (column direction) points inwards."""
    following = np.roll(rows, -1, axis=1)
    a, b, c, d = rows[:-1], following[:-1], rows[1:], following[1:]
    return np.stack([a, b, d, a, d, c], axis=2).reshape(-1, 3, 3)


def rounded_box(
    centre: Float[np.ndarray, "3"], half_size: Float[np.ndarray, "3"], exponent: float = 5.0, steps: int = 4
) -> Float[np.ndarray, "faces 3 3"]:
    """Triangles of a box with rounded edges; `half_size` is half of each side."""
    profile, ring = half_profile(steps, steps + 1, exponent), superellipse(steps, exponent)
    along = np.broadcast_to(profile[:, None, :1], (len(profile), len(ring), 1))
    unit = np.concatenate([along, profile[:, 1:, None] * ring], -1)
    return sweep(unit * half_size + centre)
