"""Rendered views of learned scenes as a data folder, which stands in for the photos that are not there."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Union

import numpy as np
import torch
from jaxtyping import Float

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


def middle_cameras(
    lenses: Float[np.ndarray, "views 4"], positions: Float[np.ndarray, "views 3"], box: Float[np.ndarray, "2 3"]
) -> SceneCameras:
    """The middle ones of a scene's cameras, by height, width, fx and fy of each: medians over its views, of pictures
    that are made smaller where they are larger than those that are rendered of a scene file."""
    middle = np.median(lenses, axis=0)
    height, width, fx, fy = (middle * min(1.0, MAX_SIDE / middle[:2].max())).tolist()
    distances = np.linalg.norm(positions - box.mean(axis=0), axis=1)
    return SceneCameras(max(1, round(height)), max(1, round(width)), fx, fy, float(np.median(distances)))


def camera_fact(cameras: SceneCameras) -> Dict[str, Union[int, float]]:
    """The fact `cameras`, without what `cameras_from_facts` would refuse: the distance of cameras that stand in the
    middle of their box, for instance, as of photos that were taken by turning on the spot."""
    return {name: value for name, value in asdict(cameras).items() if is_camera_fact(value)}


def is_camera_fact(value: object) -> bool:
    return type(value) in (int, float) and 1 / FARTHEST < value < FARTHEST  # type: ignore[operator]


def usual_cameras(bundle: SharedBundle, scale: float = 1.0) -> SceneCameras:
    """Cameras for scenes of which no cameras are known: square pictures with a latent pixel for each texel, were they
    not enlarged; `scale` is that of their placement."""
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
