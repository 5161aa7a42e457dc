"""The dataparser `scenes`: one scene folder, or a folder of scene folders, as one set of cameras."""

import dataclasses
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_utils import auto_orient_and_center_poses
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.utils.colors import COLORS_DICT, get_color
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from tqdm import tqdm

from latent_nerfstudio.data import bounds
from latent_nerfstudio.data.bounds import scaled_box, transformed_box, union_of_boxes
from latent_nerfstudio.data.layouts import LAYOUTS_LOOKED_FOR, read_scene, read_transforms, reader_of
from latent_nerfstudio.data.layouts.frames import SPLITS, SceneFrames, complete_splits, scene_name
from latent_nerfstudio.data.validation import LARGEST, SMALLEST
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.places import check_scenes_there
from latent_nerfstudio.names import check_known, check_names, take_name
from latent_nerfstudio.pictures import SUFFIXES, read_silhouette

READING_THREADS = 4
"""Threads that read files. A local disk gains little by them, a network disk much."""

PROBED_SCENES = 16
"""Scenes whose silhouettes are looked at: of more, this many evenly spaced ones."""

PROBED_IMAGES = 192
"""Images opened for silhouettes in all, between 12 and 24 a scene."""

UNPROBED_MARGIN = 1.1
"""Growth of the box where some scenes were not looked at."""


@dataclass
class ScenesDataParserConfig(DataParserConfig):
    """One scene or many: a scene folder, or a folder of scene folders."""

    _target: type = field(default_factory=lambda: ScenesDataParser)
    """target class to instantiate"""
    data: Path = Path()
    """A scene folder, its camera file, or a folder of scene folders."""
    scenes: tuple[str, ...] = ()
    """Names of the scenes to use; empty: all. Their order has no effect: scenes are sorted by name."""
    max_scenes: Optional[int] = None
    """Use this many scenes at most, the first by name; None: all."""
    eval_interval: int = 10
    """Where a scene has no split of its own, views 0, n, 2n, ... in name order are for evaluation (10: 10 %)."""
    held_out_from: int = 2
    """Views that a scene without a split of its own must have for some of them to be held out; one with fewer is
    trained on all, and evaluated on the same."""
    orientation_method: Literal["pca", "up", "vertical", "none"] = "none"
    """How to orient each scene. None by default: scenes that share planes need the frame they were made in."""
    center_method: Literal["poses", "focus", "none"] = "none"
    """How to centre each scene. None by default, for the same reason."""
    auto_scale_poses: bool = False
    """Whether to scale each scene so that its cameras lie in [-1, 1]^3. Off by default, for the same reason."""
    scale_factor: float = 1.0
    """Multiplies the camera positions of every scene, and with them the bounds that are found."""
    bounds: Literal["auto", "file", "silhouettes", "unit"] = "auto"
    """Where the scene box comes from. `file`: the camera files' `aabb`; `silhouettes`: carved from what a few images
    have transparent; `unit`: [-1, 1]^3; `auto`: for each scene the first of these that it has, then instant-ngp's
    `aabb_scale`, and `unit` where no scene has any."""
    box: Optional[tuple[float, float, float, float, float, float]] = None
    """The scene box itself: lower x, y, z, then upper x, y, z, after orientation and scale. Replaces `bounds`."""
    scene_scale: float = 1.0
    """Multiplies the side lengths of the scene box about its centre, wherever the box comes from."""
    alpha_color: Optional[str] = "white"
    """Colour behind transparent images (white, black, red, green or blue); None leaves the alpha channel as it is."""


