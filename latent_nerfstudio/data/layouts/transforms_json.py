"""The layout of Nerfstudio and instant-ngp: `transforms.json`, images where it says."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Optional

import numpy as np
from jaxtyping import Float
from nerfstudio.cameras.cameras import CAMERA_MODEL_TO_TYPE, CameraType
from tqdm import tqdm

from latent_nerfstudio.data.layouts.files_of_folders import FilesOfFolders
from latent_nerfstudio.data.layouts.frames import SPLITS, SceneFrames, scene_name
from latent_nerfstudio.data.layouts.image_files import ImageHeader, read_image_header, read_image_headers
from latent_nerfstudio.data.validation import (
    LARGEST,
    SMALLEST,
    check_known,
    check_poses,
    check_positive,
    check_unique,
    check_view_count,
)
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import check_values, read_text
from latent_nerfstudio.pictures import SUFFIXES

DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")
"""In the order of nerfstudio's `distortion_params`."""

CAMERA_TYPES = (CameraType.PERSPECTIVE, CameraType.FISHEYE, CameraType.EQUIRECTANGULAR)
"""What latents can be rendered for: the others need rays or parameters of their own."""

CAMERA_MODELS = {name: kind for name, kind in CAMERA_MODEL_TO_TYPE.items() if kind in CAMERA_TYPES}

NGP_SCALE, NGP_OFFSET = 0.33, 0.5
"""How instant-ngp brings positions into its unit cube, position * scale + offset, where the file does not say."""


@dataclass(frozen=True)
class ListedFrame:
    """One entry of `frames` whose image is on disk."""

    name: str
    """The entry's file_path, without a leading './'."""
    image_path: Path
    """Where the image is."""
    entry: Mapping[str, Any]
    """The entry itself."""


def read_transforms(folder: Path, json_path: Optional[Path] = None) -> SceneFrames:
    """Reads a scene in the layout of Nerfstudio or instant-ngp, named after its folder, which image paths are relative
    to.

    Intrinsics are looked up as in nerfstudio: a value at the top of the file holds for all frames, else each frame has
    its own. In addition, as in instant-ngp, the focal length may come from `camera_angle_x` (radians) or `x_fov`
    (degrees), the principal point defaults to the middle of the image, image paths may lack their extension, and
    `dynamic_mask_NAME.png` beside an image marks what is left out of it. Frames are sorted by path, as nerfstudio
    does."""
    json_path = json_path or folder / "transforms.json"
    frames = read_frames(load_json(json_path), folder, json_path, sort=True)
    check_view_count(len(frames), json_path, frames.absent)
    return frames


def load_json(path: Path) -> dict[str, Any]:
    """Loads a JSON object from a file in UTF-8, with or without a byte-order mark."""
    text = read_text(path)
    check_values(text, path, "split the scene")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise ValueError(problem(where, "JSON", f"'{error.msg}'", "repair the file")) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets without end
        reason = "a number of too many digits" if isinstance(error, ValueError) else "brackets nested too deep"
        raise ValueError(problem(path, "JSON", reason, "repair the file")) from error
    if not isinstance(content, dict):
        raise ValueError(problem(path, "a JSON object", f"a {type(content).__name__}", "write {'frames': [...]}"))
    return content


