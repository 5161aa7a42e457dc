"""The surface of a scene: coloured points, which are pixels of decoded views carried to where their rays end, and a
mesh by marching cubes on its density (Lorensen and Cline 1987), with the colours of such points."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, List, Optional, Union

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.utils.math import intersect_aabb
from scipy.spatial import KDTree
from torch import Tensor

from latent_nerfstudio.api.cameras import Ring, pixel_directions
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.errors import MOST_SEED, check_whole, is_number, problem
from latent_nerfstudio.files.places import as_path, check_file
from latent_nerfstudio.files.replacing import replacing_path
from latent_nerfstudio.latent_space.latent_space import as_bytes

SOLID = 0.9
"""Opacity from which on a pixel shows one surface alone."""

JUMP = 0.03
"""Difference of depth between neighbours, of the depth itself, from which on a pixel lies across an edge."""

MOST_VIEWS = 1000
"""Views of a scene at most."""

HEIGHTS = (0.0, 25.0, -20.0)
"""Degrees above a scene's own ring of the rings that views are taken from."""

SUFFIXES = (".glb", ".ply", ".obj")
"""Of the files that can be written."""

THICKNESS = 0.02
"""Share of the box's longest side within which the default density absorbs half of the light."""

MAX_RESOLUTION = 512
"""Points along the longest side at most: 134 million of a cube."""

AT_ONCE = 1 << 18
"""Points whose density is asked for together."""

NEIGHBOURS = 8
"""Points whose mean colour a vertex takes."""


@dataclass(frozen=True)
class PointCloud:
    """Points with colours."""

    positions: Float[np.ndarray, "points 3"]
    """World units of the scene."""
    colors: UInt8[np.ndarray, "points 3"]
    """RGB."""

    def __len__(self) -> int:
        return len(self.positions)

    def save(self, path: Union[str, Path]) -> Path:
        """Writes a binary PLY, ending `.ply`, with vertices `x y z red green blue alpha`, whole or not at all."""
        import trimesh

        path = as_path(path)
        check_file(path, ".ply")
        with replacing_path(path) as writing:
            writing.write_bytes(trimesh.PointCloud(self.positions, self.colors).export(file_type="ply"))  # type: ignore[arg-type]
        return path


def point_cloud(scenes: Any, name: str, views: int = 24, points: int = 200_000, seed: int = 0) -> PointCloud:
    """So many points at most, drawn by a seed from what views of a scene, in rings at up to three heights, meet, with
    the colours that they show. Raises ValueError for a scene in which nothing is solid."""
    check_whole("views", views, 1, MOST_VIEWS, "try 24")
    check_whole("points", points, 1, do="raise points")
    check_whole("seed", seed, 0, MOST_SEED)
    parts = []
    for cameras in cameras_about(scenes.ring(name), views):
        pictures = scenes.render(name, cameras)
        ends, shown = surface_points(pictures, cameras, scenes.box_of(name))
        parts.append((ends[shown], pictures.rgb[shown]))
    positions, colors = (torch.cat(part) for part in zip(*parts, strict=True))
    if not len(positions):
        do = "train it for longer, or look at it with lns orbit"
        raise ValueError(problem(f"scene {name!r}", f"pixels of opacity {SOLID} or more", "none", do))
    chosen = torch.randperm(len(positions), generator=torch.Generator().manual_seed(seed))[:points]
    return PointCloud(positions[chosen].numpy(), as_bytes(colors[chosen]))


def cameras_about(ring: Ring, views: int) -> List[Cameras]:
    """So many cameras on a walk about a scene, in turn on rings at its own height, below and above."""
    heights = HEIGHTS if ring.sweep >= 360 else HEIGHTS[:1]
    tilts = [float(np.clip(ring.elevation + height, -80, 80)) for height in heights[:views]]
    walks = [replace(ring, elevation=tilt).cameras(views) for tilt in tilts]
    return [walk[start :: len(heights)] for start, walk in enumerate(walks)]


def surface_points(
    pictures: Any, cameras: Cameras, box: Float[Tensor, "2 3"]
) -> tuple[Float[Tensor, "n height width 3"], Bool[Tensor, "n height width"]]:
    """Where the rays of pixels end, and which pixels show one surface: solid ones that no edge goes through. Depth is a
    mean under a ray's weights, with the end of the box where it is not stopped; that share is taken out."""
    directions = pixel_directions(cameras)
    origins = cameras.camera_to_worlds[:, None, None, :, 3].expand_as(directions)
    _, far = intersect_aabb(origins.reshape(-1, 3), directions.reshape(-1, 3), box.flatten())
    opacity = pictures.accumulation.clamp(min=1e-3)
    depth = (pictures.depth - (1 - opacity) * far.view(*opacity.shape)) / opacity
    shown = (pictures.accumulation > SOLID)[..., 0] & ~edges(depth[..., 0]) & (depth > 0)[..., 0]
    return origins + depth * directions, shown


