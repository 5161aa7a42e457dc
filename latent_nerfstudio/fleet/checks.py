"""What is wrong with a scene, found before or after a chunk that holds it."""

from pathlib import Path
from typing import Dict, Sequence

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.data.layouts import SceneFrames, read_scene
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.placement import BOX_TOLERANCE
from latent_nerfstudio.fleet.plan import scene_folder
from latent_nerfstudio.names import check_name
from latent_nerfstudio.pictures import open_picture


def refused_scenes(data: Path, names: Sequence[str], box: Float[np.ndarray, "2 3"]) -> Dict[str, str]:
    """What is wrong with the names and cameras of scenes, by name, of those with which something is.

    Args:
        data: folder of scene folders.
        names: which.
        box: of the shared bundle; a scene that says to reach beyond it cannot be fitted against its base planes.
    """
    reasons = {}
    for name in names:
        try:
            check_name(name)
            check_box(read_scene(scene_folder(data, name)), box)
        except (ValueError, OSError) as error:
            reasons[name] = str(error)
    return reasons


def check_box(frames: SceneFrames, box: Float[np.ndarray, "2 3"]) -> None:
    """Refuses a scene whose camera file gives a box that is not within the bundle's.

    Raises:
        ValueError: such a scene.
    """
    margin = BOX_TOLERANCE * (box[1] - box[0])
    own = frames.aabb
    if own is not None and ((own[0] < box[0] - margin) | (own[1] > box[1] + margin)).any():
        do = "scale it to the bundle's, or learn a bundle of scenes like it"
        raise ValueError(problem(f"scene '{frames.name}'", f"a box within {words(box)}", words(own), do))


def words(box: Float[np.ndarray, "2 3"]) -> str:
    """The corners of a box."""
    return " to ".join("(" + ", ".join(f"{x:.3g}" for x in corner) + ")" for corner in box)


def unreadable_scenes(data: Path, names: Sequence[str]) -> Dict[str, str]:
    """Scenes with a picture or a mask that cannot be decoded, and why, by name."""
    found = {name: unreadable(scene_folder(data, name)) for name in names}
    return {name: reason for name, reason in found.items() if reason}


def unreadable(folder: Path) -> str:
    """What is wrong with a scene's camera file, or with the first picture or mask that cannot be decoded; empty if
    nothing is."""
    try:
        frames = read_scene(folder)
    except (ValueError, OSError) as error:
        return str(error)
    paths = (*frames.image_paths, *frames.mask_paths, *frames.dynamic_masks)
    for path in (path for path in paths if path is not None):
        try:
            with open_picture(path, any_mode=True) as image:
                image.load()
        except (ValueError, OSError) as error:
            return str(error)
    return ""
