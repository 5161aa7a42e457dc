"""Turns about an object that fills the pictures and that none of them cuts."""

from dataclasses import replace
from typing import Optional, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latent_nerfstudio.api.cameras import Ring, as_point
from latent_nerfstudio.api.scenes import Scenes, joined
from latent_nerfstudio.api.surfaces import surface_points
from latent_nerfstudio.models.rendering import SOLID

PROBES = 8
"""Views of a scene that tell where its object is."""

MOST_POINTS = 20_000
"""Points of its surface that are looked at."""

AZIMUTHS = 48
"""Places of a turn from which they are."""

ROOM = 1.1
"""Side of the pictures over that of what they must hold: edges are soft."""

NEAREST = 2.0
"""Times that an object is enlarged at most: a decoder knows objects at the scale that it has seen."""


def framed(scenes: Scenes, names: Sequence[str], ring: Optional[Ring] = None) -> Ring:
    """A ring about the middle of what is there in scenes, with the lens that shows all of it from all around; `ring`,
    or the first scene's, where a scene has no outline, as it fills the pictures with its surroundings."""
    ring = ring or scenes.ring(names[0])
    parts = [outline(scenes, name, ring) for name in names]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts) or not any(map(len, found)):
        return ring
    points = torch.cat(found)
    return fitted(ring, points[:: 1 + len(points) // MOST_POINTS].double().numpy(), NEAREST)


def outline(scenes: Scenes, name: str, ring: Ring) -> Optional[Float[Tensor, "points 3"]]:
    """Points of a scene's surface from all around; None where the ring's pictures are full of it."""
    box = scenes.box_of(name)
    wide = fitted(ring, np.stack(np.meshgrid(*box.double().numpy().T), axis=-1).reshape(8, 3))  # sees all of the box
    cameras = wide.cameras(PROBES)
    pictures = joined(list(scenes.stream([name] * PROBES, cameras)))
    solid = pictures.accumulation[..., 0] > SOLID
    if is_surrounded(solid.any(dim=0), wide.focal[0] / ring.focal[0]):
        return None
    return surface_points(pictures, cameras, box)[0][solid]


def is_surrounded(seen: Bool[Tensor, "height width"], share: float = 1.0) -> bool:
    """Whether the border of the middle of a picture, this share of its sides, shows something for the most part."""
    top, left = (max(0, round(side * (1 - share) / 2)) for side in seen.shape)
    middle = seen[top : len(seen) - top, left : seen.shape[1] - left]
    return float(torch.cat([middle[0], middle[-1], middle[:, 0], middle[:, -1]]).float().mean()) >= 0.5


def fitted(ring: Ring, points: Float[np.ndarray, "points 3"], nearest: float = float("inf")) -> Ring:
    """The ring about the middle of points whose lens, its focal lengths at most `nearest` times as long, shows all of
    them from everywhere; as it was where it is among them."""
    about = replace(ring, center=as_point((points.min(axis=0) + points.max(axis=0)) / 2))
    poses = about.walk(AZIMUTHS)
    local = (points - poses[:, None, :3, 3]) @ poses[:, :3, :3]
    if not (local[..., 2] < 0).all():
        return ring
    across, down = (np.abs(local[..., axis] / local[..., 2]).max().clip(1e-9) for axis in (0, 1))
    sides = ring.width / (2 * across * ring.focal[0]), ring.height / (2 * down * ring.focal[1])
    factor = min(*sides, ROOM * nearest) / ROOM
    return replace(about, focal=(float(ring.focal[0] * factor), float(ring.focal[1] * factor)))
