"""Writes views of a surface as a scene on disk, in Nerfstudio's format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from latent_nerfstudio.files.camera_file import pinhole, write_pictures
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.meshes.raycast import SAMPLES_PER_AXIS, PinholeCamera, Raycaster
from latent_nerfstudio.meshes.surface import Shading, Surface, UpAxis, unit_box_map
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, framing_radius, hemisphere

TEST_EVERY = 10
"""Every tenth view is a test view."""
AABB_MARGIN = 0.02
"""Share of each side that the box of a scene is wider on either end than its mesh."""
AABB_THINNEST = 0.03
"""Share of the mesh's longest side that each side of its box has at least: a sheet has a box as well."""
SCENE_FILES = r"transforms\.json|images/\d+\.png"
"""Names of the files of a scene, which alone are replaced."""


@dataclass(frozen=True)
class ViewOptions:
    """How a surface is turned into views."""

    views: int
    resolution: int
    """Width and height, pixels."""
    seed: int
    """Of the camera positions."""
    shading: Shading = "smooth"
    up_axis: Optional[UpAxis] = None
    """Of the surface; None for z, and for mesh files what is usual for their format."""


def write_scene(
    surface: Surface, folder: Path, options: ViewOptions, on_view: Callable[[], object] = lambda: None
) -> None:
    """Renders a surface and writes `folder/transforms.json` and `folder/images/*.png`; replaces an older scene whole.
    The surface is centred on the origin and brought to the longest side 1, and the cameras stand so far away that none
    cuts it off: a point x of the mesh is at applied_scale * applied_transform [x, 1] in the scene."""
    camera = PinholeCamera.square(options.resolution, FOCAL_PER_WIDTH)
    up_axis = options.up_axis or "z"
    turn, shift, size = unit_box_map(surface.triangles, up_axis)
    placed = surface.normalized(up_axis)
    points = placed.triangles.reshape(-1, 3)
    poses = hemisphere(options.views, options.seed, framing_radius(points, options.views, options.seed))
    density = camera.fx / float(np.linalg.norm(poses[0][:3, 3])) * SAMPLES_PER_AXIS
    caster = Raycaster(placed, shading=options.shading, samples_per_unit=density)
    low, high = points.min(0), points.max(0)
    sides = high - low
    margin = np.maximum(AABB_MARGIN * sides, (AABB_THINNEST * sides.max() - sides) / 2)

    def rendered() -> Iterator[np.ndarray]:
        for pose in poses:
            yield caster.render(pose, camera)
            on_view()

    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder, SCENE_FILES) as writing:
        write_pictures(
            writing,
            rendered(),
            poses,
            held_out_every=TEST_EVERY,
            **pinhole(camera.width, camera.height, camera.fx, camera.fy),
            aabb=[(low - margin).tolist(), (high + margin).tolist()],
            applied_transform=np.concatenate([turn, shift[:, None]], axis=1),
            applied_scale=1 / size,
        )
