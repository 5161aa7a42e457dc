"""A scene as a coloured mesh: marching cubes on its density (Lorensen and Cline 1987), colours from decoded views."""

import math
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from jaxtyping import Float, UInt8
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from latent_nerfstudio.api.point_clouds import cameras_about, check_views
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_file
from latent_nerfstudio.files.replacing import replacing_path
from latent_nerfstudio.latent_space.latent_space import as_bytes

SUFFIXES = (".glb", ".ply", ".obj")
"""Of the files that can be written."""

THICKNESS = 0.02
"""Share of the box's longest side within which the default density absorbs half of the light."""

MAX_RESOLUTION = 512
"""Points along the longest side at most: 134 million of a cube."""

AT_ONCE = 1 << 18
"""Points whose density is asked for together."""

REACH = 0.03
"""Distance behind a view's surface, as a share of the box's longest side, up to which a vertex is shown by it."""


def mesh(scenes: Any, name: str, resolution: int = 128, level: Optional[float] = None, views: int = 24) -> Any:
    """A scene's surface as a `trimesh.Trimesh` in world units, with vertex colours of so many views.

    The longest side of the scene box has `resolution` points; `level` is the density, a unit of length, of the surface,
    by default that which absorbs half of the light within a fiftieth of this side. Raises ValueError for no surface."""
    import trimesh
    from skimage.measure import marching_cubes

    if not 8 <= resolution <= MAX_RESOLUTION:
        raise ValueError(problem("resolution", f"8 to {MAX_RESOLUTION}", resolution, "try 128"))
    check_views(views)
    if level is not None and not level > 0:
        raise ValueError(problem("level", "a positive number", level, "try without it"))
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
    positions = corners + box[0] - spacing
    surface: Any = trimesh.Trimesh(positions, faces[:, ::-1], process=False)
    surface.visual.vertex_colors = vertex_colors(scenes, name, positions, surface.vertex_normals, views)
    return surface


def save_mesh(surface: Any, path: Union[str, Path]) -> Path:
    """Writes a mesh as GLB, with y up and linear colours, as glTF has them, as PLY or as OBJ; whole or not at all."""
    path = Path(path).expanduser()
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


def vertex_colors(
    scenes: Any,
    name: str,
    positions: Float[np.ndarray, "vertices 3"],
    normals: Float[np.ndarray, "vertices 3"],
    views: int,
) -> UInt8[np.ndarray, "vertices 3"]:
    """The mean colour of vertices in the views that see them, weighted by how squarely; else the mean of all."""
    points, outward = (torch.tensor(np.ascontiguousarray(value), dtype=torch.float32) for value in (positions, normals))
    reach = REACH * float((scenes.box_of(name)[1] - scenes.box_of(name)[0]).max())
    sums, weights = torch.zeros(len(points), 3), torch.zeros(len(points), 1)
    for cameras in cameras_about(scenes.ring(name), views):
        pictures = scenes.render(name, cameras)
        for index in range(len(cameras)):
            color, weight = seen(pictures[index], cameras[index], points, outward, reach)
            sums, weights = sums + weight * color, weights + weight
    mean = sums.sum(dim=0) / weights.sum().clamp(min=1e-9)
    return as_bytes(torch.where(weights > 0, sums / weights.clamp(min=1e-9), mean))


def seen(
    picture: Any,
    camera: Cameras,
    points: Float[Tensor, "vertices 3"],
    outward: Float[Tensor, "vertices 3"],
    reach: float,
) -> tuple[Float[Tensor, "vertices 3"], Float[Tensor, "vertices 1"]]:
    """Colours of points in one picture, and how squarely it sees them: 0 where they are hidden or outside of it."""
    pose = camera.camera_to_worlds
    offsets = points - pose[:, 3]
    local = offsets @ pose[:, :3]
    distance = offsets.norm(dim=1, keepdim=True)
    ahead = (-local[:, 2:]).clamp(min=1e-6)
    height, width = picture.rgb.shape[1:3]
    column = camera.fx * local[:, :1] / ahead + camera.cx
    row = -camera.fy * local[:, 1:2] / ahead + camera.cy
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (local[:, 2:] < 0)
    place = row.long().clamp(0, height - 1)[:, 0], column.long().clamp(0, width - 1)[:, 0]
    hidden = distance > picture.depth[0][place] + reach
    square = -(outward * offsets).sum(dim=1, keepdim=True) / distance.clamp(min=1e-9)
    return picture.rgb[0][place], torch.where(inside & ~hidden, square.clamp(min=0.0), torch.zeros_like(square))
