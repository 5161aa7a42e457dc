"""Where a scene stands in the box of a shared bundle, and what part of it the scene fills. A point x in the scene's own
units is y = s x + t in those of the box. Nothing is rotated, so directions stay the same, and a box stays a box."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.boxes import cropped_box, intersect_box
from latent_nerfstudio.fields.scene_view import SceneView, blend
from latent_nerfstudio.latent_space.checks import are_numbers, is_box

Corner = Tuple[float, float, float]
"""x, y and z of a corner of a box."""

AGAIN = "write the scene file again"

LARGEST = 1e9
"""Largest scale and coordinate, and 1 over the smallest scale."""

EVERYWHERE = ((-LARGEST,) * 3, (LARGEST,) * 3)
"""Corners that stand in a table for a scene without a box."""

FARTHEST = 1e4
"""How far from the origin a scene may be, in sides of its box: cameras are float32, and shake by a thousandth there."""


@dataclass(frozen=True)
class Placement:
    """y = scale x + shift, and the scene's own box; by default the identity, and all of the bundle's box."""

    scale: float = 1.0
    """Units of the box that one unit of the scene takes, > 0."""
    shift: Corner = (0.0, 0.0, 0.0)
    """Where the scene's origin lies in the box."""
    box: Optional[Tuple[Corner, Corner]] = None
    """Corners of what the scene fills, in its own units, where its rays end. None: all of the bundle's box."""

    @property
    def is_identity(self) -> bool:
        return (self.scale, self.shift) == (1.0, (0.0, 0.0, 0.0))

    @property
    def inverse(self) -> "Placement":
        """From the units of the box to the scene's own, without a box."""
        x, y, z = (-value / self.scale for value in self.shift)
        return Placement(1 / self.scale, (x, y, z))

    def points(self, points: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
        return self.scale * points + points.new_tensor(self.shift)

    def cameras(self, cameras: Cameras) -> Cameras:
        """A copy of cameras, moved so that they see of the placed scene what the given ones see of the scene."""
        poses = cameras.camera_to_worlds
        moved = torch.cat([poses[..., :3], self.points(poses[..., 3])[..., None]], dim=-1)
        return dataclasses.replace(cameras, camera_to_worlds=moved)

    def as_fact(self) -> Dict[str, Any]:
        """JSON values, for `placement_from`."""
        fact: Dict[str, Any] = {"scale": self.scale, "shift": list(self.shift)}
        return fact if self.box is None else {**fact, "box": [list(corner) for corner in self.box]}


def placement_from(fact: Any, where: str) -> Placement:
    """The placement of JSON values; refuses what is no `scale`, `shift` and perhaps `box` of a scene."""
    is_named = isinstance(fact, dict) and set(fact) - {"box"} == {"scale", "shift"}
    named: Any = fact if is_named else {}
    scale, shift = named.get("scale"), named.get("shift")
    if not are_numbers([scale], 1, LARGEST) or not scale * LARGEST >= 1 or not are_numbers(shift, 3, LARGEST):
        expected = f"a positive scale and a shift of three numbers up to {LARGEST:g} as placement"
        raise ValueError(problem(where, expected, repr(fact)[:100], AGAIN))
    x, y, z = map(float, shift)
    return Placement(float(scale), (x, y, z), box_from(fact["box"], where) if "box" in fact else None)


def box_from(corners: Any, where: str) -> Tuple[Corner, Corner]:
    """The corners of a box of JSON values; refuses others, and a box without volume."""
    if not is_box(corners, LARGEST):
        expected = f"a box of two corners, the lower one first, of numbers up to {LARGEST:g}, in its placement"
        raise ValueError(problem(where, expected, repr(corners)[:100], AGAIN))
    low, high = ((float(x), float(y), float(z)) for x, y, z in corners)
    return low, high


def placement_of(box: Float[np.ndarray, "2 3"], into: Float[np.ndarray, "2 3"], is_bounded: bool = True) -> Placement:
    """The placement that fits a scene's box into another, `into`, centre on centre; nothing moves if it lies within and
    is large enough. With `is_bounded` nothing is outside of the scene's box, and its rays end there. Refuses boxes
    without volume, and those too large, small or far away to be scaled."""
    own, wanted = np.asarray(box, dtype=np.float64), np.asarray(into, dtype=np.float64)
    if not ((np.abs(own) <= LARGEST).all() and (own[0] < own[1]).all()):
        expected = f"two corners, the lower one first, of numbers up to {LARGEST:g}"
        raise ValueError(problem("box", expected, repr(own.tolist())[:100], "give the scene's own box"))
    margin = 0.05 * (wanted[1] - wanted[0])
    scale = float(((wanted[1] - wanted[0]) / (own[1] - own[0])).min())
    is_within = (own[0] >= wanted[0] - margin).all() and (own[1] <= wanted[1] + margin).all()
    if is_within and scale <= 4:  # beyond which a texel would be as large as what it shows
        scale, shift = 1.0, [0.0, 0.0, 0.0]
    elif np.abs(own).max() > FARTHEST * (own[1] - own[0]).max():
        got = f"{box_words(own)}, where cameras of float32 are not told apart"
        do = "subtract its centre from cameras and box"
        raise ValueError(problem("box", f"one within {FARTHEST:g} of its sides from the origin", got, do))
    elif not 1 / LARGEST <= scale <= LARGEST:
        got, do = box_words(own), "scale cameras and box until its sides are about 1"
        raise ValueError(problem("box", f"one up to {LARGEST:g} times as large, or small, as the bundle's", got, do))
    else:
        shift = (wanted.mean(axis=0) - scale * own.mean(axis=0)).tolist()
    placement = placement_from({"scale": scale, "shift": shift}, f"box {box_words(own)}")
    return bounded(placement, own, wanted) if is_bounded else placement


def bounded(placement: Placement, box: Float[np.ndarray, "2 3"], into: Float[np.ndarray, "2 3"]) -> Placement:
    """The placement with the scene's own box, widened where it is flat; none if it fills the NeRF's box, `into`."""
    own, slack = np.asarray(box, dtype=np.float64), 1e-6 * (into[1] - into[0])
    # more than a texel of 64, since rays with few samples miss what is thinner
    least = 0.02 * float((into[1] - into[0]).max()) / placement.scale
    lacking = (least - (own[1] - own[0])).clip(min=0) / 2
    own = np.stack([own[0] - lacking, own[1] + lacking])
    low, high = placement.points(torch.tensor(own)).numpy()
    if (low <= into[0] + slack).all() and (high >= into[1] - slack).all():
        return placement
    return dataclasses.replace(placement, box=box_from(own.tolist(), "box"))


def placement_table(placements: Sequence[Placement]) -> Float[Tensor, "scenes 10"]:
    """Placements as rows: scale, shift, and the corners of the scene's own box in the units of the bundle's."""
    rows = []
    for p in placements:
        low, high = EVERYWHERE if p.box is None else p.points(torch.tensor(p.box, dtype=torch.float64)).tolist()
        rows.append([p.scale, *p.shift, *low, *high])
    return torch.tensor(rows, dtype=torch.float64)


def placements_from(rows: Float[Tensor, "scenes columns"]) -> List[Placement]:
    """The placements of rows of `placement_table`; of four columns, as before there were boxes, those of no box."""
    placements = []
    for scale, x, y, z, *corners in rows.tolist():
        placement, box = Placement(scale, (x, y, z)), None
        if corners and corners != [*EVERYWHERE[0], *EVERYWHERE[1]]:
            box = placement.inverse.points(torch.tensor(corners, dtype=torch.float64).view(2, 3)).tolist()
        placements.append(placement if box is None else dataclasses.replace(placement, box=tuple(map(tuple, box))))
    return placements


def boxes_of(rows: Float[Tensor, "*rows 10"]) -> Float[Tensor, "*rows 2 3"]:
    return rows[..., 4:].unflatten(-1, (2, 3))


def widened(rows: Float[Tensor, "scenes 10"], share: float) -> Float[Tensor, "scenes 10"]:
    """Rows of `placement_table` whose boxes are wider on every side, by a share of their longest one."""
    low, high = rows[:, 4:7], rows[:, 7:]
    margin = share * (high - low).amax(dim=1, keepdim=True)
    return torch.cat([rows[:, :4], low - margin, high + margin], dim=1)


def row_of_view(view: SceneView, rows: Float[Tensor, "scenes 10"], box: Float[Tensor, "2 3"]) -> Float[Tensor, "1 10"]:
    """The row of a view. A blend stands between its scenes, and so does its box, so that it begins and ends as they
    are; a base plane belongs to no scene, and fills the bundle's box, `box`."""
    own = rows[list(view.scenes)]
    corners = own[:, 4:]
    if not torch.equal(corners[0], corners[-1]):
        corners = torch.cat([corners[:, :3].maximum(box[0]), corners[:, 3:].minimum(box[1])], dim=1)
    if view.parts == "base plane":
        corners = corners.new_tensor(EVERYWHERE).view(1, 6)
    return torch.cat([blend(own[:, :4], view.share), blend(corners, view.share)], dim=1)


def placed_rays(rays: RayBundle, rows: Float[Tensor, "*rays columns"]) -> RayBundle:
    """A copy of rays in the units of the box, each by the row of its scene in `placement_table`."""
    scale, shift = rows[..., :1].to(rays.origins), rows[..., 1:4].to(rays.origins)
    moved = {"origins": scale * rays.origins + shift}
    moved.update({name: scale * bound for name in ("nears", "fars") if (bound := getattr(rays, name)) is not None})
    return dataclasses.replace(rays, **moved)


def bounded_rays(rays: RayBundle, boxes: Float[Tensor, "rays 2 3"]) -> RayBundle:
    """A copy of placed rays, each cut at its box; those that miss it end before they begin."""
    corners = boxes.to(rays.origins).movedim(1, 0)
    nears, fars, _ = (bound[:, None] for bound in intersect_box(rays.origins, rays.directions, corners))
    if rays.nears is not None and rays.fars is not None:
        nears, fars = torch.maximum(nears, rays.nears), torch.minimum(fars, rays.fars)
    return dataclasses.replace(rays, nears=nears, fars=fars)


def box_words(box: Float[np.ndarray, "2 3"]) -> str:
    return " to ".join("(" + ", ".join(f"{x:.3g}" for x in corner) + ")" for corner in np.asarray(box).tolist())


class ScenePlacements(Sequence):
    """Placements of scenes by their index. Rays go `margin` beyond a scene's own box, a share of its longest side."""

    def __init__(self, placements: Sequence[Placement], margin: float = 0.0):
        self.placements = tuple(placements)
        self.are_moved = any(placement != Placement() for placement in placements)
        self.rows = widened(placement_table(placements), margin)

    def __getitem__(self, scene: int) -> Placement:  # type: ignore[override]
        return self.placements[scene]

    def __len__(self) -> int:
        return len(self.placements)

    def boxes(self, shared: Float[Tensor, "2 3"]) -> Float[Tensor, "scenes 2 3"]:
        """The box at which each scene's rays end, within the shared one and in its units."""
        shared = shared.detach().float()
        if not self.are_moved:
            return shared.expand(len(self), 2, 3)
        low, high = boxes_of(self.rows).to(shared).unbind(dim=1)
        return torch.stack([low.maximum(shared[0]), high.minimum(shared[1])], dim=1)

    def box_of(self, scene: int, shared: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
        """A scene's own box, or the shared one if it has none, in the scene's own units."""
        placement = self[scene]
        box = placement.inverse.points(shared.detach().float().cpu())
        return box if placement.box is None else cropped_box(box, torch.tensor(placement.box))

    def rays(
        self, rays: RayBundle, views: Sequence[SceneView] = (), shared: Optional[Float[Tensor, "2 3"]] = None
    ) -> Tuple[RayBundle, Float[Tensor, "*rays 10"]]:
        """Rays of `metadata["scene_index"]` in the units of the shared box, cut at their scene's own, and the placement
        row of each. With `views`, the index counts these, and they need the `shared` box."""
        index = rays.metadata["scene_index"]
        rows = self.rows = self.rows.to(index.device)
        if views:
            assert shared is not None
            rows = torch.cat([row_of_view(view, rows, shared.to(rows)) for view in views])
        rows = rows[index[..., 0].long()]
        return bounded_rays(placed_rays(rays, rows), boxes_of(rows)), rows

    def crop(self, box: Optional[SceneBox], scene: int) -> Optional[SceneBox]:
        """The viewer's crop box of a scene, turned from the scene's own units into those of the shared box."""
        if box is None or not self.are_moved:
            return box
        return SceneBox(aabb=self[scene].points(box.aabb))
