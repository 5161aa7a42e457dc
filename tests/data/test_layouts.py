"""Reading of scene folders: cameras by hand, against nerfstudio, and what is wrong with bad folders."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Optional

import numpy as np
import pytest
from nerfstudio.cameras.cameras import CameraType
from PIL import Image
from scene_folders import poses_around, write_blender, write_image, write_json, write_srn, write_transforms

from latent_nerfstudio.data.layouts import read_blender, read_srn, read_transforms
from latent_nerfstudio.data.layouts.frames import complete_splits, opencv_to_opengl
from latent_nerfstudio.data.layouts.image_files import ImageHeader, read_image_header


def edit(folder: Path, frame: Optional[int] = None, **changes):
    """Changes entries at the top of transforms.json, or of one of its frames; None removes one."""
    path = folder / "transforms.json"
    meta = json.loads(path.read_text())
    entries = meta if frame is None else meta["frames"][frame]
    entries.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        entries.pop(name)
    write_json(path, meta)


def test_opencv_to_opengl_and_held_out_views():
    """The one is an involution that keeps positions; the other a partition without empty parts."""
    poses = poses_around(5)[:, :3]
    np.testing.assert_array_equal(opencv_to_opengl(opencv_to_opengl(poses)), poses)
    np.testing.assert_array_equal(opencv_to_opengl(poses)[:, :, 3], poses[:, :, 3])
    np.testing.assert_array_equal(opencv_to_opengl(np.eye(4)[None, :3])[0, :, :3], np.diag([1.0, -1.0, -1.0]))
    for count in range(2, 41):
        split = complete_splits({}, count, 10)
        assert sorted(split["train"] + split["test"]) == list(range(count))
        assert split["train"] and split["test"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": (2, 3), "val": (0,), "test": (1,)}, {"train": (2, 3), "val": (0,), "test": (1,)}),
        ({"train": (0, 1), "test": (2, 3)}, {"train": (0, 1), "val": (2, 3), "test": (2, 3)}),
        ({"train": (0, 1), "val": (2,)}, {"train": (0, 1), "val": (2,), "test": (2,)}),
        ({"test": (1,)}, {"train": (0, 2, 3), "val": (1,), "test": (1,)}),
        ({"train": (0, 2)}, {"train": (0, 2), "val": (1, 3), "test": (1, 3)}),
        ({"train": (3, 2, 1, 0)}, {"train": (2, 0), "val": (3, 1), "test": (3, 1)}),
        ({}, {"train": (1, 3), "val": (0, 2), "test": (0, 2)}),
    ],
)
def test_complete_splits_by_hand(given, expected):
    assert complete_splits(given, 4, 2) == expected


def test_headers_agree_with_pillow(tmp_path):
    for name, mode in (("a.png", "RGB"), ("b.png", "RGBA"), ("c.jpg", "RGB"), ("d.png", "L"), ("e.webp", "RGBA")):
        Image.new(mode, (37, 21)).save(tmp_path / name)
        header = read_image_header(tmp_path / name)
        assert (header.width, header.height, header.has_alpha) == (37, 21, mode == "RGBA"), name
    with open(tmp_path / "a.png", "ab") as file:
        file.write(b"padding")
    assert read_image_header(tmp_path / "a.png").width == 37


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("content", [None, b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_broken_images_are_told(tmp_path, name, content):
    """None stands for the first half of an image."""
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    with pytest.raises(ValueError, match=rf"{name}: expected a readable image, got .*; export the image again"):
        read_image_header(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_exif_orientation_is_told_and_the_size_is_that_of_the_pixels(tmp_path, name):
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / name, exif=tags)
    assert read_image_header(tmp_path / name) == ImageHeader(12, 8, False, 6)


@pytest.mark.parametrize("image", [Image.new("P", (9, 7)), Image.new("RGB", (9, 7)), Image.new("L", (9, 7))])
def test_transparency_of_any_kind_is_in_the_header(tmp_path, image):
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=(0, 0, 0) if image.mode == "RGB" else 0)
    assert [read_image_header(tmp_path / name).has_alpha for name in ("a.png", "b.png")] == [False, True]


def test_transforms_by_hand(tmp_path):
    """Frames are sorted by their paths; a byte order mark counts for nothing."""
    meta = write_transforms(tmp_path / "cube", count=3)
    text = json.dumps({**meta, "frames": meta["frames"][::-1]})
    (tmp_path / "cube/transforms.json").write_text(text, encoding="utf-8-sig")
    scene = read_transforms(tmp_path / "cube")
    assert scene.name == "cube" and len(scene) == 3
    assert scene.image_paths[1] == tmp_path / "cube/images/view_01.png"
    np.testing.assert_array_equal(scene.camera_to_worlds[2], np.array(meta["frames"][2]["transform_matrix"])[:3])
    assert (scene.fx[0], scene.fy[0], scene.cx[0], scene.cy[0]) == (20.0, 21.0, 6.5, 3.5)
    assert (scene.widths[0], scene.heights[0]) == (12, 8)
    assert not scene.distortion.any() and scene.aabb is None and scene.splits == {} and not scene.has_alpha.any()


def test_intrinsics_and_sizes_of_each_frame(tmp_path):
    meta = write_transforms(tmp_path, count=2)
    write_image(tmp_path / "images/view_01.png", 10, 6)
    for frame, (w, h) in zip(meta["frames"], ((12, 8), (10, 6)), strict=True):
        frame.update(fl_x=w * 2.0, fl_y=h * 3.0, cx=w / 4, cy=h / 4, w=w, h=h, k1=0.1)
    write_json(tmp_path / "transforms.json", {"frames": meta["frames"]})
    scene = read_transforms(tmp_path)
    numbers = np.stack([scene.fx, scene.fy, scene.cx, scene.cy, scene.widths, scene.heights], axis=1)
    np.testing.assert_array_equal(numbers, [[24.0, 24.0, 3.0, 2.0, 12, 8], [20.0, 18.0, 2.5, 1.5, 10, 6]])
    np.testing.assert_array_equal(scene.distortion, [[0.1, 0, 0, 0, 0, 0]] * 2)
    write_transforms(tmp_path, w=24, h=16)
    with pytest.raises(ValueError, match=r"expected 24 x 16 pixels .*, got 12 x 8; use the images that"):
        read_transforms(tmp_path)
    edit(tmp_path, frame=0, w=12, h=8)
    with pytest.raises(ValueError, match=r"expected 24 x 16 pixels .*, got 12 x 8; leave out w, h .* at the top"):
        read_transforms(tmp_path)


def test_intrinsics_that_the_top_of_the_file_contradicts_are_told(tmp_path):
    """Nerfstudio takes those at the top, instant-ngp those of the frames; rounding is no contradiction."""
    write_transforms(tmp_path)
    edit(tmp_path, frame=3, fl_x=20.01, k1=0.0, cx="middle")
    assert read_transforms(tmp_path).contradiction == ""
    edit(tmp_path, frame=1, fl_x=40.0)
    frames = read_transforms(tmp_path)
    assert frames.fx.tolist() == [20.0] * 5
    expected = "camera file, fl_x: expected one value a camera, got 20 at its top, which holds as in Nerfstudio, and "
    assert frames.doubts == [f"{expected}40 of 'images/view_01.png' (1 such); leave out what is wrong"]
    edit(tmp_path, frame=1, fl_x=None, k1=0.25)
    assert not read_transforms(tmp_path).doubts  # without any at the top, each frame has its own
    edit(tmp_path, p1=0.0)
    assert "camera file, k1: expected one value a camera, got 0 at its top" in read_transforms(tmp_path).contradiction


def test_one_camera_far_from_the_others_is_named(tmp_path):
    """Up to a hundred times their usual distance from the middle is let pass: medians are those of the others."""
    meta = write_transforms(tmp_path, count=9)
    for away, expected in ((200.0, False), (9e8, True)):
        pose = meta["frames"][4]["transform_matrix"]
        meta["frames"][4] = {**meta["frames"][4], "transform_matrix": [[*pose[0][:3], away], *pose[1:]]}
        write_json(tmp_path / "transforms.json", meta)
        doubts = read_transforms(tmp_path).doubts
        assert len(doubts) == expected
    assert "got 'view_04.png' 9e+08 from it; correct its pose, or leave it out" in doubts[0]


def test_focal_length_from_angles_and_defaults_of_instant_ngp(tmp_path):
    write_transforms(tmp_path)
    edit(tmp_path, fl_x=None, fl_y=None, cx=None, cy=None, w=None, h=None, camera_angle_x=math.pi / 2)
    scene = read_transforms(tmp_path)
    np.testing.assert_allclose([scene.fx[0], scene.fy[0], scene.cx[0], scene.cy[0]], [6.0, 6.0, 6.0, 4.0])
    edit(tmp_path, camera_angle_y=math.pi / 2)
    np.testing.assert_allclose(read_transforms(tmp_path).fy, 4.0)
    edit(tmp_path, camera_angle_x=None, camera_angle_y=None, x_fov=90.0)
    np.testing.assert_allclose(read_transforms(tmp_path).fx, 6.0)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"camera_model": "PINHOLE"}, CameraType.PERSPECTIVE),
        ({"camera_model": "EQUIRECTANGULAR"}, CameraType.EQUIRECTANGULAR),
        ({"is_fisheye": True}, CameraType.FISHEYE),
    ],
)
def test_camera_models(tmp_path, entry, expected):
    write_transforms(tmp_path, **entry)
    assert read_transforms(tmp_path).camera_type == expected


def test_camera_models_of_frames(tmp_path):
    """`ns-process-data` writes them where there are several cameras, and none at the top."""
    write_transforms(tmp_path, count=2)
    edit(tmp_path, 0, camera_model="OPENCV_FISHEYE")
    with pytest.raises(ValueError, match="camera_model: expected one kind .*, got FISHEYE and PERSPECTIVE"):
        read_transforms(tmp_path)
    edit(tmp_path, 1, camera_model="OPENCV_FISHEYE")
    assert read_transforms(tmp_path).camera_type == CameraType.FISHEYE


def test_paths_without_extension_with_dot_and_with_backslash(tmp_path):
    write_transforms(tmp_path, count=3, extension=".jpg")
    edit(tmp_path, 0, file_path="./images/view_00")
    edit(tmp_path, 1, file_path="images\\view_01.jpg")
    shutil.move(tmp_path / "images/view_02.jpg", tmp_path / "images/frame.002.jpg")
    edit(tmp_path, 2, file_path="images/frame.002")
    scene = read_transforms(tmp_path)
    assert sorted(path.name for path in scene.image_paths) == ["frame.002.jpg", "view_00.jpg", "view_01.jpg"]


def test_absent_images_are_left_out_of_views_and_splits(tmp_path):
    write_transforms(tmp_path, test_filenames=["images/view_01.png", "images/view_02.png"])
    (tmp_path / "images/view_01.png").unlink()
    scene = read_transforms(tmp_path)
    assert len(scene) == 4 and scene.absent == ("images/view_01.png",)
    assert [scene.image_paths[i].name for i in scene.splits["test"]] == ["view_02.png"]
    assert scene.doubts == ["1 of its 5 listed photos are absent: images/view_01.png"]


def test_photos_that_viewers_turn_are_doubted_and_refused_where_their_size_turns(tmp_path):
    write_transforms(tmp_path)
    assert read_transforms(tmp_path).doubts == []
    tags = Image.Exif()
    tags[0x0112] = 6
    for name in ("view_01.png", "view_03.png"):
        with Image.open(tmp_path / "images" / name) as image:
            image.copy().save(tmp_path / "images" / name, exif=tags)
    (doubt,) = read_transforms(tmp_path).doubts
    assert doubt.startswith("2 of its photos have an EXIF orientation") and "view_01.png and 1 more" in doubt
    write_transforms(tmp_path)
    tags = Image.Exif()
    tags[0x0112] = 8
    Image.new("RGB", (8, 12)).save(tmp_path / "images/view_03.png", exif=tags)
    with pytest.raises(ValueError, match=r"got 8 x 12 as stored, which EXIF orientation 8 has viewers turn; turn"):
        read_transforms(tmp_path)


def test_a_pose_of_three_rows_is_whole_and_a_transposed_one_is_told(tmp_path):
    """The rotation of the latter is one as well, and its place the origin: nothing else would tell."""
    meta = write_transforms(tmp_path, count=3)
    turned = np.array(meta["frames"][1]["transform_matrix"]).T.tolist()
    meta["frames"][1]["transform_matrix"] = np.array(turned).T[:3].tolist()  # three rows are enough
    write_json(tmp_path / "transforms.json", meta)
    assert len(read_transforms(tmp_path)) == 3
    poses = write_srn(tmp_path / "srn")
    (tmp_path / "srn/pose/000001.txt").write_text(" ".join(map(repr, poses[1].T.ravel().tolist())))
    with pytest.raises(ValueError, match="000001.txt: expected a last row of 0 0 0 1"):
        read_srn(tmp_path / "srn")


@pytest.mark.parametrize(
    ("entries", "low", "high"),
    [
        ({"aabb_scale": 1}, [-0.5 / 0.33] * 3, [0.5 / 0.33] * 3),
        ({"aabb_scale": 4}, [-2 / 0.33] * 3, [2 / 0.33] * 3),
        ({"aabb_scale": 1, "scale": 1.0, "offset": [0.5, 0.5, 0.5]}, [-0.5] * 3, [0.5] * 3),
        ({"aabb_scale": 2, "scale": 0.5, "offset": [0.0, 0.5, 1.5]}, [-1, -2, -4], [3, 2, 0]),
        ({"offset": [0.5, 0.5, 0.5], "scale": 2}, [-0.25] * 3, [0.25] * 3),
    ],
)
def test_cube_of_instant_ngp(tmp_path, entries, low, high):
    """Corners by hand: position * scale + offset reaches from 0.5 - s / 2 to 0.5 + s / 2 there."""
    write_transforms(tmp_path, **entries)
    box = read_transforms(tmp_path).capture_box
    assert box is not None
    np.testing.assert_allclose(box, [low, high])


def test_blender_with_a_mask_in_one_file_and_without_the_images_of_another(tmp_path):
    write_blender(tmp_path, train=2, val=1, test=2)
    shutil.rmtree(tmp_path / "test")
    meta = json.loads((tmp_path / "transforms_train.json").read_text())
    meta["frames"][0]["mask_path"] = "train/r_1.png"
    write_json(tmp_path / "transforms_train.json", meta)
    scene = read_blender(tmp_path)
    assert scene.mask_paths == (tmp_path / "train/r_1.png", None, None) and scene.absent == ("test/r_0", "test/r_1")
    assert scene.splits == {"train": (0, 1), "val": (2,)} and scene.has_alpha.all()


@pytest.mark.parametrize("spelling", ["images/../images/view_00.png", "{}/images/view_00", "link/view_00.png", "v.png"])
def test_one_file_is_one_view(tmp_path, spelling):
    write_transforms(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    (tmp_path / "v.png").symlink_to(tmp_path / "images/view_00.png")
    edit(tmp_path, 1, file_path=spelling.format(tmp_path))
    with pytest.raises(ValueError, match=r"'frames': expected each image once, got '.*view_00.png' twice"):
        read_transforms(tmp_path)


def test_a_split_may_spell_paths_otherwise(tmp_path):
    """With the extension that a frame lacks, as on Windows, through a folder and back, and behind a linked folder."""
    write_transforms(tmp_path / "real", test_filenames=["images/view_01.png"])
    edit(tmp_path / "real", 1, file_path="images/view_01")
    assert read_transforms(tmp_path / "real").splits == {"test": (1,)}
    own = f"{tmp_path}/real/images"
    train, test = [".\\images\\view_00.png"], [f"{own}/../images/view_03"]
    write_transforms(tmp_path / "real", train_filenames=train, test_filenames=test)
    for index in range(5):
        edit(tmp_path / "real", index, file_path=f"{own}/view_{index:02d}.png")
    edit(tmp_path / "real", 3, file_path="images/view_03")
    splits = read_transforms(tmp_path / "real").splits
    assert {split: len(views) for split, views in splits.items()} == {"train": 1, "test": 1}
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_transforms(tmp_path / "link").splits == splits


@pytest.mark.parametrize("name", ["a\0b/c.png", "\ud800/x.png", "images/\ud800.png", "a" * 5000 + "/x.png"])
def test_names_that_no_file_can_have(tmp_path, name):
    write_transforms(tmp_path)
    edit(tmp_path, 1, file_path=name)
    assert len(read_transforms(tmp_path)) == 4
    write_transforms(tmp_path, train_filenames=[name])
    with pytest.raises(ValueError, match="train_filenames: expected paths that 'frames' lists"):
        read_transforms(tmp_path)
    write_transforms(tmp_path)
    edit(tmp_path, 1, mask_path=name)
    with pytest.raises(FileNotFoundError, match="mask of 'images/view_01.png'"):
        read_transforms(tmp_path)
    edit(tmp_path, 1, mask_path="")
    assert not any(read_transforms(tmp_path).mask_paths)


def test_what_is_no_file_is_refused(tmp_path):
    write_transforms(tmp_path)
    write_srn(tmp_path / "srn")
    places = (tmp_path / "images/view_01.png", tmp_path / "transforms.json", tmp_path / "srn/pose/000001.txt")
    readers = (read_transforms, read_transforms, lambda _: read_srn(tmp_path / "srn"))
    for place, read in zip(places, readers, strict=True):
        content = place.read_bytes()
        for make, kind in ((os.mkfifo, "pipe"), (lambda path: path.symlink_to("/dev/zero"), "device")):
            place.unlink()
            make(place)
            with pytest.raises(ValueError, match=f"{place.name}: expected a regular file, got a {kind}"):
                read(tmp_path)
        place.unlink()
        place.write_bytes(content)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"aabb_scale": 1, "offset": 3}, "offset: expected 3 numbers"),
        ({"aabb_scale": -1}, "aabb_scale: expected a positive number, got -1"),
        ({"val_filenames": ["images/view_00.png"] * 2}, "val_filenames: expected each image once"),
    ],
)
def test_bad_values(tmp_path, top, message):
    """Others are in the table of bad input."""
    write_transforms(tmp_path, **top)
    with pytest.raises(ValueError, match=rf"transforms\.json, {message}"):
        read_transforms(tmp_path)


def test_blender_with_an_image_in_two_files(tmp_path):
    write_blender(tmp_path, train=3, test=2)
    shutil.copy(tmp_path / "transforms_train.json", tmp_path / "transforms_test.json")
    with pytest.raises(ValueError, match=r"transforms_\*\.json: expected each image once, got '.*r_0\.png' twice"):
        read_blender(tmp_path)


def test_srn_by_hand(tmp_path):
    poses = write_srn(tmp_path / "car", size=16)
    scene = read_srn(tmp_path / "car")
    assert scene.name == "car" and scene.splits == {}
    np.testing.assert_allclose(scene.camera_to_worlds, poses[:, :3], atol=1e-12)
    # 16 pixels of 128: an eighth, as a float.
    np.testing.assert_array_equal([scene.fx[0], scene.fy[0], scene.cx[0], scene.cy[0]], [16.40625, 16.40625, 8.0, 7.75])
    for path in (tmp_path / "car/rgb").iterdir():
        write_image(path, 64, 32)
    (tmp_path / "car/rgb/000002.png").unlink()
    scene = read_srn(tmp_path / "car")
    assert len(scene) == 2 and scene.absent == ("000002",)
    np.testing.assert_array_equal([scene.fx[0], scene.fy[0]], [131.25 / 2, 131.25 / 4])


def test_srn_world_to_camera_flag_and_a_bad_size(tmp_path):
    poses = write_srn(tmp_path, intrinsics="131.25 64. 62. 0.\n0. 0. 0.\n1.\n1.\n128 128\n1\n")
    for path in (tmp_path / "pose").iterdir():
        inverse = np.linalg.inv(np.array(path.read_text().split(), dtype=float).reshape(4, 4))
        path.write_text("\n".join(" ".join(map(repr, row)) for row in inverse.tolist()))
    np.testing.assert_allclose(read_srn(tmp_path).camera_to_worlds, poses[:, :3], atol=1e-9)
    write_srn(tmp_path, intrinsics="131.25 64 62 0\n0 128")
    with pytest.raises(ValueError, match=r"intrinsics\.txt.*height: expected a positive number"):
        read_srn(tmp_path)