@dataclass
class ScenesDataParser(DataParser):
    """Reads one scene or many, once for all splits, into one set of cameras. `cameras.metadata["scene_index"]` (int64,
    views x 1) is the index of each view's scene in `metadata["scene_names"]`; Nerfstudio passes it on to every ray."""

    config: ScenesDataParserConfig

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Optional[dict]) -> DataparserOutputs:
        if split not in SPLITS:
            raise ValueError(problem("split", f"one of {', '.join(SPLITS)}", f"'{split}'", "ask for one of these"))
        placed = self.placed
        indices = [_split_indices(scene, split, self.config) for scene in placed]
        cameras = _cameras(placed, indices)
        transforms, scales = np.stack([s.applied_transform for s in placed]), [s.applied_scale for s in placed]
        is_common = (transforms == transforms[0]).all() and len(set(scales)) == 1  # else the metadata alone has each
        return DataparserOutputs(
            image_filenames=[s.image_paths[i] for s, own in zip(placed, indices, strict=True) for i in own],
            cameras=cameras,
            alpha_color=_alpha_color(self.config.alpha_color),
            scene_box=SceneBox(aabb=torch.tensor(self.box, dtype=torch.float32)),
            mask_filenames=_masks("mask_paths", placed, indices),
            metadata={
                "dynamic_masks": _masks("dynamic_masks", placed, indices),
                "scene_names": [scene.name for scene in placed],
                "scene_index": cameras.metadata["scene_index"].flatten().tolist() if cameras.metadata else [],
                "scene_transforms": torch.tensor(transforms, dtype=torch.float32),
                "scene_scales": scales,
                "scene_boxes": self.scene_boxes(),
            },
            dataparser_transform=torch.tensor(transforms[0] if is_common else np.eye(4)[:3], dtype=torch.float32),
            dataparser_scale=scales[0] if is_common else 1.0,
        )

    @cached_property
    def placed(self) -> list[SceneFrames]:
        _check_config(self.config)
        scenes = read_scenes(self.config.data, self.config.scenes, self.config.max_scenes)
        _warn_of(scenes)
        return [place_scene(scene, self.config) for scene in scenes]

    @cached_property
    def box(self) -> Float[np.ndarray, "2 3"]:
        box, source = find_bounds(self.placed, self.config)
        box = scaled_box(box, self.config.scene_scale)
        views = sum(map(len, self.placed))
        corners = " to ".join("(" + ", ".join(f"{x:.3g}" for x in corner) + ")" for corner in box)
        CONSOLE.log(f"scenes: {len(self.placed)} scene(s), {views} views, box {corners} ({source})")
        return box

    def scene_boxes(self) -> list[Float[np.ndarray, "2 3"]]:
        """The box of each scene: its own where all have one, else that of all."""
        config = self.config
        own = [scene.aabb for scene in self.placed if scene.aabb is not None]
        if config.box is not None or config.bounds not in ("auto", "file") or len(own) < len(self.placed):
            return [self.box] * len(self.placed)
        return [scaled_box(one, config.scene_scale) for one in own]


def read_scenes(data: Path, names: Sequence[str] = (), max_scenes: Optional[int] = None) -> list[SceneFrames]:
    """Reads a scene folder, a camera file, or a folder of scene folders, sorted by name: those named, or all."""
    if not data.exists():
        raise FileNotFoundError(problem(data, "a data folder", "nothing there", "check --data"))
    folder = data if data.is_dir() else data.parent
    if folder != data and data.name not in [f"transforms_{split}.json" for split in SPLITS]:
        check_names([scene_name(folder)], data)
        return [read_transforms(folder, data)]
    found = find_scenes(folder)
    if not names:
        warn_of_left_out(folder, found)
    folders = select_scenes(found, names, folder)[:max_scenes]
    check_names(map(scene_name, folders), folder)
    with ThreadPoolExecutor(READING_THREADS) as pool:
        return list(tqdm(pool.map(read_scene, folders), "Reading scenes", len(folders), delay=2, leave=False))


