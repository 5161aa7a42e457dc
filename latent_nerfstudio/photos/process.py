"""From a folder of photos to a scene: upright copies, masks, poses, undistorted pictures, transforms.json."""

import math
import re
import shlex
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageColor, ImageOps
from tqdm import tqdm

from latent_nerfstudio.data.bounds import camera_focus
from latent_nerfstudio.data.layouts.frames import opencv_to_opengl
from latent_nerfstudio.errors import check_least, few_of, problem
from latent_nerfstudio.files.camera_file import frames_of, pinhole, write_camera_file
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.photos import PhotoOptions
from latent_nerfstudio.photos.motion import find_poses, import_pycolmap
from latent_nerfstudio.pictures import SUFFIXES, open_picture, plain, read_mask, read_picture

SCENE_FILES = r"transforms\.json|(images|masks)/[^/]+\.png"
"""Names of the files of a scene, which alone are replaced."""

UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
"""Endings of photos of phones and cameras in formats that are not read."""

FEW = 0.8
"""Share of the photos that should get poses; below it, the report says what to do."""

SEEN = 0.5
"""Share of the cameras that see a point which is of what most cameras look at."""

QUANTILES = (0.02, 0.98)
"""Of the coordinates of these points, along each axis: a few are wrong."""

MASK_SHAPE = 0.05
"""How far the logarithm of a mask's width over height may be from the photo's: sizes are rounded."""

MARGIN = 0.1
"""Share of each side by which the box is wider on either end: no point lies on what has no texture."""

LEARNED_SIDE = 320
"""Longest side at which photos of something in its surroundings are learned, pixels."""

SURROUNDINGS = (
    "--pipeline.model.nerf.scene-contraction True "
    "--pipeline.model.nerf.num-samples 32 --pipeline.model.nerf.num-importance-samples 32 "
    "--pipeline.model.nerf.field.resolution 64 --pipeline.datamanager.images-per-batch 2 "
    "--pipeline.rgb-alignment-start 400 --max-num-iterations 700"
)
"""Flags for these: the whole space in the planes, and what was best on instant-ngp's fox (benchmarks/fox.md)."""


