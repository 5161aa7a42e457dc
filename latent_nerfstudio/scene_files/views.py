"""Rendered views of learned scenes as a data folder, which stands in for the photos that are not there."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.camera_file import pinhole, write_pictures
from latent_nerfstudio.latent_space.cameras import pinhole_cameras
from latent_nerfstudio.latent_space.latent_space import as_bytes
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.shared_bundle import SharedBundle

CAMERAS = "cameras"
"""Name of a scene's cameras among its facts."""

RADIUS_PER_SIDE = 1.3
"""Distance of the cameras from the middle of the box over its longest side, where nothing is known of them."""

MAX_SIDE = 4096
"""Pixels along a side at most."""

FARTHEST = 1e6
"""Pixels or world units of a focal length or a distance at most, and over the least."""


@dataclass(frozen=True)
class SceneCameras:
    """What a scene was looked at with, the fact `cameras` of a scene file: size and focal lengths in pixels, and the
    distance of the cameras from the middle of the scene box in world units."""

    height: int
    width: int
    fx: float
    fy: float
    radius: float


def view_facts(cameras: Cameras, box: Float[torch.Tensor, "2 3"]) -> Dict[str, Any]:
    """The facts `views` and `cameras` of a scene, by its training cameras and its box: medians, of pictures that are
    made smaller where they are larger than those that are rendered of a scene file, without what `cameras_from_facts`
    would refuse, as the distance of photos that were taken by turning on the spot in the middle of their box."""
    lenses = torch.cat([cameras.height, cameras.width, cameras.fx, cameras.fy], dim=1).numpy(force=True)
    middle = np.median(lenses, axis=0)
    height, width, fx, fy = (middle * min(1.0, MAX_SIDE / middle[:2].max())).tolist()
    distances = (cameras.camera_to_worlds[:, :, 3].cpu() - box.mean(dim=0)).norm(dim=1)
    own = SceneCameras(max(1, round(height)), max(1, round(width)), fx, fy, float(np.median(distances)))
    return {"views": len(lenses), CAMERAS: {name: n for name, n in asdict(own).items() if is_camera_fact(n)}}


def is_camera_fact(value: object) -> bool:
    return type(value) in (int, float) and 1 / FARTHEST < value < FARTHEST  # type: ignore[operator]


def usual_cameras(bundle: SharedBundle, scale: float = 1.0) -> SceneCameras:
    """Square cameras of a latent pixel for each texel, for scenes placed by a `scale` of which none are known."""
    side = min(MAX_SIDE, bundle.field["resolution"] * bundle.autoencoder["downscale_factor"])
    longest = float((bundle.box[1] - bundle.box[0]).max()) / scale
    return SceneCameras(side, side, FOCAL_PER_WIDTH * side, FOCAL_PER_WIDTH * side, RADIUS_PER_SIDE * longest)


def cameras_from_facts(facts: Dict[str, Any], bundle: SharedBundle, where: str, scale: float = 1.0) -> SceneCameras:
    """The cameras among a scene's facts, or the usual ones of its bundle for those that are not there."""
    given, usual = facts.get(CAMERAS) or {}, asdict(usual_cameras(bundle, scale))
    values = {name: given.get(name, value) for name, value in usual.items()} if isinstance(given, dict) else {}
    good = [value is usual[name] or is_camera_fact(value) for name, value in values.items()]
    if not values or not all(good) or max(values["height"], values["width"]) > MAX_SIDE:
        expected = f"height and width up to {MAX_SIDE}, fx, fy and radius, all positive, as cameras"
        raise ValueError(problem(where, expected, repr(given)[:200], "write the scene file again without them"))
    focal_and_distance = (float(values[name]) for name in ("fx", "fy", "radius"))
    return SceneCameras(math.ceil(values["height"]), math.ceil(values["width"]), *focal_and_distance)


def write_views(
    folder: Path, model: LatentModel, scene: str, cameras: SceneCameras, poses: Float[np.ndarray, "views 4 4"]
) -> None:
    """Renders views of a scene from OpenGL poses and writes them as a folder, which is made; view 0 is held out."""
    views = pinhole_cameras(poses, [(cameras.fx, cameras.fy)], cameras.height, cameras.width).to(model.device)
    index = model.scene_names.index(scene)
    views.metadata = {"scene_index": torch.full((len(poses), 1), index, device=model.device)}
    renders = (model.get_outputs_for_camera(views[view : view + 1])["rgb"] for view in range(len(poses)))
    top = {**pinhole(cameras.width, cameras.height, cameras.fx, cameras.fy), "aabb": model.box_of(index).tolist()}
    write_pictures(folder, map(as_bytes, renders), poses, held_out_every=len(poses), **top)