def subfolders(folder: Path) -> list[str]:
    """Names of those in a folder that are not hidden, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def find_scenes(folder: Path) -> list[Path]:
    """Finds the scene folders, sorted by name: the folder itself, or those in it that are not hidden."""
    check_scenes_there(folder)
    if reader_of(folder) is not None:
        return [folder]
    inside = subfolders(folder)
    found = [folder / name for name in inside if reader_of(folder / name) is not None]
    if found:
        return found
    got = "an empty folder" if not any(folder.iterdir()) else f"none in it or in its {len(inside)} subfolders"
    around = [folder.absolute().parent, *(folder / name for name in inside if os.access(folder / name, os.R_OK))]
    nearby = [around[0]] if reader_of(around[0]) else []
    nearby += [place for place in around[1:] if any(map(reader_of, sorted(place.iterdir())))]
    do = f"use --data {nearby[0]}" if nearby else "check --data"
    if not nearby and any(holds_photos(place) for place in (folder, *around[1:])):
        do = "find the cameras of its photos with lns process-photos"
    raise ValueError(problem(os.path.abspath(folder), f"a scene with {LAYOUTS_LOOKED_FOR}", got, do))


def warn_of_left_out(folder: Path, found: Sequence[Path]) -> None:
    """Warns in one line of subfolders that are no scenes, where others are."""
    inside, taken = subfolders(folder), {path.name for path in found}
    left = [] if list(found) == [folder] else [name for name in inside if name not in taken]
    if left:
        named = few_of(left, words=lambda name: f"'{name}' ({lack_of(folder / name)})")
        warn(f"{len(left)} of {len(inside)} folders in {folder} are no scenes and left out: {named}")


def lack_of(folder: Path) -> str:
    if holds_photos(folder):
        return "photos without a camera file: see lns process-photos"
    return "no camera file" if any(folder.iterdir()) else "empty"


def holds_photos(folder: Path) -> bool:
    """Whether photos lie in a folder, or in a folder in it."""
    return any(path.suffix.lower() in SUFFIXES for pattern in ("*", "*/*") for path in folder.glob(pattern))


def select_scenes(folders: Sequence[Path], names: Sequence[str], where: Path) -> list[Path]:
    """The named scene folders, or all; refuses two names that some file systems take for one."""
    known, taken = [scene_name(folder) for folder in folders], {}
    for name in known:
        take_name(name, taken, where)
    check_known(names, known, where)
    return [folder for folder, name in zip(folders, known, strict=True) if not names or name in names]


def place_scene(scene: SceneFrames, config: ScenesDataParserConfig) -> SceneFrames:
    """Orients, centres and scales a scene as the config says; poses are untouched under the default config."""
    transform, scale = np.eye(4)[:3], 1.0
    poses, orient, center = scene.camera_to_worlds, config.orientation_method, config.center_method
    if (orient, center) != ("none", "none"):
        full = np.concatenate([poses, np.broadcast_to([[[0.0, 0.0, 0.0, 1.0]]], (len(poses), 1, 4))], axis=1)
        oriented, applied = auto_orient_and_center_poses(torch.tensor(full, dtype=torch.float32), orient, center)
        poses, transform = oriented[:, :3].double().numpy(), applied.double().numpy()
    if config.auto_scale_poses:
        scale /= float(np.abs(poses[:, :, 3]).max())
    scale *= config.scale_factor
    original = np.concatenate([scene.applied_transform, [[0.0, 0.0, 0.0, 1.0]]])
    return dataclasses.replace(
        scene,
        camera_to_worlds=np.concatenate([poses[:, :, :3], scale * poses[:, :, 3:]], axis=2),
        aabb=None if scene.aabb is None else transformed_box(scene.aabb, transform, scale),
        capture_box=None if scene.capture_box is None else transformed_box(scene.capture_box, transform, scale),
        applied_transform=transform @ original,
        applied_scale=scale * scene.applied_scale,
    )


def find_bounds(scenes: Sequence[SceneFrames], config: ScenesDataParserConfig) -> tuple[np.ndarray, str]:
    """The box that holds all placed scenes, before `scene_scale`, and where it came from, in words."""
    if config.box is not None:
        return np.array(config.box).reshape(2, 3), "given"
    if config.bounds == "unit":
        return bounds.UNIT_BOX, "unit"
    boxes = [scene.aabb for scene in scenes if scene.aabb is not None and config.bounds != "silhouettes"]
    left = [scene for scene in scenes if scene.aabb is None or config.bounds == "silhouettes"]
    sources = ["the files' aabb"] if boxes else []
    if left and config.bounds == "file":
        do = "add an aabb to its camera file, or use --bounds auto"
        raise ValueError(problem("bounds 'file'", "an aabb for every scene", f"none for '{left[0].name}'", do))
    hull, left = bounds_from_silhouettes(left)
    if hull is not None:
        boxes, sources = [*boxes, hull], [*sources, "silhouettes"]
    elif config.bounds == "silhouettes":
        do = "use --bounds auto, or give the box with --box"
        raise ValueError(problem("bounds 'silhouettes'", "undistorted images with agreeing alpha channels", "none", do))
    captures = [scene.capture_box for scene in left if scene.capture_box is not None]
    if captures and config.bounds == "auto":
        boxes, sources = [*boxes, *captures], [*sources, "the files' aabb_scale"]
        left = [scene for scene in left if scene.capture_box is None]
    if not boxes:
        return bounds.UNIT_BOX, "unit, as no file or alpha channel tells"
    if left:
        text = f"{len(left)} of {len(scenes)} have no aabb and no undistorted images with transparency, so the box is "
        warn(f"{text}that of the others; the first is '{left[0].name}'")
    return union_of_boxes(np.stack(boxes)), " and ".join(sources)


def bounds_from_silhouettes(
    scenes: Sequence[SceneFrames],
) -> tuple[Optional[Float[np.ndarray, "2 3"]], list[SceneFrames]]:
    """A box around the visual hulls of placed scenes, from the transparency of a few images of some, or None; and
    the scenes that do not tell: distorted or opaque ones, or those whose silhouettes contradict each other."""
    telling = [scene for scene in scenes if _has_silhouettes(scene)]
    chosen = np.unique(np.linspace(0, len(telling) - 1, min(len(telling), PROBED_SCENES)).round().astype(int))
    views = int(np.clip(PROBED_IMAGES // max(1, len(chosen)), 12, 24))
    hulls = [_hull_box(telling[index], views) for index in chosen]
    found = [box for box in hulls if box is not None]
    if not found:
        return None, list(scenes)
    paths = [pair for scene in telling for pair in zip(scene.image_paths, scene.has_alpha, strict=True)]
    if opaque := [path for path, has_alpha in paths if not has_alpha]:
        text = f"{len(opaque)} of {len(paths)} images have no transparency, so that their background is learned "
        warn(f"{text}and the box is carved without them; the first is {opaque[0]}")
    vain = {telling[index].name for index, hull in zip(chosen, hulls, strict=True) if hull is None}
    silent = [scene for scene in scenes if scene.name in vain or not _has_silhouettes(scene)]
    return scaled_box(union_of_boxes(np.stack(found)), 1.0 if len(chosen) == len(telling) else UNPROBED_MARGIN), silent


def _hull_box(scene: SceneFrames, views: int) -> Optional[Float[np.ndarray, "2 3"]]:
    """The box around a scene's visual hull, from `views` of its transparent images, leaving out wholly transparent
    ones; None if they do not tell."""
    usable = np.flatnonzero(scene.has_alpha)
    picked = usable[bounds.spread_views(scene.camera_to_worlds[usable, :, 3], views)]
    with ThreadPoolExecutor(READING_THREADS) as pool:
        read = list(zip(picked, pool.map(read_silhouette, [scene.image_paths[i] for i in picked]), strict=True))
    masks = {index: mask for index, mask in read if mask is not None and mask.any()}
    if not bounds.can_carve(list(masks.values())):
        return None
    intrinsics = np.stack([scene.fx, scene.fy, scene.cx, scene.cy], axis=1)
    box = bounds.silhouette_bounds(list(masks.values()), scene.camera_to_worlds[list(masks)], intrinsics[list(masks)])
    if box is None:
        text = f"no point is inside the silhouettes of all views of scene '{scene.name}'; if its poses are not "
        warn(f"{text}camera-to-world matrices with x right, y up and z backwards (OpenGL), convert them")
    return box


def _has_silhouettes(scene: SceneFrames) -> bool:
    """Whether a scene can be carved: some images have transparency, and all cameras are plain pinholes."""
    return bool(scene.has_alpha.any() and not scene.distortion.any()) and scene.camera_type == CameraType.PERSPECTIVE


def _check_config(config: ScenesDataParserConfig) -> None:
    """Checks the options that tyro does not; raises ValueError."""
    if config.eval_interval < 2:
        raise ValueError(problem("eval_interval", "2 or more", config.eval_interval, "use 10 to hold out 10 %"))
    if config.max_scenes is not None and config.max_scenes < 1:
        raise ValueError(problem("max_scenes", "1 or more", config.max_scenes, "leave it out to use all scenes"))
    for name, value in (("scale_factor", config.scale_factor), ("scene_scale", config.scene_scale)):
        if not SMALLEST <= value <= LARGEST:
            raise ValueError(problem(name, "a positive number", value, "use 1 to keep the size"))
    box = config.box
    if box is not None and not all(-LARGEST <= a < b <= LARGEST for a, b in zip(box[:3], box[3:], strict=True)):
        raise ValueError(problem("box", "lower x y z, then upper x y z", config.box, "put the lower corner first"))
    _alpha_color(config.alpha_color)


def color_name(color: Sequence[float]) -> Optional[str]:
    """Nerfstudio's name of a colour in [0, 1]; None for one without a name."""
    return next((name for name, value in COLORS_DICT.items() if np.allclose(value.numpy(), color, atol=1e-3)), None)