def find_photos(folder: Path) -> list[Path]:
    """The photos of a folder, three at least and each of a name of its own, in the order of their names."""
    if not folder.is_dir():
        raise FileNotFoundError(problem(folder, "a folder of photos", "no folder", "check the path"))
    files = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    paths = [path for path in files if path.suffix.lower() in SUFFIXES]
    if left := [path.name for path in files if path.suffix.lower() in UNREAD]:
        text = f"{len(left)} photos in {folder} are of formats that are not read, and left out; convert them to JPEG"
        warnings.warn(f"{text}: {few_of(left)}", stacklevel=2)
    if len(paths) < 3:
        do = "name the folder that holds them; take some thirty, from all around"
        raise ValueError(problem(folder, f"three photos or more ({' '.join(SUFFIXES)})", len(paths), do))
    names = [name_in_scene(path) for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(problem(folder, "each photo once", f"two of the name '{twice}'", "leave one out"))
    return paths


def name_in_scene(path: Path) -> str:
    """What a photo is called in its scene: COLMAP's lists of pairs are separated by blanks and lines."""
    return re.sub(r"[^\w.-]", "_", f"{path.stem}.png")


def process_photos(folder: Path, scene: Path, options: PhotoOptions) -> str:
    """Writes a scene of photos, whole or not at all; how many got poses, which did not, and what to do if few did."""
    check_least(options, longest_side=16)
    if not 0 <= options.tolerance <= 255:
        raise ValueError(problem("tolerance", "0 to 255", options.tolerance, "change --tolerance"))
    if options.background not in (None, "auto"):
        colour_of(options.background or "")
    if scene.resolve() in (folder.resolve(), *folder.resolve().parents):
        expected = f"a folder apart from the photos in {folder}"
        raise FileExistsError(problem(scene, expected, "one around them", "name another"))
    import_pycolmap()
    photos = find_photos(folder)
    scene.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(scene, SCENE_FILES) as writing, tempfile.TemporaryDirectory() as place:
        work = Path(place)
        names, sizes = write_upright(photos, work, options)
        masks = work / "features" if (work / "features").is_dir() else None
        model = find_poses(work / "images", work, masks, options.matching, options.lens, len(set(sizes)) == 1)
        found = write_scene(model, work, writing)
    train = training_line(scene, masks is not None, max(max(size) for size in sizes))
    return "\n".join([*report(photos, names, found, model), f"Wrote {scene}; train:", train])


def write_upright(photos: Sequence[Path], work: Path, options: PhotoOptions) -> tuple[list[str], list[tuple[int, int]]]:
    """Writes photos as PNG to `work/images`, turned as their EXIF tags say, with what is cut out as alpha, masks to
    `work/masks`, and those for features, without the background, to `work/features`; their names and sizes (w, h)."""
    pictures = {name_in_scene(path): path for path in photos}
    colour = None
    if options.background is not None:
        some = (upright(path, options.longest_side) for path in photos[:: max(1, len(photos) // 8)])
        few = [np.asarray(image.convert("RGB")) for image in some]
        colour = border_colour(few) if options.background == "auto" else colour_of(options.background)
    (work / "images").mkdir()
    sizes = []
    for name, path in tqdm(pictures.items(), "Photos", unit="photo"):
        image = upright(path, options.longest_side)
        if colour is not None:
            shown = object_mask(np.asarray(image.convert("RGB")), colour, options.tolerance)
            image.putalpha(Image.fromarray((shown * 255).astype(np.uint8)))
        kept = mask_beside(path, image.size)
        image.save(work / "images" / name, compress_level=1)
        sizes.append(image.size)
        alpha = np.asarray(image.getchannel("A")) > 0 if image.mode == "RGBA" else np.ones(image.size[::-1], dtype=bool)
        if kept is not None:
            save_mask(kept, work / "masks" / name)
        if kept is not None or not alpha.all():
            save_mask(alpha if kept is None else alpha & kept, work / "features" / f"{name}.png")
    return list(pictures), sizes


def border_colour(pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "3"]:
    """The median colour of the borders of pictures, 0 to 255."""
    borders = [np.concatenate([p[0], p[-1], p[:, 0], p[:, -1]]) for p in pictures]
    return np.median(np.concatenate(borders), axis=0)


def colour_of(name: str) -> Float[np.ndarray, "3"]:
    """A colour, 0 to 255, from its name or from #rrggbb."""
    try:
        return np.array(ImageColor.getrgb(name)[:3], dtype=np.float64)
    except ValueError as error:
        do = "name the colour, or take auto"
        raise ValueError(problem("background", "auto, a colour's name or #rrggbb", repr(name), do)) from error


def object_mask(
    picture: UInt8[np.ndarray, "height width 3"], colour: Float[np.ndarray, "3"], tolerance: float
) -> Bool[np.ndarray, "height width"]:
    """Where a picture shows the object: what is not connected to the border through colours whose channels are off the
    background's by `tolerance` at most, 0 to 255; what is of its colour within the object stays."""
    import cv2

    like = (np.abs(picture.astype(np.float32) - colour.astype(np.float32)) <= tolerance).all(axis=2)
    _, labels = cv2.connectedComponents(like.astype(np.uint8), connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return ~np.isin(labels, np.setdiff1d(edge, [0]))


def upright(path: Path, longest_side: int) -> Image.Image:
    """A photo as RGB or RGBA, turned as its EXIF tag says, no side longer than given."""
    with open_picture(path) as image:
        picture = plain(ImageOps.exif_transpose(image))
    factor = longest_side / max(picture.size)
    if factor < 1:
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def mask_beside(path: Path, size: tuple[int, int]) -> Optional[Bool[np.ndarray, "height width"]]:
    """The mask of a photo, turned and sized as the photo is; None where there is none."""
    folders = (path.parent / "masks", path.parent.parent / "masks")
    names = (f"{path.stem}.png", f"{path.name}.png", path.name)
    found = next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)
    if found is None:
        return None
    mask = turned = Image.fromarray((read_mask(found) * 255).astype(np.uint8))
    with open_picture(path) as image:
        if mask.size == image.size:
            mask.getexif()[0x0112] = image.getexif().get(0x0112, 1)
            turned = ImageOps.exif_transpose(mask)
    if abs(math.log(turned.width * size[1] / (turned.height * size[0]))) > MASK_SHAPE:
        expected, do = f"a mask of the shape of {path.name}, {size[0]} x {size[1]}", "make it again of this photo"
        raise ValueError(problem(found, expected, f"{mask.width} x {mask.height}", do))
    return np.asarray(turned.resize(size, Image.Resampling.NEAREST)) > 127


def save_mask(mask: Bool[np.ndarray, "height width"], path: Path) -> None:
    """Writes a mask, white where it is true."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)


def write_scene(model: Any, work: Path, scene: Path) -> list[str]:
    """Writes undistorted pictures, masks and transforms.json; returns the names of the photos with poses.

    The scene is turned so that the cameras' mean up is z, and what most cameras look at is brought to the origin and to
    the longest side 1. Pictures with transparency need no box: it is carved from their silhouettes."""
    images = sorted((model.images[i] for i in model.reg_image_ids()), key=lambda image: image.name)
    poses = opencv_to_opengl(np.stack([image.cam_from_world().inverse().matrix() for image in images]))
    points = np.array([point.xyz for point in model.points3D.values()]).reshape(-1, 3)
    views = [visible(points, image) for image in images]
    turn = upwards(poses)
    poses = turn @ poses
    box = box_of_interest(points @ turn.T, np.mean(views, axis=0), poses)
    centre, size = box.mean(axis=0), float((box[1] - box[0]).max())
    poses[:, :, 3] = (poses[:, :, 3] - centre) / size
    lenses, transparent = [], False
    (scene / "images").mkdir()
    for image in tqdm(images, "Undistorting", unit="photo", delay=2):
        lens, maps = undistortion(image.camera)
        picture = read_picture(work / "images" / image.name)
        transparent |= picture.shape[2] == 4
        Image.fromarray(remapped(picture, maps)).save(scene / "images" / image.name)
        entry = pinhole(*lens)
        if (work / "masks" / image.name).is_file():
            (scene / "masks").mkdir(exist_ok=True)
            mask = read_mask(work / "masks" / image.name).astype(np.uint8) * 255
            Image.fromarray(remapped(mask, maps)).save(scene / "masks" / image.name)
            entry["mask_path"] = f"masks/{image.name}"
        lenses.append(entry)
    names = [image.name for image in images]
    top: dict[str, Any] = {"applied_transform": np.c_[turn, -centre], "applied_scale": 1 / size}
    if not transparent:
        top["aabb"] = ((box - centre) / size).tolist()
    write_camera_file(scene, frames_of([f"images/{name}" for name in names], poses, lenses), **top)
    return names


def upwards(poses: Float[np.ndarray, "views 3 4"]) -> Float[np.ndarray, "3 3"]:
    """The rotation that brings the mean up of cameras (OpenGL poses) to z, by the shortest way."""
    up = poses[:, :, 1].mean(axis=0)
    up /= max(np.linalg.norm(up), 1e-9)
    axis, cosine = np.cross(up, [0.0, 0.0, 1.0]), up[2]
    if cosine < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def visible(points: Float[np.ndarray, "points 3"], image: Any) -> Bool[np.ndarray, "points"]:
    matrix, camera = image.cam_from_world().matrix(), image.camera
    local = points @ matrix[:, :3].T + matrix[:, 3]
    pixels = np.full((len(points), 2), np.nan)
    ahead = local[:, 2] > 1e-6
    if ahead.any():
        pixels[ahead] = camera.img_from_cam(local[ahead])
    return ahead & (pixels >= 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)


def box_of_interest(
    points: Float[np.ndarray, "points 3"], seen: Float[np.ndarray, "points"], poses: Float[np.ndarray, "views 3 4"]
) -> Float[np.ndarray, "2 3"]:
    """A box around what most cameras (OpenGL poses) look at: around the points that half of them see (`seen` is the
    share), without the outermost, nor those farther from what the cameras look at than the cameras; a cube there where
    there are few such points."""
    focus = camera_focus(poses)
    distance = float(np.median(np.linalg.norm(poses[:, :, 3] - focus, axis=1)))
    chosen = points[(seen >= SEEN) & (np.linalg.norm(points - focus, axis=1) < distance)]
    if len(chosen) < 20:
        return np.stack([focus - distance / 2, focus + distance / 2])
    low, high = np.quantile(chosen, QUANTILES, axis=0)
    margin = MARGIN * (high - low).max()
    return np.stack([low - margin, high + margin])


def undistortion(camera: Any) -> tuple[tuple[Any, ...], tuple[np.ndarray, np.ndarray]]:
    """The pinhole camera of a photo (width, height, fx, fy, cx, cy), and its pixels' places, maps for `cv2.remap`."""
    pycolmap = import_pycolmap()
    plain_camera = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)
    fx, fy, cx, cy = plain_camera.params
    width, height = plain_camera.width, plain_camera.height
    rows, columns = np.mgrid[:height, :width] + 0.5
    rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)], axis=-1).reshape(-1, 3)
    pixels = camera.img_from_cam(rays).reshape(height, width, 2).astype(np.float32) - 0.5
    return (width, height, fx, fy, cx, cy), (pixels[..., 0], pixels[..., 1])