def edges(depth: Float[Tensor, "n height width"]) -> Bool[Tensor, "n height width"]:
    """Pixels beside which depth jumps."""
    padded = torch.nn.functional.pad(depth[:, None], (1, 1, 1, 1), mode="replicate")
    spread = torch.nn.functional.max_pool2d(padded, 3, 1) + torch.nn.functional.max_pool2d(-padded, 3, 1)
    return spread[:, 0] > JUMP * depth.abs()


def mesh(scenes: Any, name: str, resolution: int = 128, level: Optional[float] = None, views: int = 24) -> Any:
    """A scene's surface as a `trimesh.Trimesh` in world units, with vertex colours of a point cloud of so many views.

    The longest side of the scene box has `resolution` points; `level` is the density, a unit of length, of the surface,
    by default that which absorbs half of the light within a fiftieth of this side. Raises ValueError for no surface."""
    import trimesh
    from skimage.measure import marching_cubes

    check_whole("resolution", resolution, 8, MAX_RESOLUTION, "try 128")
    check_whole("views", views, 1, MOST_VIEWS, "try 24")
    if level is not None and not (is_number(level) and level > 0):
        raise ValueError(problem("level", "a positive number", f"{level!r:.60}", "try without it"))
    box = scenes.box_of(name).double().numpy()
    sides = box[1] - box[0]
    level = math.log(2) / (THICKNESS * float(sides.max())) if level is None else level
    density = density_grid(scenes, name, resolution)
    low, high = float(density.min()), float(density.max())
    if not low < level < high:
        expected, do = f"density on both sides of {level:.3g}", "choose another --level"
        raise ValueError(problem(f"scene {name!r}", expected, f"{low:.3g} to {high:.3g}", do))
    # A shell of empty space closes what the box cuts.
    padded = np.pad(density, 1)
    spacing = sides / (np.array(density.shape) - 1)
    corners, faces, _, _ = marching_cubes(padded, level, spacing=tuple(spacing))
    surface: Any = trimesh.Trimesh(corners + box[0] - spacing, faces[:, ::-1], process=False)
    cloud = point_cloud(scenes, name, views)
    _, nearest = KDTree(cloud.positions).query(surface.vertices, min(NEIGHBOURS, len(cloud)))
    colors = cloud.colors[nearest].reshape(len(corners), -1, 3).mean(axis=1)
    surface.visual.vertex_colors = colors.round().astype(np.uint8)
    return surface


def save_mesh(surface: Any, path: Union[str, Path]) -> Path:
    """Writes a mesh as GLB, with y up and linear colours, as glTF has them, as PLY or as OBJ; whole or not at all."""
    path = as_path(path)
    check_file(path, *SUFFIXES)
    if path.suffix.lower() == ".glb":
        surface = surface.copy()
        surface.apply_transform(np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]))
        surface.visual.vertex_colors = linear(np.asarray(surface.visual.vertex_colors))
    with replacing_path(path) as writing:
        content = surface.export(file_type=path.suffix.lower()[1:])
        writing.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def linear(colors: UInt8[np.ndarray, "vertices 4"]) -> UInt8[np.ndarray, "vertices 4"]:
    """sRGB as linear light, which glTF's COLOR_0 is; alpha stays."""
    values = colors[:, :3] / 255.0
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.concatenate([(light * 255).round().astype(np.uint8), colors[:, 3:]], axis=1)


@torch.no_grad()
def density_grid(scenes: Any, name: str, resolution: int) -> Float[np.ndarray, "nx ny nz"]:
    """Density at the points of a grid that fills the scene box, cubes of one size but for rounding."""
    box = scenes.box_of(name)
    sides = box[1] - box[0]
    counts = [max(2, round(resolution * float(side / sides.max()))) for side in sides]
    axes = [torch.linspace(float(low), float(high), count) for low, high, count in zip(*box, counts, strict=True)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)
    parts = points.split(AT_ONCE)
    values = [scenes.density(name, part) for part in progress(parts, "Measuring the density", len(parts))]
    return torch.cat(values).view(counts).numpy()
