"""Videos of scenes that turn: many beside each other, or one that becomes another."""

import math
from typing import Dict, Iterator, List, Literal, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from latent_nerfstudio.api.cameras import Ring, check_side, walk_together
from latent_nerfstudio.api.framing import framed
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.api.scenes import Pictures, Scene, Scenes, joined
from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.latent_space import as_bytes
from latent_nerfstudio.latent_space.resolution import resized
from latent_nerfstudio.models.rendering import SOLID
from latent_nerfstudio.pipelines.contact_sheet import grey_depth, where_met
from latent_nerfstudio.videos.grid import Grid, Page, Panel, grid_of

Row = Literal["rgb", "latent", "depth", "accumulation"]
"""What a panel shows."""

Range = Tuple[float, float]
"""Nearest and farthest distance that is told apart, world units."""


def turning(
    scenes: Scenes, names: Sequence[str], rows: Sequence[Row] = ("rgb",), views: int = 60, size: Optional[int] = None
) -> Iterator[Page]:
    """Frames of scenes that turn beside each other, each in a walk that suits it, see `Scenes.ring`, and whole, see
    `api.framing`. Panels are as high as asked, pixels, or as the first scene's training pictures."""
    rings = rings_of(scenes, [[name] for name in names], size)
    columns: List[List[Scene]] = [[name] * views for name in names]
    return frames_of(scenes, columns, rings, grid_for(rings, rows, size), [list(names)] * views)


def blending(
    scenes: Scenes,
    first: str,
    second: str,
    rows: Sequence[Row] = ("rgb",),
    views: int = 120,
    size: Optional[int] = None,
) -> Iterator[Page]:
    """Frames of a scene that turns, becomes another and then itself again, between the two; panels as in `turning`."""
    rings = rings_of(scenes, [[first, second]], size) * 3
    shares = [shared_at(view, views) for view in range(views)]
    blends: List[Scene] = [scenes.blend(first, second, share) for share in shares]
    columns: List[List[Scene]] = [[first] * views, blends, [second] * views]
    titles = [[first, f"{100 * share:.0f} %", second] for share in shares]
    return frames_of(scenes, columns, rings, grid_for(rings, rows, size), titles)


def shared_at(view: int, views: int) -> float:
    """Share of the second scene in a frame: 0 at first, 1 in the middle, and smoothly back."""
    return (1 - math.cos(2 * math.pi * view / views)) / 2


def rings_of(scenes: Scenes, groups: Sequence[Sequence[str]], size: Optional[int]) -> List[Ring]:
    """A ring for each group of scenes that shows them whole, with pictures of one height: the wanted, or that of the
    first scene's training pictures, to be shrunk: a decoder knows objects at the scale that it has seen."""
    if not groups:
        raise ValueError(problem("scenes", "at least one", "none", "name one, or all"))
    check_side(size)
    rings = [framed(scenes, group) for group in progress(groups, "Looking at the scenes", len(groups))]
    return [ring.resized(max(size or 0, rings[0].height)) for ring in rings]


def grid_for(rings: Sequence[Ring], rows: Sequence[Row], size: Optional[int]) -> Grid:
    if not rows:
        raise ValueError(problem("rows", "at least one", "none", "name rgb"))
    height, width = rings[0].height, max(ring.width for ring in rings)
    shown = size or height
    return grid_of(len(rings), rows, shown, max(1, round(width * shown / height)))


def frames_of(
    scenes: Scenes,
    columns: Sequence[Sequence[Scene]],
    rings: Sequence[Ring],
    grid: Grid,
    titles: Sequence[Sequence[str]],
) -> Iterator[Page]:
    """Frames of a grid: what each column shows in each frame, on the walk of its ring, under the frame's titles."""
    ranges = [(0.0, 1.0)] * len(columns)
    if "depth" in grid.rows:
        ranges = [depth_range(scenes, shown, ring) for shown, ring in zip(columns, rings, strict=True)]
    order = [scene for shown in zip(*columns, strict=True) for scene in shown]
    parts = scenes.stream(order, walk_together(rings, len(titles)))
    pictures = (picture for part in parts for picture in part)
    page = grid.page()
    for shown in titles:
        panels = [panels_of(next(pictures), grid, limits) for limits in ranges]
        yield grid.frame(page, shown, panels)


def depth_range(scenes: Scenes, shown: Sequence[Scene], ring: Ring) -> Range:
    """Nearest and farthest distance that a scene's cameras meet in a few views, but for the outermost hundredths."""
    views = np.linspace(0, len(shown), num=4, endpoint=False).astype(int)
    cameras = walk_together([ring], len(shown))[torch.as_tensor(views)]
    seen = joined(list(scenes.stream([shown[view] for view in views], cameras)))  # without a bar within the frames' own
    met = seen.depth[seen.accumulation > SOLID]
    if not len(met):
        return 0.0, 1.0
    low, high = torch.quantile(met[:: 1 + len(met) // (1 << 20)], torch.tensor([0.01, 0.99])).tolist()
    return low, max(high, low + 1e-6)


def panels_of(picture: Pictures, grid: Grid, limits: Range) -> List[Panel]:
    shown: Dict[str, Tensor] = {
        "rgb": picture.rgb[0],
        "latent": where_met(picture.latent[0], picture.accumulation[0]),
        "depth": grey_depth(picture.depth[0], picture.accumulation[0], limits),
        "accumulation": picture.accumulation[0].expand(-1, -1, 3),
    }
    return [as_bytes(resized(shown[row], grid.height, grid.width)) for row in grid.rows]
