"""The layout of Scene Representation Networks (ShapeNet-SRN): `rgb/`, `pose/` and `intrinsics.txt`."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.data.layouts.frames import SceneFrames, opencv_to_opengl, scene_name
from latent_nerfstudio.data.layouts.image_files import read_image_headers
from latent_nerfstudio.data.validation import (
    LARGEST,
    check_last_row,
    check_poses,
    check_positive,
    check_unique,
    check_view_count,
)
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_text
from latent_nerfstudio.pictures import SUFFIXES

LARGEST_FILE = 1 << 16
"""Bytes of intrinsics, or of a pose, at most."""


def read_srn(folder: Path) -> SceneFrames:
    """Reads a scene in the SRN layout; views are sorted by name. Poses in the OpenCV convention (y down, z forwards)
    come out in OpenGL's. Intrinsics are scaled to images of another size than that of `intrinsics.txt`."""
    (focal, cx, cy), (height, width), is_world_to_camera = _read_intrinsics(folder / "intrinsics.txt")
    images, absent = _paired(folder)
    check_view_count(len(images), folder / "rgb", absent)
    headers = read_image_headers(list(images.values()))
    scale_x = np.array([header.width for header in headers]) / width
    scale_y = np.array([header.height for header in headers]) / height
    poses = np.stack([_read_pose(folder / "pose" / f"{stem}.txt") for stem in images])
    check_poses(poses, list(images), folder / "pose")
    if is_world_to_camera:
        rotations = poses[:, :, :3].transpose(0, 2, 1)
        poses = np.concatenate([rotations, -rotations @ poses[:, :, 3:]], axis=2)
    return SceneFrames(
        name=scene_name(folder),
        image_paths=tuple(images.values()),
        headers=tuple(headers),
        camera_to_worlds=opencv_to_opengl(poses),
        fx=focal * scale_x,
        fy=focal * scale_y,
        cx=cx * scale_x,
        cy=cy * scale_y,
        distortion=np.zeros((len(headers), 6)),
        absent=tuple(absent),
    )


def _read_intrinsics(path: Path) -> tuple[list[float], tuple[int, int], bool]:
    """The numbers of `f cx cy 0`, of `height width`, and whether a 1 below says that poses are world-to-camera."""
    if not path.exists():
        do = "add the file with the lines 'f cx cy 0', origin, near plane, scale, 'height width'"
        raise FileNotFoundError(problem(path, "the intrinsics of the scene", "no such file", do))
    lines = [_numbers(line, path) for line in read_text(path, LARGEST_FILE).splitlines() if line.strip()]
    flag = lines.pop() if len(lines) > 1 and len(lines[-1]) == 1 and len(lines[-2]) == 2 else [0.0]
    if not lines or len(lines[0]) not in (3, 4) or len(lines[-1]) != 2:
        got = f"lines of {[len(line) for line in lines]} numbers"
        do = "write the lines 'f cx cy 0', origin, near plane, scale, 'height width'"
        raise ValueError(problem(path, "'f cx cy 0' first and 'height width' last", got, do))
    focal, cx, cy = lines[0][:3]
    height, width = lines[-1]
    for what, value in (("focal length", focal), ("height", np.floor(height)), ("width", np.floor(width))):
        check_positive(np.array([value]), what, ["all views"], path)
    if not (abs(cx) <= LARGEST and abs(cy) <= LARGEST):
        raise ValueError(problem(f"{path}, cx and cy", "finite numbers", f"{cx:g} and {cy:g}", "repair the file"))
    return [focal, cx, cy], (int(height), int(width)), bool(flag[0])


def _numbers(text: str, path: Path) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError as error:
        raise ValueError(problem(path, "numbers separated by blanks", f"{text!r:.60}", "repair the file")) from error


def _paired(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Images of the views by name without extension, in its order, and the names of poses that have no image."""
    pose_folder = folder / "pose"
    names = [name for name in os.listdir(folder / "rgb") if not name.startswith(".")]
    paths = [folder / "rgb" / name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES]
    check_unique([path.stem for path in paths], "images", folder / "rgb")
    images = {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}
    if not pose_folder.is_dir():
        raise FileNotFoundError(problem(pose_folder, "a folder of poses", "no such folder", "add one text file a view"))
    poses = {name[:-4] for name in os.listdir(pose_folder) if name.endswith(".txt") and not name.startswith(".")}
    if unposed := [stem for stem in images if stem not in poses]:
        what, do = pose_folder / f"{unposed[0]}.txt", "add the pose, or remove the image"
        raise FileNotFoundError(problem(what, f"the pose of '{images[unposed[0]].name}'", "no such file", do))
    return images, sorted(poses - set(images))


def _read_pose(path: Path) -> Float[np.ndarray, "3 4"]:
    """A pose file: 16 numbers, row by row, on one line or several."""
    numbers = _numbers(read_text(path, LARGEST_FILE), path)
    if len(numbers) != 16:
        raise ValueError(problem(path, "16 numbers (a 4 x 4 matrix)", len(numbers), "repair the pose"))
    matrix = np.array(numbers).reshape(4, 4)
    check_last_row(matrix, str(path))
    return matrix[:3]
