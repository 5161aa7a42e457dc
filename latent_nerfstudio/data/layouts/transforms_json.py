"""The layout of Nerfstudio and instant-ngp: `transforms.json`, images where it says."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Optional

import numpy as np
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import CAMERA_MODEL_TO_TYPE, CameraType
from tqdm import tqdm

from latent_nerfstudio.data.layouts.frames import SPLITS, SceneFrames, scene_name
from latent_nerfstudio.data.layouts.image_files import ImageHeader, read_image_header, read_image_headers
from latent_nerfstudio.data.validation import (
    LARGEST,
    SMALLEST,
    check_last_row,
    check_poses,
    check_positive,
    check_unique,
    check_view_count,
)
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.reading import LARGEST_TEXT, read_json
from latent_nerfstudio.pictures import SUFFIXES

INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "x_fov", "y_fov", "camera_angle_x", "camera_angle_y")
"""Entries of the file or of its frames."""

SAME = 1e-3
"""Difference, or share of what is above 1, up to which intrinsics at the top and of a frame say the same."""

DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")
"""In the order of nerfstudio's `distortion_params`."""

CAMERA_TYPES = (CameraType.PERSPECTIVE, CameraType.FISHEYE, CameraType.EQUIRECTANGULAR)
"""What latents can be rendered for: the others need rays or parameters of their own."""

CAMERA_MODELS = {name: kind for name, kind in CAMERA_MODEL_TO_TYPE.items() if kind in CAMERA_TYPES}

NGP_SCALE, NGP_OFFSET = 0.33, 0.5
"""How instant-ngp brings positions into its unit cube, position * scale + offset, where the file does not say."""


class ListedFrame(NamedTuple):
    """An entry of `frames` whose image is on disk, and its file_path, without a leading './'."""

    name: str
    image_path: Path
    entry: Mapping[str, Any]


def read_transforms(folder: Path, json_path: Optional[Path] = None) -> SceneFrames:
    """Reads a scene in the layout of Nerfstudio or instant-ngp, named after its folder, which image paths are relative
    to. Frames are sorted by path, and a value at the top of the file holds for all frames, as in nerfstudio. As in
    instant-ngp, the focal length may come from `camera_angle_x` (radians) or `x_fov` (degrees), the principal point
    defaults to the middle of the image, image paths may lack their extension, and `dynamic_mask_NAME.png` beside an
    image marks what is left out of it."""
    json_path = json_path or folder / "transforms.json"
    frames = read_frames(json_path, folder, sort=True)
    check_view_count(len(frames), json_path, frames.absent)
    return frames


def read_frames(path: Path, folder: Path, sort: bool) -> SceneFrames:
    """Reads the frames of one camera file, sorted by path or in its order; those without images are in `absent`."""
    meta = read_json(path, "repair the file", LARGEST_TEXT, strict=False)
    listed, absent = _find_images(_entries(meta, path), folder, path, sort)
    headers = read_image_headers([frame.image_path for frame in listed])
    return CameraFile(meta, path, folder, listed, headers, absent).scene(scene_name(folder))


def _entries(meta: Mapping[str, Any], where: Path) -> list[Mapping[str, Any]]:
    """The list `frames`, each entry with a file_path."""
    frames = meta.get("frames")
    if not isinstance(frames, list):
        got = "no 'frames'" if frames is None else f"a {type(frames).__name__}"
        raise ValueError(problem(where, "a list 'frames'", got, "write one entry a view"))
    for index, entry in enumerate(frames):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            do = "write the image's path as 'file_path'"
            raise ValueError(problem(f"{where}, frame {index}", "an object with 'file_path'", f"{entry!r:.60}", do))
    return frames


def normalised_name(file_path: str) -> str:
    """A path with forward slashes and without '.' parts, as camera files of Windows do not have it."""
    return str(PurePosixPath(file_path.replace("\\", "/")))


