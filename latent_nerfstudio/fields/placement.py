"""Where a scene stands in the box of a shared bundle: a uniform scale and a translation.

Notation: x is a point in the scene's own units, y = s x + t the same point in the units of the box. There is no
rotation, so directions are the same in both.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Dict, Sequence, Tuple

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from latent_nerfstudio.errors import problem

BOX_TOLERANCE = 0.05
"""How far a scene may reach beyond a box, of the box's size, and still stay where it is."""

LARGEST = 1e9
"""Largest scale and coordinate, and 1 over the smallest scale."""

SMALLEST_SHARE = 0.25
"""Of a box's side that a scene takes at least where it stays where it is: a texel must not be as large as what it
shows."""

FARTHEST = 1e4
"""How far from the origin a scene may be, in sides of its box: cameras are float32, and shake by a thousandth there."""


@dataclass(frozen=True)
class Placement:
    """y = scale x + shift; the identity by default."""

    scale: float = 1.0
    """Units of the box that one unit of the scene takes, > 0."""
    shift: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the scene's origin lies in the box."""

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self == Placement()

    @property
    def inverse(self) -> "Placement":
        """From the box to the scene's own units."""
        x, y, z = (-value / self.scale for value in self.shift)
        return Placement(1 / self.scale, (x, y, z))

    def points(self, points: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
        """Points, or the corners of a box, moved and scaled."""
        return self.scale * points + points.new_tensor(self.shift)

    def cameras(self, cameras: Cameras) -> Cameras:
        """A copy of cameras, moved; what they see of the placed scene is what the given ones see of the scene."""
        poses = cameras.camera_to_worlds
        moved = torch.cat([poses[..., :3], self.points(poses[..., 3])[..., None]], dim=-1)
        return dataclasses.replace(cameras, camera_to_worlds=moved)

    def as_fact(self) -> Dict[str, Any]:
        """JSON values, for `placement_from`."""
        return {"scale": self.scale, "shift": list(self.shift)}


def placement_from(fact: Any, where: str) -> Placement:
    """The placement of JSON values.

    Raises:
        ValueError: other entries than `scale` and `shift`, or numbers that no scene has.
    """
    values = fact if isinstance(fact, dict) and set(fact) == {"scale", "shift"} else {"scale": None, "shift": []}
    scale, shift = values["scale"], values["shift"] if isinstance(values["shift"], list) else []
    numbers = [scale, *shift]
    good = len(numbers) == 4 and all(type(n) in (int, float) and abs(n) <= LARGEST for n in numbers)
    if not good or not scale * LARGEST >= 1:
        expected = f"a positive scale and a shift of three numbers up to {LARGEST:g} as placement"
        raise ValueError(problem(where, expected, repr(fact)[:100], "write the scene file again"))
    x, y, z = map(float, shift)
    return Placement(float(scale), (x, y, z))


def placement_of(box: Float[np.ndarray, "2 3"], into: Float[np.ndarray, "2 3"]) -> Placement:
    """The placement that fills a box with a scene, centre on centre; the identity where the scene is within already and
    large enough.

    Args:
        box: corners of the scene's box, the lower one first, in its own units.
        into: corners of the box to fill.

    Raises:
        ValueError: a box without volume, or one that is too large, small or far away to be scaled.
    """
    own, wanted = np.asarray(box, dtype=np.float64), np.asarray(into, dtype=np.float64)
    if not ((np.abs(own) <= LARGEST).all() and (own[0] < own[1]).all()):
        expected = f"two corners, the lower one first, of numbers up to {LARGEST:g}"
        raise ValueError(problem("box", expected, repr(own.tolist())[:100], "give the scene's own box"))
    margin = BOX_TOLERANCE * (wanted[1] - wanted[0])
    scale = float(((wanted[1] - wanted[0]) / (own[1] - own[0])).min())
    is_within = (own[0] >= wanted[0] - margin).all() and (own[1] <= wanted[1] + margin).all()
    if is_within and scale * SMALLEST_SHARE <= 1:
        return Placement()
    if np.abs(own).max() > FARTHEST * (own[1] - own[0]).max():
        got = f"{box_words(own)}, where cameras of float32 are not told apart"
        do = "subtract its centre from cameras and box"
        raise ValueError(problem("box", f"one within {FARTHEST:g} of its sides from the origin", got, do))
    shift = (wanted.mean(axis=0) - scale * own.mean(axis=0)).tolist()
    return placement_from({"scale": scale, "shift": shift}, f"box {box_words(own)}")


def placement_table(placements: Sequence[Placement]) -> Float[Tensor, "scenes 4"]:
    """Placements as rows: scale, then shift."""
    return torch.tensor([[p.scale, *p.shift] for p in placements], dtype=torch.float64)


def placed_rays(rays: RayBundle, rows: Float[Tensor, "*rays 4"]) -> RayBundle:
    """A copy of rays with their origins and bounds in the units of the box.

    Args:
        rays: in the scenes' own units.
        rows: of `placement_table`, one for each ray.
    """
    scale, shift = rows[..., :1].to(rays.origins), rows[..., 1:].to(rays.origins)
    moved = {"origins": scale * rays.origins + shift}
    moved.update({name: scale * bound for name in ("nears", "fars") if (bound := getattr(rays, name)) is not None})
    return dataclasses.replace(rays, **moved)


def box_words(box: Float[np.ndarray, "2 3"]) -> str:
    """The corners of a box, for people."""
    return " to ".join("(" + ", ".join(f"{x:.3g}" for x in corner) + ")" for corner in np.asarray(box).tolist())
