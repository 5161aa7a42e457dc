"""The layout of the Blender scenes of NeRF: `transforms_train.json`, and perhaps `_val` and `_test`."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latent_nerfstudio.data.layouts.frames import SPLITS, SceneFrames
from latent_nerfstudio.data.layouts.transforms_json import load_json, read_frames
from latent_nerfstudio.data.validation import check_unique, check_view_count
from latent_nerfstudio.errors import problem

ARRAYS_OF_VIEWS = ("camera_to_worlds", "fx", "fy", "cx", "cy", "distortion")
TUPLES_OF_VIEWS = ("image_paths", "headers", "mask_paths", "dynamic_masks", "absent")


def read_blender(folder: Path) -> SceneFrames:
    """Reads a scene in the Blender layout, with the splits that its files are.

    The focal length comes from `camera_angle_x`, the principal point is the middle of the image, and image paths lack
    their extension. Frames keep the order of the files, train before val before test. Each file may also hold what
    `transforms.json` may hold."""
    paths = {split: folder / f"transforms_{split}.json" for split in SPLITS}
    if not paths["train"].is_file():
        do = "add it, or write all frames into one transforms.json"
        raise FileNotFoundError(problem(folder, "transforms_train.json", "only val or test", do))
    present = {split: path for split, path in paths.items() if path.is_file()}
    parts = [read_frames(load_json(path), folder, path, sort=False) for path in present.values()]
    ends = np.cumsum([0] + [len(part) for part in parts])
    splits = {split: tuple(range(ends[i], ends[i + 1])) for i, split in enumerate(present)}
    scene = _joined(parts, {split: indices for split, indices in splits.items() if indices})
    check_unique([os.path.realpath(path) for path in scene.image_paths], "transforms_*.json", folder)
    check_view_count(len(scene), folder, scene.absent)
    return scene


def _joined(parts: Sequence[SceneFrames], splits: dict[str, tuple[int, ...]]) -> SceneFrames:
    """One scene out of its camera files; what is not per view comes from the first."""
    if any(part.camera_type != parts[0].camera_type for part in parts):
        raise ValueError(problem(parts[0].name, "one camera model in all files", "several", "use one camera_model"))
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS_OF_VIEWS}
    tuples = {name: tuple(value for part in parts for value in getattr(part, name)) for name in TUPLES_OF_VIEWS}
    return dataclasses.replace(parts[0], splits=splits, **arrays, **tuples)