def read_frames(meta: Mapping[str, Any], folder: Path, where: Path, sort: bool) -> SceneFrames:
    """Reads the frames of one camera file, any number; those whose images are not on disk are in `absent`. They are
    sorted by path, or keep the file's order."""
    files = FilesOfFolders(folder)
    listed, absent = _find_images(_entries(meta, where), files, where, sort)
    names, frames = [frame.name for frame in listed], [frame.entry for frame in listed]
    headers = read_image_headers([frame.image_path for frame in listed])
    widths, heights = _image_sizes(meta, frames, headers, listed, where)
    fx, fy = _focal_lengths(meta, frames, widths, heights, where)
    cx, cy = _lookup(meta, frames, "cx", where), _lookup(meta, frames, "cy", where)
    check_positive(fx, "focal length fl_x", names, where)
    check_positive(fy, "focal length fl_y", names, where)
    applied = None
    if "applied_transform" in meta:
        matrix = _matrix(meta["applied_transform"], "applied_transform", where)
        applied = _finite(matrix, "applied_transform", where)
    return SceneFrames(
        name=scene_name(folder),
        image_paths=tuple(frame.image_path for frame in listed),
        headers=tuple(headers),
        camera_to_worlds=_poses(frames, names, where),
        fx=fx,
        fy=fy,
        cx=_finite(widths / 2.0 if cx is None else cx, "cx", where),
        cy=_finite(heights / 2.0 if cy is None else cy, "cy", where),
        camera_type=_camera_type(meta, where),
        distortion=_distortion(meta, frames, where),
        splits=_splits(meta, listed, absent, files, where),
        aabb=_aabb(meta, where),
        capture_box=_capture_box(meta, where),
        mask_paths=_masks(listed, headers, lambda frame: _named_mask(frame, files, where)),
        dynamic_masks=_masks(listed, headers, lambda frame: _dynamic_mask(frame, files)),
        absent=tuple(absent),
        applied_transform=applied,
        applied_scale=_positive(meta.get("applied_scale", 1.0), "applied_scale", where),
    )


def _entries(meta: Mapping[str, Any], where: Path) -> list[Mapping[str, Any]]:
    """The list `frames`, each entry with a file_path."""
    frames = meta.get("frames")
    if not isinstance(frames, list):
        got = "no 'frames'" if frames is None else f"a {type(frames).__name__}"
        raise ValueError(problem(where, "a list 'frames'", got, "write one entry a view"))
    for index, entry in enumerate(frames):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            do = "write the image's path as 'file_path'"
            got = f"{shown(entry):.60}"
            raise ValueError(problem(f"{where}, frame {index}", "an object with 'file_path'", got, do))
    return frames


def normalised_name(file_path: str) -> str:
    """A path with forward slashes and without '.' parts, as camera files of Windows do not have it."""
    return str(PurePosixPath(file_path.replace("\\", "/")))


def _find_images(
    entries: Sequence[Mapping[str, Any]], files: FilesOfFolders, where: Path, sort: bool
) -> tuple[list[ListedFrame], list[str]]:
    """The frames whose images are on disk, each file once, and the names of the others."""
    listed, absent = [], []
    for entry in tqdm(entries, "Looking for images", delay=2, leave=False, unit="frame"):
        name = normalised_name(entry["file_path"])
        path = files.find(name, SUFFIXES)
        if path is None:
            absent.append(name)
        else:
            listed.append(ListedFrame(name, path, entry))
    if sort:
        listed.sort(key=lambda frame: PurePosixPath(frame.name).parts)
        absent.sort()
    check_unique([frame.name for frame in listed] + absent, "'frames'", where)
    check_unique([files.real(frame.image_path) for frame in listed], "'frames'", where)
    return listed, absent


def _number(value: object, what: str, where: Path) -> float:
    """A finite float from a JSON value."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not abs(number) <= LARGEST:
        expected = f"a finite number up to {LARGEST:g}"
        raise ValueError(problem(f"{where}, {what}", expected, f"{shown(value):.60}", "repair the camera file"))
    return number


def _positive(value: object, what: str, where: Path) -> float:
    """A finite float above zero from a JSON value."""
    number = _number(value, what, where)
    if number < SMALLEST:
        raise ValueError(problem(f"{where}, {what}", "a positive number", f"{number:g}", "repair the camera file"))
    return number


def shown(value: object) -> str:
    """A value for a message; Python refuses to spell out numbers of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _finite(values: Float[np.ndarray, "..."], what: str, where: Path) -> Float[np.ndarray, "..."]:
    """The values, checked to be finite."""
    if not (np.abs(values) <= LARGEST).all():
        expected, got = f"finite numbers up to {LARGEST:g}", "NaN, infinity or more"
        raise ValueError(problem(f"{where}, {what}", expected, got, "repair the camera file"))
    return values


