"""What a scene on disk is made from: its folder, its files, and a hash that tells when they are others."""

import hashlib
import os
from pathlib import Path
from typing import Optional, Sequence

import numpy as np

from latent_nerfstudio.data.layouts import SceneFrames, read_scene, reader_of
from latent_nerfstudio.files.reading import read_bytes


def scene_folder(data: Path, name: str) -> Path:
    """The folder of a scene: within the data folder, or that folder itself."""
    return data if reader_of(data) is not None else data / name


def first_readable(folders: Sequence[Path]) -> Optional[SceneFrames]:
    """The first of some scene folders that can be read, of the first ten."""
    for folder in folders[:10]:
        try:
            return read_scene(folder)
        except (ValueError, OSError):
            continue
    return None


def longest_side(folders: Sequence[Path]) -> int:
    """Longest side, pixels, of the photos of `first_readable`; 0 where there is none."""
    frames = first_readable(folders)
    return 0 if frames is None else int(max(frames.widths.max(), frames.heights.max()))


def source_hash(frames: SceneFrames) -> str:
    """16 hexadecimal digits of what a scene is fitted from: its pictures, masks, cameras, splits and box."""
    result = hashlib.sha256()
    for path in files_of(frames):
        result.update(hashlib.sha256(read_bytes(path)).digest())
    for name in ("mask_paths", "dynamic_masks"):
        masks = getattr(frames, name)
        if any(masks) and not all(masks):  # which views have one
            result.update(name.encode() + bytes(path is not None for path in masks))
    for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "widths", "heights", "distortion", "aabb"):
        value = getattr(frames, name)
        if value is not None and np.any(value):
            result.update(name.encode() + np.asarray(value, dtype=np.float64).tobytes())
    result.update(repr((frames.camera_type.value, sorted(frames.splits.items()))).encode())
    return result.hexdigest()[:16]


def sources_hash(data: Path, names: Sequence[str]) -> str:
    """16 hexadecimal digits of what many scenes are learned from, see `source_hash`."""
    hashes = [source_hash(read_scene(scene_folder(data, name))) for name in names]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def files_of(frames: SceneFrames) -> Sequence[Path]:
    paths = (*frames.image_paths, *frames.mask_paths, *frames.dynamic_masks)
    return [path for path in paths if path is not None]


def folder_stamp(folder: Path) -> str:
    """16 hexadecimal digits that change when a file below a folder is written, added or removed, without reading any:
    by sizes, times of writing, and times of any change, which copying cannot fake."""
    result = hashlib.sha256()
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            about = os.stat(path) if os.path.exists(path) else os.lstat(path)  # a link may lead to nothing
            times = f"{about.st_mtime_ns}:{about.st_ctime_ns}"
            result.update(f"{os.path.relpath(place, folder)}/{name}:{about.st_size}:{times}\n".encode())
    return result.hexdigest()[:16]


def lies_within(frames: SceneFrames, folder: Path) -> bool:
    """Whether all files of a scene lie below its folder and not behind links, so that `folder_stamp` sees them."""
    root = os.path.realpath(folder)
    places = {os.path.realpath(os.path.dirname(path)) for path in files_of(frames)}
    return all(place == root or place.startswith(root + os.sep) for place in places)