def _find_images(
    entries: Sequence[Mapping[str, Any]], folder: Path, where: Path, sort: bool
) -> tuple[list[ListedFrame], list[str]]:
    """The frames whose images are on disk, each file once, and the names of the others."""
    listed, absent = [], []
    for entry in tqdm(entries, "Looking for images", delay=2, leave=False, unit="frame"):
        name = normalised_name(entry["file_path"])
        path = find_file(folder, name, SUFFIXES)
        if path is None:
            absent.append(name)
        else:
            listed.append(ListedFrame(name, path, entry))
    if sort:
        listed.sort(key=lambda frame: PurePosixPath(frame.name).parts)
        absent.sort()
    check_unique([frame.name for frame in listed] + absent, "'frames'", where)
    check_unique([real_path(frame.image_path) for frame in listed], "'frames'", where)
    return listed, absent


def find_file(folder: Path, name: str, suffixes: Sequence[str] = ()) -> Optional[Path]:
    """Where a file is: as it is named, or with a suffix behind ('frame.001' has no extension); None if nowhere."""
    paths = (os.path.join(folder, name + suffix) for suffix in ("", *suffixes))
    return next((Path(path) for path in paths if os.path.exists(path) and not os.path.isdir(path)), None)


def real_path(path: Path) -> str:
    """The path of a file behind all links: one file, one path."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a name that no file can have
        return str(path)


@dataclass(frozen=True)
class CameraFile:
    """One camera file, whose entries, `meta`, are checked as they are read. Its paths are relative to `folder`;
    `listed` are the frames whose images, with `headers`, are on disk: the views; `absent` the other images."""

    meta: Mapping[str, Any]
    where: Path
    folder: Path
    listed: Sequence[ListedFrame]
    headers: Sequence[ImageHeader]
    absent: Sequence[str]

    def scene(self, name: str) -> SceneFrames:
        widths, heights = self.image_sizes().T
        fx, fy = self.focal_lengths(widths, heights)
        cx, cy = self.lookup("cx"), self.lookup("cy")
        check_positive(fx, "focal length fl_x", self.names, self.where)
        check_positive(fy, "focal length fl_y", self.names, self.where)
        applied = self.matrix(self.meta.get("applied_transform") or np.eye(4)[:3].tolist(), "applied_transform")
        return SceneFrames(
            name=name,
            image_paths=tuple(frame.image_path for frame in self.listed),
            headers=tuple(self.headers),
            camera_to_worlds=self.poses(),
            fx=fx,
            fy=fy,
            cx=self.finite(widths / 2.0 if cx is None else cx, "cx"),
            cy=self.finite(heights / 2.0 if cy is None else cy, "cy"),
            camera_type=self.camera_type(),
            distortion=self.distortion(),
            splits=self.splits(),
            aabb=self.aabb(),
            capture_box=self.capture_box(),
            mask_paths=self.masks(self.named_mask),
            dynamic_masks=self.masks(self.dynamic_mask),
            absent=tuple(self.absent),
            applied_transform=self.finite(applied, "applied_transform"),
            applied_scale=self.positive(self.meta.get("applied_scale", 1.0), "applied_scale"),
            contradiction=self.contradiction(),
        )

    @property
    def names(self) -> list[str]:
        return [frame.name for frame in self.listed]

    # Numbers

    def refuse(self, what: str, expected: str, got: str, do: str = "repair the camera file") -> ValueError:
        return ValueError(problem(f"{self.where}, {what}", expected, got, do))

    def number(self, value: object, what: str) -> float:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not abs(number) <= LARGEST:
            raise self.refuse(what, f"a finite number up to {LARGEST:g}", f"{value!r:.60}")
        return number

    def positive(self, value: object, what: str) -> float:
        number = self.number(value, what)
        if number < SMALLEST:
            raise self.refuse(what, "a positive number", f"{number:g}")
        return number

    def finite(self, values: Float[np.ndarray, "..."], what: str) -> Float[np.ndarray, "..."]:
        if not (np.abs(values) <= LARGEST).all():
            raise self.refuse(what, f"finite numbers up to {LARGEST:g}", "NaN, infinity or more")
        return values

    def lookup(self, key: str) -> Optional[Float[np.ndarray, " views"]]:
        """A number a view: the file's own where it has one, else each frame's; None where there is neither."""
        if key in self.meta:
            return np.full(len(self.listed), self.number(self.meta[key], key))
        lacking = [frame.name for frame in self.listed if key not in frame.entry]
        if len(lacking) == len(self.listed):
            return None
        if lacking:
            raise self.refuse(key, "a value at the top or in every frame", f"none for '{lacking[0]}'", "add the value")
        return np.array([self.number(f.entry[key], f"{key} of '{f.entry['file_path']}'") for f in self.listed])

    def contradiction(self) -> str:
        """In words, which frames' own intrinsics contradict those at the top, which hold, as in Nerfstudio."""
        tops = {key: self.meta[key] for key in INTRINSICS if key in self.meta}
        if self.has_distortion and "distortion_params" not in self.meta:
            tops.update({key: self.meta.get(key, 0.0) for key in DISTORTION_KEYS})
        for key, value in tops.items():
            top = self.number(value, key)
            given = {frame.name: frame.entry.get(key) for frame in self.listed}
            own = {name: n for name, n in given.items() if isinstance(n, (int, float))}
            if others := {name: n for name, n in own.items() if not abs(n - top) <= SAME * max(1.0, abs(top))}:
                name, n = next(iter(others.items()))
                got = f"{top:g} at its top, which holds as in Nerfstudio, and {n:g} of '{name}' ({len(others)} such)"
                return problem(f"camera file, {key}", "one value a camera", got, "leave out what is wrong")
        return ""

    # Intrinsics

    def image_sizes(self) -> Int[np.ndarray, "views 2"]:
        """Widths and heights from the images' headers, which w and h, where given, must agree with."""
        sizes = np.array([(header.width, header.height) for header in self.headers], dtype=np.int64).reshape(-1, 2)
        given = self.lookup("w"), self.lookup("h")
        said = [own if one is None else one.astype(np.int64) for own, one in zip(sizes.T, given, strict=True)]
        wrong = (np.stack(said, axis=1) != sizes).any(axis=1)
        if wrong.any():
            index = int(np.argmax(wrong))
            width, height = ("?" if one is None else f"{one[index]:g}" for one in given)
            expected = f"{width} x {height} pixels (width x height), as {self.where} says"
            got = "{} x {}".format(*sizes[index])
            do = "use the images that the cameras were made for, or scale w, h, fl_x, fl_y, cx and cy with the images"
            entry = self.listed[index].entry
            if (entry.get("w"), entry.get("h")) == tuple(sizes[index]):
                do = "leave out w, h and other intrinsics at the top of the file, which hold instead of its frames' own"
            if self.headers[index].orientation > 1:
                got += f" as stored, which EXIF orientation {self.headers[index].orientation} has viewers turn"
                do = "turn the images themselves and remove the tag, if the cameras were made for turned ones"
            raise ValueError(problem(self.listed[index].image_path, expected, got, do))
        return sizes

    def focal_lengths(
        self, widths: Int[np.ndarray, " views"], heights: Int[np.ndarray, " views"]
    ) -> tuple[Float[np.ndarray, " views"], Float[np.ndarray, " views"]]:
        """Focal lengths in pixels; that along y defaults to that along x."""
        fx, fy = self.focal_length("x", widths), self.focal_length("y", heights)
        if fx is None:
            got = "neither" if fy is None else "fl_y or camera_angle_y alone"
            do = "add fl_x (pixels) or camera_angle_x (radians)"
            raise self.refuse("intrinsics", "fl_x or camera_angle_x", got, do)
        return fx, fx if fy is None else fy

    def focal_length(self, axis: str, sizes: Int[np.ndarray, " views"]) -> Optional[Float[np.ndarray, " views"]]:
        focal = self.lookup(f"fl_{axis}")
        if focal is not None:
            return focal
        degrees = self.lookup(f"{axis}_fov")
        angle = np.deg2rad(degrees) if degrees is not None else self.lookup(f"camera_angle_{axis}")
        if angle is None:
            return None
        if ((angle <= 0) | (angle >= np.pi)).any():
            got = f"{angle.min() if angle.min() <= 0 else angle.max():g} radians"
            raise self.refuse(f"field of view along {axis}", "an angle between 0 and 180 degrees", got)
        return 0.5 * sizes / np.tan(0.5 * angle)

    def camera_type(self) -> CameraType:
        """The camera model at the top or, where there is none, of all frames, which `ns-process-data` writes for more
        cameras than one; instant-ngp's `is_fisheye` counts where there is no camera_model."""
        usual = CameraType.FISHEYE if self.meta.get("is_fisheye", False) else CameraType.PERSPECTIVE
        entries = [self.meta] if "camera_model" in self.meta else [frame.entry for frame in self.listed]
        kinds = {self.camera_kind(entry["camera_model"]) if "camera_model" in entry else usual for entry in entries}
        if len(kinds) > 1:
            got = " and ".join(sorted(kind.name for kind in kinds))
            raise self.refuse("camera_model", "one kind of camera in all frames", got, "make a scene of each kind")
        return kinds.pop() if kinds else usual

    def camera_kind(self, model: object) -> CameraType:
        if not isinstance(model, str) or model not in CAMERA_MODELS:
            do = "undistort the images to one of these"
            raise self.refuse("camera_model", f"one of {', '.join(CAMERA_MODELS)}", f"{model!r:.60}", do)
        return CAMERA_MODELS[model]

    @property
    def has_distortion(self) -> bool:
        """Whether distortion is at the top, and holds for all frames; nerfstudio does not look at k4 here."""
        return any(key in self.meta for key in ("k1", "k2", "k3", "p1", "p2", "distortion_params"))

    def distortion(self) -> Float[np.ndarray, "views 6"]:
        sources = [self.meta] if self.has_distortion else [frame.entry for frame in self.listed]
        rows = [self.distortion_row(source) for source in sources]
        return np.broadcast_to(np.array(rows).reshape(len(rows), 6), (len(self.listed), 6)).copy()

    def distortion_row(self, source: Mapping[str, Any]) -> list[float]:
        if "distortion_params" not in source:
            return [self.number(source.get(key, 0.0), key) for key in DISTORTION_KEYS]
        values = source["distortion_params"]
        if not isinstance(values, list) or len(values) != 6:
            do = "write k1, k2, k3, k4, p1, p2; models with more parameters are not supported"
            raise self.refuse("distortion_params", "6 numbers", f"{values!r:.60}", do)
        return [self.number(value, "distortion_params") for value in values]

    # Poses and boxes

    def poses(self) -> Float[np.ndarray, "views 3 4"]:
        """The poses of the views: 4 x 4 or 3 x 4 in the file, rigid."""
        if not self.listed:
            return np.zeros((0, 3, 4))
        poses = np.stack(
            [self.matrix(f.entry.get("transform_matrix"), f"transform_matrix of '{f.name}'") for f in self.listed]
        )
        check_poses(poses, self.names, self.where)
        return poses

    def matrix(self, value: object, what: str) -> Float[np.ndarray, "3 4"]:
        try:
            matrix = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            matrix = np.zeros(0)
        if matrix.shape not in ((4, 4), (3, 4)):
            got = "none" if value is None else f"shape {list(matrix.shape)}" if matrix.size else f"{value!r:.60}"
            raise self.refuse(what, "4 x 4 numbers", got, "write them row by row")
        check_last_row(matrix, f"{self.where}, {what}")
        return matrix[:3]

    def aabb(self) -> Optional[Float[np.ndarray, "2 3"]]:
        """The optional box: two corners, or six numbers."""
        if "aabb" not in self.meta:
            return None
        try:
            aabb = np.array(self.meta["aabb"], dtype=np.float64).reshape(2, 3)
        except (TypeError, ValueError, OverflowError):
            aabb = np.full((2, 3), np.nan)
        if not (np.abs(aabb) <= LARGEST).all() or not (np.diff(aabb.astype(np.float32), axis=0) > 0).all():
            expected = "two corners [[x, y, z], [x, y, z]], the lower one first"
            do = "write the scene's bounds in world units, or remove the entry"
            raise self.refuse("aabb", expected, f"{self.meta['aabb']!r:.80}", do)
        return aabb

    def capture_box(self) -> Optional[Float[np.ndarray, "2 3"]]:
        """The cube of instant-ngp's `aabb_scale` s in units of the poses: ([0.5 - s/2, 0.5 + s/2] - offset) / scale."""
        meta = self.meta
        if "aabb_scale" not in meta and "offset" not in meta:
            return None
        half = 0.5 * self.positive(meta.get("aabb_scale", 1), "aabb_scale")
        scale = self.positive(meta.get("scale", NGP_SCALE), "scale")
        offset = meta.get("offset", [NGP_OFFSET] * 3)
        if not isinstance(offset, list) or len(offset) != 3:
            raise self.refuse("offset", "3 numbers", f"{offset!r:.60}")
        centre = 0.5 - np.array([self.number(value, "offset") for value in offset])
        return np.stack([centre - half, centre + half]) / scale

    # Splits and masks

    def splits(self) -> dict[str, tuple[int, ...]]:
        """View indices of the splits in `train_filenames`, `val_filenames` and `test_filenames`."""
        given = {split: self.meta[f"{split}_filenames"] for split in SPLITS if self.meta.get(f"{split}_filenames")}
        if not given:
            return {}
        # A split may name an image with its extension although the frame does not, and absent images are known too.
        known: dict[str, int] = {real_path(self.folder / name): -1 for name in self.absent}
        for index, frame in enumerate(self.listed):
            known.update(dict.fromkeys((real_path(self.folder / frame.name), real_path(frame.image_path)), index))
        splits = {}
        for split, names in given.items():
            key = f"{split}_filenames"
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise self.refuse(key, "a list of paths", f"{names!r:.60}", "list the file_path of each of its frames")
            places = {name: real_path(self.folder / normalised_name(name)) for name in names}
            if unknown := [name for name in names if places[name] not in known]:
                got, do = few_of(unknown, 1, repr), "use each frame's file_path"
                raise self.refuse(key, "paths that 'frames' lists", got, do)
            check_unique([places[name] for name in names], key, self.where)
            splits[split] = tuple(sorted({known[place] for place in places.values()} - {-1}))
        return splits

    def masks(self, find: Callable[[ListedFrame], Optional[Path]]) -> tuple[Optional[Path], ...]:
        """One mask for each view, as large as its image; None for views that keep all."""
        paths = tuple(find(frame) for frame in self.listed)
        for path, header in zip(paths, self.headers, strict=True):
            mask = header if path is None else read_image_header(path, any_mode=True)
            if (mask.width, mask.height) != (header.width, header.height):
                expected = f"{header.width} x {header.height} pixels, as its image"
                raise ValueError(problem(path, expected, f"{mask.width} x {mask.height}", "resize the mask"))
        return paths

    def named_mask(self, frame: ListedFrame) -> Optional[Path]:
        """The mask that a frame names in `mask_path`."""
        name = frame.entry.get("mask_path")
        if name in (None, ""):
            return None
        path = find_file(self.folder, normalised_name(str(name)), SUFFIXES)
        if path is None:
            do = "put the mask where the camera file says it is"
            raise FileNotFoundError(problem(f"{self.where}, mask of '{frame.name}'", name, "no such file", do))
        return path

    def dynamic_mask(self, frame: ListedFrame) -> Optional[Path]:
        """The mask of what moves, which instant-ngp looks for beside an image."""
        path = frame.image_path
        return find_file(path.parent, f"dynamic_mask_{path.stem}.png")