def _lookup(
    meta: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], key: str, where: Path
) -> Optional[Float[np.ndarray, " views"]]:
    """A number a view: the file's own where it has one, else each frame's; None where there is neither."""
    if key in meta:
        return np.full(len(frames), _number(meta[key], key, where))
    lacking = [index for index, frame in enumerate(frames) if key not in frame]
    if len(lacking) == len(frames):
        return None
    if lacking:
        got = f"none for '{normalised_name(frames[lacking[0]]['file_path'])}'"
        raise ValueError(problem(f"{where}, {key}", "a value at the top or in every frame", got, "add the value"))
    return np.array([_number(frame[key], f"{key} of '{frame['file_path']}'", where) for frame in frames])


def _image_sizes(
    meta: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
    headers: Sequence[ImageHeader],
    listed: Sequence[ListedFrame],
    where: Path,
) -> tuple[np.ndarray, np.ndarray]:
    """Widths and heights from the images' headers, which w and h, where given, must agree with."""
    widths = np.array([header.width for header in headers], dtype=np.int64)
    heights = np.array([header.height for header in headers], dtype=np.int64)
    declared_widths, declared_heights = _lookup(meta, frames, "w", where), _lookup(meta, frames, "h", where)
    wrong = np.zeros(len(frames), dtype=bool)
    if declared_widths is not None:
        wrong |= declared_widths.astype(np.int64) != widths
    if declared_heights is not None:
        wrong |= declared_heights.astype(np.int64) != heights
    if wrong.any():
        index = int(np.argmax(wrong))
        width = "?" if declared_widths is None else f"{declared_widths[index]:g}"
        height = "?" if declared_heights is None else f"{declared_heights[index]:g}"
        expected = f"{width} x {height} pixels (width x height), as {where} says"
        got = f"{widths[index]} x {heights[index]}"
        do = "use the images that the cameras were made for, or scale w, h, fl_x, fl_y, cx and cy with the images"
        if headers[index].orientation > 1:
            got += f" as stored, which EXIF orientation {headers[index].orientation} has viewers turn"
            do = "turn the images themselves and remove the tag, if the cameras were made for turned ones"
        raise ValueError(problem(listed[index].image_path, expected, got, do))
    return widths, heights


def _focal_lengths(
    meta: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
    widths: np.ndarray,
    heights: np.ndarray,
    where: Path,
) -> tuple[Float[np.ndarray, " views"], Float[np.ndarray, " views"]]:
    """Focal lengths in pixels; along y that along x stands in for one that is not given."""
    fx = _focal_length(meta, frames, "x", widths, where)
    fy = _focal_length(meta, frames, "y", heights, where)
    if fx is None:
        got = "neither" if fy is None else "fl_y or camera_angle_y alone"
        do = "add fl_x (pixels) or camera_angle_x (radians)"
        raise ValueError(problem(f"{where}, intrinsics", "fl_x or camera_angle_x", got, do))
    return fx, fx if fy is None else fy


def _focal_length(
    meta: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], axis: str, sizes: np.ndarray, where: Path
) -> Optional[Float[np.ndarray, " views"]]:
    """Focal length along one axis, from the pixels or from the field of view."""
    focal = _lookup(meta, frames, f"fl_{axis}", where)
    if focal is not None:
        return focal
    degrees = _lookup(meta, frames, f"{axis}_fov", where)
    angle = np.deg2rad(degrees) if degrees is not None else _lookup(meta, frames, f"camera_angle_{axis}", where)
    if angle is None:
        return None
    if ((angle <= 0) | (angle >= np.pi)).any():
        what = f"{where}, field of view along {axis}"
        got = f"{angle.min() if angle.min() <= 0 else angle.max():g} radians"
        raise ValueError(problem(what, "an angle between 0 and 180 degrees", got, "repair the camera file"))
    return 0.5 * sizes / np.tan(0.5 * angle)


