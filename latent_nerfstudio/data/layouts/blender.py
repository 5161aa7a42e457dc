"""The layout of the Blender scenes of NeRF: `transforms_train.json`, and perhaps `_val` and `_test`."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from latent_nerfstudio.data.layouts.frames import SPLITS, SceneFrames
from latent_nerfstudio.data.layouts.transforms_json import read_frames
from latent_nerfstudio.data.validation import check_unique, check_view_count
from latent_nerfstudio.errors import problem

ARRAYS_OF_VIEWS = ("camera_to_worlds", "fx", "fy", "cx", "cy", "distortion")
TUPLES_OF_VIEWS = ("image_paths", "headers", "mask_paths", "dynamic_masks", "absent")


def read_blender(folder: Path) -> SceneFrames:
    """Reads a scene in the Blender layout, with the splits that its files are. The focal length comes from
    `camera_angle_x`, the principal point is the middle of the image, and image paths lack their extension. Frames keep
    the order of the files, train before val before test. Each file may also hold what `transforms.json` may hold."""
    paths = {split: folder / f"transforms_{split}.json" for split in SPLITS}
    if not paths["train"].is_file():
        do = "add it, or write all frames into one transforms.json"
        raise FileNotFoundError(problem(folder, "transforms_train.json", "only val or test", do))
    parts = {split: read_frames(path, folder, sort=False) for split, path in paths.items() if path.is_file()}
    first, *others = parts.values()
    if any(part.camera_type != first.camera_type for part in others):
        raise ValueError(problem(first.name, "one camera model in all files", "several", "use one camera_model"))
    joined: dict[str, Any] = {n: np.concatenate([getattr(p, n) for p in parts.values()]) for n in ARRAYS_OF_VIEWS}
    joined |= {n: tuple(value for p in parts.values() for value in getattr(p, n)) for n in TUPLES_OF_VIEWS}
    ends = np.cumsum([0] + [len(part) for part in parts.values()])
    splits = {split: tuple(range(ends[i], ends[i + 1])) for i, split in enumerate(parts) if len(parts[split])}
    scene = dataclasses.replace(first, splits=splits, **joined)  # what is not of views is that of the first file
    check_unique([os.path.realpath(path) for path in scene.image_paths], "transforms_*.json", folder)
    check_view_count(len(scene), folder, scene.absent)
    return scene
