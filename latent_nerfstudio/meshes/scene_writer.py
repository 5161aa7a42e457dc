"""Writes views of a surface as a scene on disk, in Nerfstudio's format."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.meshes.raycast import PinholeCamera, Raycaster
from latent_nerfstudio.meshes.surface import Shading, Surface
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, RADIUS, hemisphere

TEST_EVERY = 10
"""Every tenth view is a test view."""
AABB_MARGIN = 0.02
"""Share of each side that the box of a scene is wider on either end than its mesh."""


@dataclass(frozen=True)
class ViewOptions:
    """How a surface is turned into views."""

    views: int
    resolution: int
    """Width and height, pixels."""
    seed: int
    """Of the camera positions."""
    samples_per_axis: int = 3
    shading: Shading = "smooth"


def check_view_options(views: int, resolution: int, seed: int) -> None:
    """Refuses numbers that no scene can be made of.

    Raises:
        ValueError: fewer than 2 views, fewer than 8 pixels, or a negative seed.
    """
    if views < 2:
        raise ValueError(f"views: expected at least 2 (one to train on, one to test on), got {views}; try 60")
    if resolution < 8:
        raise ValueError(f"size: expected at least 8 pixels, got {resolution}; try 128")
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}; try 0")


def check_free(folders: list[Path], overwrite: bool) -> None:
    """Refuses to write over scenes that are there, unless told to.

    Raises:
        FileExistsError: one of the folders exists and `overwrite` is false.
        NotADirectoryError: one of the names is taken by a file.
    """
    files = [path for path in folders if path.exists() and not path.is_dir()]
    if files:
        raise NotADirectoryError(f"{files[0]}: expected a folder or nothing, got a file; move it away")
    taken = [path for path in folders if path.exists()]
    if taken and not overwrite:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise FileExistsError(
            f"{taken[0]}{more}: expected no scene of this name, got one; pass --overwrite or choose another folder"
        )


def write_scene(
    surface: Surface, folder: Path, options: ViewOptions, on_view: Callable[[], object] | None = None
) -> None:
    """Renders a surface and writes `folder/transforms.json` and `folder/images/*.png`; replaces an older scene.

    The scene is written to a folder beside it and moved when complete, so `folder` is never half a scene.

    Args:
        surface: what to render, centred on the origin with longest side 1.
        folder: the scene's folder; what it holds is replaced.
        options: views, resolution, seed.
        on_view: called after each view.
    """
    camera = PinholeCamera.square(options.resolution, FOCAL_PER_WIDTH)
    poses = hemisphere(options.views, options.seed)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "images").mkdir(parents=True)
    try:
        write_images(surface, poses, camera, unfinished, options, on_view)
        transforms = scene_transforms(poses, camera, surface.bounds())
        (unfinished / "transforms.json").write_text(json.dumps(transforms, indent=1) + "\n")
        move_into_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_images(
    surface: Surface,
    poses: Float[np.ndarray, "views 4 4"],
    camera: PinholeCamera,
    folder: Path,
    options: ViewOptions,
    on_view: Callable[[], object] | None,
) -> None:
    """Renders each view into `folder/images`."""
    from PIL import Image

    samples_per_unit = camera.fx / RADIUS * options.samples_per_axis
    caster = Raycaster(
        surface,
        shading=options.shading,
        samples_per_axis=options.samples_per_axis,
        samples_per_unit=samples_per_unit,
    )
    for index, pose in enumerate(poses):
        Image.fromarray(caster.render(pose, camera)).save(folder / image_name(index), compress_level=4)
        if on_view is not None:
            on_view()


def image_name(index: int) -> str:
    """Path of a view's image inside its scene."""
    return f"images/{index:04d}.png"


def scene_transforms(
    poses: Float[np.ndarray, "views 4 4"], camera: PinholeCamera, bounds: Float[np.ndarray, "2 3"]
) -> dict[str, Any]:
    """The contents of `transforms.json`."""
    names = [image_name(index) for index in range(len(poses))]
    test = names[::TEST_EVERY]
    margin = AABB_MARGIN * (bounds[1] - bounds[0])
    return {
        "camera_model": "PINHOLE",
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "w": camera.width,
        "h": camera.height,
        "aabb": [(bounds[0] - margin).tolist(), (bounds[1] + margin).tolist()],
        "train_filenames": [name for index, name in enumerate(names) if index % TEST_EVERY],
        "val_filenames": test,
        "test_filenames": test,
        "frames": [
            {"file_path": name, "transform_matrix": pose.tolist()} for name, pose in zip(names, poses, strict=True)
        ],
    }


def move_into_place(finished: Path, folder: Path) -> None:
    """Renames a finished scene to its name; an older scene is moved aside first and deleted last."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    finished.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