def _alpha_color(name: Optional[str]) -> Optional[Float[Tensor, "3"]]:
    if name is None:
        return None
    if name.lower() not in COLORS_DICT:
        raise ValueError(problem("alpha_color", f"one of {', '.join(COLORS_DICT)}", f"'{name}'", "use one of these"))
    return get_color(name)


def _warn_of(scenes: Sequence[SceneFrames]) -> None:
    if single := [scene.name for scene in scenes if len(scene) == 1]:
        warn(f"{len(single)} have a single view, which they are trained on and evaluated by, such as '{single[0]}'")
    if doubted := [scene for scene in scenes if scene.doubts]:
        more = f" ({len(doubted) - 1} more scene(s) with doubts)" if len(doubted) > 1 else ""
        warn(f"scene '{doubted[0].name}', {'; '.join(doubted[0].doubts)}{more}")
    for scene in scenes:
        train, val, test = (set(scene.splits.get(split, ())) for split in SPLITS)
        if shared := (val | test) & train:
            warn(f"{len(shared)} views of scene '{scene.name}' are in its train and its evaluation split")
            return


def warn(text: str) -> None:
    warnings.warn(f"scenes: {text}", stacklevel=3)


def _split_indices(scene: SceneFrames, split: str, config: ScenesDataParserConfig) -> tuple[int, ...]:
    """The views of a scene in a split, at least one."""
    if len(scene) < max(2, config.held_out_from) and not scene.holds_out:
        return tuple(range(len(scene)))
    indices = complete_splits(scene.splits, len(scene), config.eval_interval)[split]
    if not indices:
        do = "leave some views out of val_filenames and test_filenames"
        raise ValueError(problem(f"scene '{scene.name}', split '{split}'", "at least one view", "none", do))
    return indices


