"""Small scenes on disk for the tests of the dataparser: cameras on a sphere, images of a few pixels."""

import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np
import tiny
from PIL import Image

poses_around = partial(tiny.poses_around, radius=2.6)
"""Poses as those of the other tests, a little farther away."""


def ball_mask(pose: np.ndarray, focal: float, size: int, radius: float) -> np.ndarray:
    """Silhouette (size x size) of a ball about the origin."""
    v, u = np.mgrid[:size, :size] + 0.5
    directions = np.stack([(u - size / 2) / focal, -(v - size / 2) / focal, -np.ones_like(u)], axis=-1)
    directions = directions @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    closest = pose[:3, 3] - directions * (directions @ pose[:3, 3])[..., None]
    return np.linalg.norm(closest, axis=-1) < radius


def write_image(path: Path, width: int = 12, height: int = 8, mask: Optional[np.ndarray] = None) -> None:
    """Writes a grey image, with an alpha channel where there is a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if mask is None:
        Image.new("RGB", (width, height), (120, 130, 140)).save(path)
        return
    alpha = Image.fromarray((mask * 255).astype(np.uint8))
    Image.merge("RGBA", [*Image.new("RGB", alpha.size, (120, 130, 140)).split(), alpha]).save(path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """The content of a JSON file, which is written back as it is left."""
    content = json.loads(path.read_text(encoding="utf-8"))
    yield content
    write_json(path, content)


def write_transforms(folder: Path, count: int = 5, extension: str = ".png", **top: Any) -> Dict[str, Any]:
    """Writes a scene with `transforms.json` and 12 x 8 images, and returns the file's content."""
    frames: List[Dict[str, Any]] = []
    for index, pose in enumerate(poses_around(count)):
        name = f"images/view_{index:02d}{extension}"
        write_image(folder / name)
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    meta = {"fl_x": 20.0, "fl_y": 21.0, "cx": 6.5, "cy": 3.5, "w": 12, "h": 8, **top, "frames": frames}
    write_json(folder / "transforms.json", meta)
    return meta


def write_masks(folder: Path, keep: Callable[[int], np.ndarray]) -> None:
    """Gives each frame of `transforms.json` a mask, white where the pixels of its number are to be kept."""
    meta = json.loads((folder / "transforms.json").read_text())
    (folder / "masks").mkdir()
    for index, frame in enumerate(meta["frames"]):
        frame["mask_path"] = f"masks/{index}.png"
        Image.fromarray((keep(index) * 255).astype(np.uint8)).save(folder / frame["mask_path"])
    write_json(folder / "transforms.json", meta)


def write_balls(folder: Path, count: int = 24, size: int = 64, focal: float = 66.0, radius: float = 0.6) -> None:
    """Writes a scene with `transforms.json` that shows a ball about the origin on a transparent background."""
    frames = []
    for index, pose in enumerate(poses_around(count)):
        write_image(folder / f"{index:02d}.png", mask=ball_mask(pose, focal, size, radius))
        frames.append({"file_path": f"{index:02d}.png", "transform_matrix": pose.tolist()})
    write_json(folder / "transforms.json", {"fl_x": focal, "fl_y": focal, "frames": frames})


def write_blender(folder: Path, train: int = 4, val: int = 0, test: int = 0) -> None:
    """Writes a scene in the Blender layout with 8 x 8 images; a split of no views has no file."""
    for seed, (split, count) in enumerate({"train": train, "val": val, "test": test}.items()):
        if count == 0:
            continue
        frames = []
        for index, pose in enumerate(poses_around(count, seed=seed)):
            write_image(folder / split / f"r_{index}.png", 8, 8, mask=np.eye(8, dtype=bool))
            frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": pose.tolist()})
        write_json(folder / f"transforms_{split}.json", {"camera_angle_x": 0.6911, "frames": frames})


def write_srn(folder: Path, count: int = 3, size: int = 16, intrinsics: Optional[str] = None) -> np.ndarray:
    """Writes a scene in the SRN layout, intrinsics for 128 x 128, and returns its OpenGL poses."""
    poses = poses_around(count)
    for index, pose in enumerate(poses):
        write_image(folder / "rgb" / f"{index:06d}.png", size, size)
        (folder / "pose").mkdir(exist_ok=True)
        in_opencv = pose @ np.diag([1.0, -1.0, -1.0, 1.0])
        (folder / "pose" / f"{index:06d}.txt").write_text(" ".join(map(repr, in_opencv.ravel().tolist())))
    text = "131.25 64.0 62.0 0.\n0. 0. 0.\n1.\n1.\n128 128\n" if intrinsics is None else intrinsics
    (folder / "intrinsics.txt").write_text(text)
    return poses