def _poses(frames: Sequence[Mapping[str, Any]], names: Sequence[str], where: Path) -> Float[np.ndarray, "views 3 4"]:
    """The poses of the frames: 4 x 4 or 3 x 4 in the file, rigid."""
    if not frames:
        return np.zeros((0, 3, 4))
    matrices = [_matrix(frame.get("transform_matrix"), name, where) for frame, name in zip(frames, names, strict=True)]
    camera_to_worlds = np.stack(matrices)
    check_poses(camera_to_worlds, names, where)
    return camera_to_worlds


def _matrix(value: object, name: str, where: Path) -> Float[np.ndarray, "3 4"]:
    """One pose as 3 x 4."""
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape not in ((4, 4), (3, 4)):
        got = "none" if value is None else f"shape {list(matrix.shape)}" if matrix.size else f"{shown(value):.60}"
        what = f"{where}, transform_matrix of '{name}'"
        raise ValueError(problem(what, "4 x 4 numbers", got, "write the camera-to-world matrix"))
    return matrix[:3]


def _camera_type(meta: Mapping[str, Any], where: Path) -> CameraType:
    """The camera model; instant-ngp's `is_fisheye` counts where there is no camera_model."""
    if "camera_model" not in meta:
        return CameraType.FISHEYE if meta.get("is_fisheye", False) else CameraType.PERSPECTIVE
    model = meta["camera_model"]
    if not isinstance(model, str) or model not in CAMERA_MODELS:
        do = "undistort the images to one of these"
        what = f"{where}, camera_model"
        raise ValueError(problem(what, f"one of {', '.join(CAMERA_MODELS)}", f"{shown(model):.60}", do))
    return CAMERA_MODELS[model]


def _distortion(
    meta: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], where: Path
) -> Float[np.ndarray, "views 6"]:
    """Distortion parameters in nerfstudio's order."""
    # nerfstudio does not look at k4 here.
    in_file = any(key in meta for key in ("k1", "k2", "k3", "p1", "p2", "distortion_params"))
    sources = [meta] if in_file else frames
    rows = np.array([_distortion_row(source, where) for source in sources]).reshape(len(sources), 6)
    return np.broadcast_to(rows, (len(frames), 6)).copy()


def _distortion_row(source: Mapping[str, Any], where: Path) -> list[float]:
    """k1, k2, k3, k4, p1, p2 of the file or of a frame."""
    if "distortion_params" not in source:
        return [_number(source.get(key, 0.0), key, where) for key in DISTORTION_KEYS]
    values = source["distortion_params"]
    if not isinstance(values, list) or len(values) != 6:
        do = "write k1, k2, k3, k4, p1, p2; models with more parameters are not supported"
        raise ValueError(problem(f"{where}, distortion_params", "6 numbers", f"{shown(values):.60}", do))
    return [_number(value, "distortion_params", where) for value in values]


def _splits(
    meta: Mapping[str, Any], listed: Sequence[ListedFrame], absent: Sequence[str], files: FilesOfFolders, where: Path
) -> dict[str, tuple[int, ...]]:
    """View indices of the splits in `train_filenames`, `val_filenames` and `test_filenames`."""
    if not any(meta.get(f"{split}_filenames") for split in SPLITS):
        return {}
    # A split may name an image with its extension although the frame does not, and absent images are known too.
    known: dict[str, int] = {files.place(name): -1 for name in absent}
    for index, frame in enumerate(listed):
        paths = files.place(frame.name), os.path.abspath(frame.image_path), files.real(frame.image_path)
        known.update(dict.fromkeys(paths, index))
    splits = {}
    for split in SPLITS:
        key = f"{split}_filenames"
        if not meta.get(key):
            continue
        if not isinstance(meta[key], list) or not all(isinstance(name, str) for name in meta[key]):
            do = "list the file_path of each of its frames"
            raise ValueError(problem(f"{where}, {key}", "a list of paths", f"{shown(meta[key]):.60}", do))
        places = {name: files.place(normalised_name(name)) for name in meta[key]}
        places = {name: place if place in known else files.real(place) for name, place in places.items()}
        check_known(meta[key], {name for name, place in places.items() if place in known}, key, where)
        check_unique([places[name] for name in meta[key]], key, where)
        splits[split] = tuple(sorted({known[place] for place in places.values()} - {-1}))
    return splits