def remapped(picture: UInt8[np.ndarray, "..."], maps: tuple[np.ndarray, np.ndarray]) -> UInt8[np.ndarray, "..."]:
    """A picture at other places, bilinear; black and transparent beyond its border."""
    import cv2

    return cv2.remap(picture, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def report(photos: Sequence[Path], names: Sequence[str], found: Sequence[str], model: Any) -> list[str]:
    """Lines: how many photos got poses, which did not, and what to do if few did."""
    error = f"error {model.compute_mean_reprojection_error():.2f} pixels"
    lines = [f"{len(found)} of {len(photos)} photos got poses ({error})"]
    lost = sorted(set(names) - set(found))
    if lost:
        lines[0] += f"; without: {', '.join(lost[:8])}{' ...' if len(lost) > 8 else ''}"
    if len(found) < FEW * len(photos):
        lines.append(
            "Few did. Take photos that overlap by two thirds, sharp, of something with texture, from all around; walk "
            "instead of turning on the spot; films: --matching sequential; an object that turns before a plain wall: "
            "--background auto, so that the wall is not looked at."
        )
    return lines


def training_line(scene: Path, is_cut_out: bool, longest_side: int) -> str:
    """The command that trains on a scene: one thing that is cut out, or something in its surroundings."""
    line = f"ns-train latent-triplane --data {shlex.quote(str(scene))}"
    if is_cut_out:
        return line
    scale = min(1.0, round(LEARNED_SIDE / longest_side, 2))
    return f"{line} --pipeline.datamanager.camera-res-scale-factor {scale} {SURROUNDINGS} nerfstudio-data"
