"""The one writer of transforms.json, in Nerfstudio's format, and of scenes of rendered pictures. Imports nothing of
Nerfstudio, which takes seconds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from jaxtyping import Float, UInt8

from latent_nerfstudio.files.replacing import write_text


def frames_of(
    names: Sequence[str], poses: Float[np.ndarray, "views rows 4"], each: Optional[Sequence[Mapping[str, Any]]] = None
) -> list[dict[str, Any]]:
    """The list `frames` of OpenGL poses, 3 x 4 or 4 x 4, by the path of each picture, with what else is in `each`."""
    whole = np.tile(np.eye(4), (len(poses), 1, 1))
    whole[:, : poses.shape[1]] = poses
    rest = [{}] * len(names) if each is None else each
    return [
        {"file_path": name, "transform_matrix": pose.tolist(), **more}
        for name, pose, more in zip(names, whole, rest, strict=True)
    ]


def pinhole(
    width: int, height: int, fx: float, fy: float, cx: Optional[float] = None, cy: Optional[float] = None
) -> dict[str, Any]:
    """Intrinsics in pixels, those of the whole file or of a frame; the principal point is the middle by default."""
    centre = {"cx": width / 2 if cx is None else cx, "cy": height / 2 if cy is None else cy}
    return {"fl_x": fx, "fl_y": fy, **centre, "w": width, "h": height}


def split_of(train: Sequence[str], held_out: Sequence[str]) -> dict[str, list[str]]:
    """The entries that say which pictures, by the paths in `frames`, are learned from, and which are held out."""
    return {"train_filenames": list(train), "val_filenames": list(held_out), "test_filenames": list(held_out)}


def write_pictures(
    folder: Path,
    pictures: Iterable[UInt8[np.ndarray, "_ _ _"]],
    poses: Float[np.ndarray, "views rows 4"],
    each: Optional[Sequence[Mapping[str, Any]]] = None,
    held_out_every: int = 0,
    **top: Any,
) -> None:
    """Writes pictures and their cameras, see `frames_of`, into a folder, which is made; every n-th is held out."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    names = [f"images/{index:04d}.png" for index in range(len(poses))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name, compress_level=4)
    if held_out_every:
        held_out, train = names[::held_out_every], [n for i, n in enumerate(names) if i % held_out_every]
        top |= split_of(train, held_out)
    write_camera_file(folder, frames_of(names, poses, each), **top)


def write_camera_file(folder: Path, frames: Sequence[Mapping[str, Any]], **top: Any) -> None:
    """Writes `folder/transforms.json`; `top` are entries that stand before the frames, arrays of which become lists."""
    entries = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in top.items()}
    content = {"camera_model": "PINHOLE", **entries, "frames": list(frames)}
    write_text(folder / "transforms.json", json.dumps(content, indent=1) + "\n")