def _aabb(meta: Mapping[str, Any], where: Path) -> Optional[Float[np.ndarray, "2 3"]]:
    """The optional box: two corners, or six numbers."""
    if "aabb" not in meta:
        return None
    try:
        aabb = np.array(meta["aabb"], dtype=np.float64).reshape(2, 3)
    except (TypeError, ValueError, OverflowError):
        aabb = np.full((2, 3), np.nan)
    if not (np.abs(aabb) <= LARGEST).all() or not (np.diff(aabb.astype(np.float32), axis=0) > 0).all():
        expected = "two corners [[x, y, z], [x, y, z]], the lower one first"
        do = "write the scene's bounds in world units, or remove the entry"
        raise ValueError(problem(f"{where}, aabb", expected, f"{shown(meta['aabb']):.80}", do))
    return aabb


def _capture_box(meta: Mapping[str, Any], where: Path) -> Optional[Float[np.ndarray, "2 3"]]:
    """The cube of instant-ngp's `aabb_scale`, in the units of the poses: ([0.5 - s / 2, 0.5 + s / 2] - offset) / scale.

    instant-ngp exchanges the axes after the offset, which the cube does not notice.
    """
    if "aabb_scale" not in meta and "offset" not in meta:
        return None
    half = 0.5 * _positive(meta.get("aabb_scale", 1), "aabb_scale", where)
    scale = _positive(meta.get("scale", NGP_SCALE), "scale", where)
    offset = meta.get("offset", [NGP_OFFSET] * 3)
    if not isinstance(offset, list) or len(offset) != 3:
        raise ValueError(problem(f"{where}, offset", "3 numbers", f"{shown(offset):.60}", "repair the camera file"))
    centre = 0.5 - np.array([_number(value, "offset", where) for value in offset])
    return np.stack([centre - half, centre + half]) / scale


def _masks(
    listed: Sequence[ListedFrame], headers: Sequence[ImageHeader], find: Callable[[ListedFrame], Optional[Path]]
) -> tuple[Optional[Path], ...]:
    """A mask a frame, each as large as its image; None for those that keep all."""
    paths = tuple(find(frame) for frame in listed)
    for path, header in zip(paths, headers, strict=True):
        mask = header if path is None else read_image_header(path, any_mode=True)
        if (mask.width, mask.height) != (header.width, header.height):
            expected = f"{header.width} x {header.height} pixels, as its image"
            raise ValueError(problem(path, expected, f"{mask.width} x {mask.height}", "resize the mask"))
    return paths


def _named_mask(frame: ListedFrame, files: FilesOfFolders, where: Path) -> Optional[Path]:
    """The mask that a frame names in `mask_path`."""
    name = frame.entry.get("mask_path")
    if name is None:
        return None
    path = files.find(normalised_name(str(name)), SUFFIXES)
    if path is None:
        do = "put the mask where the camera file says it is"
        raise FileNotFoundError(problem(f"{where}, mask of '{frame.name}'", name, "no such file", do))
    return path


def _dynamic_mask(frame: ListedFrame, files: FilesOfFolders) -> Optional[Path]:
    """The mask of what moves, which instant-ngp looks for beside an image."""
    path = frame.image_path
    return files.find(os.path.abspath(path.with_name(f"dynamic_mask_{path.stem}.png")))
