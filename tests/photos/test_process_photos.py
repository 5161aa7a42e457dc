"""Photos to scenes: what is cut out, the box, and cameras against COLMAP's own."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tyro
from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion
from PIL import Image

from latent_nerfstudio.data.layouts import read_transforms
from latent_nerfstudio.files.reading import UnusualFile
from latent_nerfstudio.meshes.viewpoints import poses_towards
from latent_nerfstudio.photos import PhotoOptions
from latent_nerfstudio.photos.motion import pairs_of
from latent_nerfstudio.photos.process import (
    border_colour,
    box_of_interest,
    colour_of,
    find_photos,
    mask_beside,
    name_in_scene,
    object_mask,
    process_photos,
    training_line,
    upwards,
    write_scene,
    write_upright,
)

WHITE = np.array([255.0, 255.0, 255.0])


def ring() -> np.ndarray:
    """A black ring on white, whose hole is white as well."""
    rows, columns = np.mgrid[:40, :60]
    distance = np.hypot(rows - 20, columns - 30)
    return np.where(((distance > 6) & (distance < 12))[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)


def test_what_is_connected_to_the_border_is_cut_out_and_a_hole_is_not():
    mask = object_mask(ring(), WHITE, 24.0)
    rows, columns = np.mgrid[:40, :60]
    assert (mask == (np.hypot(rows - 20, columns - 30) < 12)).all()
    noisy = np.clip(ring().astype(int) - np.random.default_rng(0).integers(0, 20, (40, 60, 3)), 0, 255).astype(np.uint8)
    assert (object_mask(noisy, WHITE, 24.0) == mask).all()
    red = np.maximum(ring(), np.array([255, 0, 0], np.uint8))  # of the background's red, and of no other
    assert (object_mask(red, WHITE, 24.0) == mask).all()
    assert object_mask(np.zeros((8, 8, 3), np.uint8), WHITE, 24.0).all()
    assert border_colour([ring(), ring()]).tolist() == [255, 255, 255]
    assert colour_of("#102030").tolist() == [16, 32, 48] and colour_of("white").tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="background: expected auto, .*, got 'mauvish'; name"):
        colour_of("mauvish")


def write_photos(folder):
    folder.mkdir()
    for index in range(3):
        Image.fromarray(ring()).save(folder / f"{index}.png")
    return folder


def test_photos_are_found_and_named_as_colmaps_lists_can_hold_them(tmp_path):
    photos = write_photos(tmp_path / "a")
    (photos / "IMG_3.HEIC").touch()
    with pytest.warns(UserWarning, match="1 photos in .* not read, and left out; convert them to JPEG: IMG_3.HEIC"):
        assert [path.name for path in find_photos(photos)] == ["0.png", "1.png", "2.png"]
    (photos / "IMG_3.HEIC").unlink()
    with pytest.raises(FileNotFoundError, match="c: expected a folder of photos"):
        find_photos(tmp_path / "c")
    Image.fromarray(ring()).save(tmp_path / "a" / "1.jpg")
    with pytest.raises(ValueError, match="expected each photo once, got two of the name '1.png'"):
        find_photos(tmp_path / "a")
    (tmp_path / "odd").mkdir()
    for name in ("a b", "c\nd", "#e", "f\udce9"):
        Image.fromarray(ring()).save(tmp_path / "odd" / f"{name}.png")
    names = [name_in_scene(path) for path in find_photos(tmp_path / "odd")]
    assert sorted(names) == ["_e.png", "a_b.png", "c_d.png", "f_.png"]
    Image.fromarray(ring()).save(tmp_path / "odd" / "a_b.png")
    with pytest.raises(ValueError, match="expected each photo once"):
        find_photos(tmp_path / "odd")


@pytest.mark.parametrize("place", [".", "photos/..", "photos"])
def test_photos_are_not_replaced_by_their_scene(tmp_path, place):
    photos = write_photos(tmp_path / "photos")
    with pytest.raises(FileExistsError, match="expected a folder apart from the photos"):
        process_photos(photos, tmp_path / place, PhotoOptions())
    assert len(list(photos.iterdir())) == 3


@pytest.mark.parametrize(
    "options, words",
    [({"tolerance": float("nan")}, "tolerance: expected 0 to 255"), ({"background": ""}, "background: expected auto")],
)
def test_options_out_of_range_are_refused_before_anything_is_read(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        process_photos(tmp_path / "none", tmp_path / "scene", PhotoOptions(**options))


def test_masks_of_another_shape_and_what_is_no_file_are_refused(tmp_path):
    photos = write_photos(tmp_path / "photos")
    (photos / "masks").mkdir()
    Image.new("L", (30, 30)).save(photos / "masks" / "0.png")
    with pytest.raises(ValueError, match="0.png: expected a mask of the shape of 0.png, 60 x 40, got 30 x 30"):
        mask_beside(photos / "0.png", (60, 40))
    Image.new("L", (31, 20)).save(photos / "masks" / "0.png")
    assert mask_beside(photos / "0.png", (60, 40)).shape == (40, 60)
    (photos / "masks" / "0.png").unlink()
    (photos / "masks" / "0.png").symlink_to("/dev/zero")
    assert mask_beside(photos / "0.png", (60, 40)) is None
    (photos / "1.png").unlink()
    (photos / "1.png").symlink_to("/dev/zero")
    with pytest.raises(UnusualFile):
        write_upright(find_photos(photos), tmp_path, PhotoOptions())


def test_upright_copies_masks_and_what_is_cut_out(tmp_path):
    photos = write_photos(tmp_path / "photos")
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(ring()).save(photos / "1.png", exif=tags)
    kept = np.ones((40, 60), dtype=np.uint8)
    kept[:, :30] = 0
    (tmp_path / "masks").mkdir()
    Image.fromarray(kept).save(tmp_path / "masks" / "1.png")
    work = tmp_path / "work"
    work.mkdir()
    names, sizes = write_upright(find_photos(photos), work, PhotoOptions(background="auto", longest_side=30))
    assert names == ["0.png", "1.png", "2.png"] and sizes == [(30, 20), (20, 30), (30, 20)]
    alpha = np.asarray(Image.open(work / "images" / "1.png").getchannel("A"))
    assert alpha[15, 10] == 255 and alpha[0, 0] == 0
    mask = np.asarray(Image.open(work / "masks" / "1.png"))
    assert mask.shape == (30, 20) and not mask[:15].any() and mask[16:].all()  # turned as the photo is
    features = np.asarray(Image.open(work / "features" / "1.png.png"))
    assert (features > 0).any() and ((features > 0) <= (mask > 0) & (alpha > 0)).all()
    assert not (work / "masks" / "0.png").exists()


def test_pairs_by_hand():
    assert pairs_of(["a", "b", "c"], "exhaustive") == ["a b", "a c", "b c"]
    names = [f"{index:02d}" for index in range(30)]
    near = [pair.split() for pair in pairs_of(names, "sequential")]
    assert all(0 < int(b) - int(a) <= 10 for a, b in near) and len(near) == 20 * 10 + 45


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, -1), (0, 1, 0), (0.6, 0, 0.8)])
def test_the_cameras_up_becomes_z(up):
    poses = np.tile(np.eye(4)[:3], (3, 1, 1))
    poses[:, :, 1] = up
    turn = upwards(poses)
    np.testing.assert_allclose(turn @ up, [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_the_box_is_around_what_most_cameras_see():
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    poses = poses_towards(np.stack([4 * np.cos(angle), 4 * np.sin(angle), np.full(12, 1.0)], axis=1))[:, :3]
    random = np.random.default_rng(0)
    inside, wall, beside = (random.uniform(-1, 1, (2000, 3)) + [0, y, 0] for y in (0, 30, 2.5))
    points, seen = np.concatenate([inside, wall, beside]), np.repeat([1.0, 0.9, 0.1], 2000)
    box = box_of_interest(points, seen, poses)
    np.testing.assert_allclose(box, [[-1.15] * 3, [1.15] * 3], atol=0.05)
    cube = box_of_interest(points[:5], seen[:5], poses)
    np.testing.assert_allclose(cube[1] - cube[0], np.full(3, np.hypot(4, 1)), rtol=0.05)


def test_cameras_are_those_of_colmap(tmp_path):
    """A point falls, in the scene that is written, on the pixel where COLMAP sees it without distortion."""
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.synthesize_dataset(pycolmap.SyntheticDatasetOptions())
    (tmp_path / "images").mkdir()
    for image in model.images.values():
        (tmp_path / "images" / image.name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (image.camera.width, image.camera.height)).save(tmp_path / "images" / image.name, "png")
    scene = tmp_path / "scene"
    scene.mkdir()
    names = write_scene(model, tmp_path, scene)
    meta = json.loads((scene / "transforms.json").read_text())
    frames = read_transforms(scene)
    assert len(names) == len(frames) == 10
    placed = np.array(meta["applied_transform"]) * meta["applied_scale"]
    by_name = {image.name: image for image in model.images.values()}
    for index, path in enumerate(frames.image_paths):
        image, pose = by_name[path.name], frames.camera_to_worlds[index]
        camera = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), image.camera)
        for point in list(model.points3D.values())[:20]:
            local = image.cam_from_world() * point.xyz
            if local[2] <= 0:
                continue
            x, y, z = pose[:, :3].T @ (placed @ [*point.xyz, 1.0] - pose[:, 3])
            pixel = [frames.cx[index] - frames.fx[index] * x / z, frames.cy[index] + frames.fy[index] * y / z]
            np.testing.assert_allclose(pixel, camera.img_from_cam(local), atol=1e-4)


@pytest.mark.parametrize("is_cut_out, side, scale", [(True, 640, 1.0), (False, 640, 0.5), (False, 200, 1.0)])
def test_the_line_that_trains_is_understood(is_cut_out, side, scale):
    _, *arguments = shlex.split(training_line(Path("my scene"), is_cut_out, side))
    config = tyro.cli(AnnotatedBaseConfigUnion, args=arguments)
    assert config.data == Path("my scene")
    assert config.pipeline.datamanager.camera_res_scale_factor == scale
    assert config.pipeline.model.nerf.scene_contraction is not is_cut_out