def _cameras(scenes: Sequence[SceneFrames], indices: Sequence[Sequence[int]]) -> Cameras:
    """The cameras of the chosen views of all scenes, with the index of their scene."""

    def column(name: str, dtype: torch.dtype) -> Tensor:
        rows = [getattr(scene, name)[list(chosen)] for scene, chosen in zip(scenes, indices, strict=True)]
        return torch.tensor(np.concatenate(rows), dtype=dtype)

    counts = torch.tensor([len(chosen) for chosen in indices])
    types = torch.tensor([scene.camera_type.value for scene in scenes])
    return Cameras(
        camera_to_worlds=column("camera_to_worlds", torch.float32),
        **{name: column(name, torch.float32)[:, None] for name in ("fx", "fy", "cx", "cy")},
        width=column("widths", torch.int64)[:, None],
        height=column("heights", torch.int64)[:, None],
        distortion_params=column("distortion", torch.float32) if any(s.distortion.any() for s in scenes) else None,
        camera_type=types.repeat_interleave(counts)[:, None],
        metadata={"scene_index": torch.arange(len(scenes)).repeat_interleave(counts)[:, None]},
    )


def _masks(
    kind: Literal["mask_paths", "dynamic_masks"], scenes: Sequence[SceneFrames], indices: Sequence[Sequence[int]]
) -> Optional[list[Any]]:
    """The masks of the chosen views, with None for views that keep all; None if no view has one."""
    given = [getattr(scene, kind) for scene in scenes]
    paths = [own[i] if own else None for own, chosen in zip(given, indices, strict=True) for i in chosen]
    return paths if any(paths) else None
