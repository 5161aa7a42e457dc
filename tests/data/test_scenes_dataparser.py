"""The dataparser `scenes`: outputs, splits, bounds, bad data, and agreement with nerfstudio's own dataparsers."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.data.dataparsers.base_dataparser import transform_poses_to_original_space
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from PIL import Image
from scene_folders import edited, write_balls, write_blender, write_image, write_masks, write_srn, write_transforms

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, color_name
from latent_nerfstudio.fleet.plan import scene_folder

ROOT = Path(__file__).parents[2]
FOX = Path(os.environ.get("LATENT_NERFSTUDIO_FOX") or next(ROOT.parent.glob("*/data/fox"), ROOT / "data/fox"))
"""instant-ngp's capture `fox`: where the variable says, or in a folder beside the repository."""


def outputs_of(data, split="train", **options):
    return ScenesDataParserConfig(data=data, **options).setup().get_dataparser_outputs(split)


@pytest.fixture
def mixed(tmp_path):
    """Three scenes of different layouts and sizes, among a hidden folder and one without a scene."""
    write_srn(tmp_path / "c srn", count=5, size=16)
    write_transforms(tmp_path / "a ünïcode", count=4)
    write_blender(tmp_path / "b", train=3, test=2)
    write_transforms(tmp_path / ".hidden")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_scenes_of_a_folder(mixed):
    """Their indices are the same for every split, and they are chosen by name or number."""
    parser = ScenesDataParserConfig(data=mixed).setup()
    for split, index in (("train", [0] * 3 + [1] * 3 + [2] * 4), ("test", [0, 1, 1, 2]), ("val", [0, 1, 1, 2])):
        outputs = parser.get_dataparser_outputs(split)
        assert outputs.metadata["scene_names"] == ["a ünïcode", "b", "c srn"]
        assert outputs.metadata["scene_index"] == index
        folders = [path.parts[len(mixed.parts)] for path in outputs.image_filenames]
        assert folders == [outputs.metadata["scene_names"][i] for i in index]
        indices = outputs.cameras.metadata["scene_index"]
        assert indices.dtype == torch.int64 and indices.flatten().tolist() == index
        assert outputs.cameras.width.flatten().tolist() == [(12, 8, 16)[i] for i in index]
    assert outputs_of(mixed, scenes=("c srn", "b")).metadata["scene_names"] == ["b", "c srn"]
    assert outputs_of(mixed, max_scenes=2).metadata["scene_names"] == ["a ünïcode", "b"]


def test_a_scene_by_its_folder_the_working_folder_or_its_camera_file(tmp_path, monkeypatch):
    write_transforms(tmp_path / "images")
    monkeypatch.chdir(tmp_path / "images")
    assert outputs_of(Path()).metadata["scene_names"] == ["images"]
    monkeypatch.chdir(tmp_path)
    assert outputs_of(Path("images")).image_filenames[0] == Path("images/images/view_01.png")
    assert scene_folder(tmp_path / "images", "images") == tmp_path / "images"
    (tmp_path / "images/transforms.json").rename(tmp_path / "images/cameras.json")
    assert outputs_of(tmp_path / "images/cameras.json").metadata["scene_names"] == ["images"]
    write_blender(tmp_path / "lego", test=2)
    assert len(outputs_of(tmp_path / "lego/transforms_train.json").image_filenames) == 4


def test_distortion_camera_type_and_alpha_colour_of_each_scene(tmp_path):
    write_transforms(tmp_path / "a", count=2, k1=0.5)
    write_transforms(tmp_path / "b", count=2, camera_model="OPENCV_FISHEYE")
    cameras = outputs_of(tmp_path).cameras
    assert cameras.distortion_params.tolist() == [[0.5, 0, 0, 0, 0, 0], [0.0] * 6]
    assert cameras.camera_type.flatten().tolist() == [CameraType.PERSPECTIVE.value, CameraType.FISHEYE.value]
    assert outputs_of(tmp_path, scenes=("b",)).cameras.distortion_params is None
    write_blender(tmp_path)
    assert outputs_of(tmp_path, alpha_color="black").alpha_color.tolist() == [0.0, 0.0, 0.0]
    assert outputs_of(tmp_path, alpha_color=None).alpha_color is None
    assert [color_name(color) for color in ((0.0, 0.0, 1.0), (0.2, 0.3, 0.4))] == ["blue", None]


def test_masks(tmp_path):
    write_transforms(tmp_path / "a", count=3)
    write_masks(tmp_path / "a", lambda index: np.ones((8, 12)))
    assert outputs_of(tmp_path).mask_filenames == [tmp_path / "a/masks/1.png", tmp_path / "a/masks/2.png"]
    write_srn(tmp_path / "b", count=3)
    outputs = outputs_of(tmp_path)
    assert outputs.mask_filenames == [tmp_path / "a/masks/1.png", tmp_path / "a/masks/2.png", None, None]
    assert outputs.metadata["dynamic_masks"] is None


APPLIED = {"applied_transform": [[0, 1, 0, 2], [1, 0, 0, 3], [0, 0, -1, 4]], "applied_scale": 0.5}
NONE = {"orientation_method": "none", "center_method": "none", "auto_scale_poses": False}
UP = {"orientation_method": "up", "center_method": "poses", "auto_scale_poses": True, "scale_factor": 2.0}
FOCUS = {"orientation_method": "pca", "center_method": "focus", "auto_scale_poses": False}


@pytest.mark.parametrize(
    ("top", "options"),
    [
        ({}, FOCUS),
        ({"k1": 0.1, "k2": -0.02, "k3": 0.01, "k4": -0.03, "p1": 0.003, "p2": -0.004}, UP),
        ({"camera_model": "OPENCV_FISHEYE", "k1": 0.1}, NONE),
        (APPLIED, NONE),
        (APPLIED, UP),
    ],
)
def test_agrees_with_nerfstudio(tmp_path, top, options):
    names = [f"images/view_{i:02d}.png" for i in range(6)]
    splits = {"train_filenames": names[1:4], "val_filenames": names[4:], "test_filenames": names[:1]}
    write_transforms(tmp_path, count=6, **top, **splits)
    for split in ("train", "val", "test"):
        ours = outputs_of(tmp_path, split, **options)
        theirs = NerfstudioDataParserConfig(data=tmp_path, **options).setup().get_dataparser_outputs(split)
        assert ours.image_filenames == theirs.image_filenames
        assert_same_cameras(ours.cameras, theirs.cameras)
        torch.testing.assert_close(ours.dataparser_transform, theirs.dataparser_transform[:3])
        assert ours.dataparser_scale == pytest.approx(theirs.dataparser_scale)
        torch.testing.assert_close(ours.scene_box.aabb, theirs.scene_box.aabb)


def assert_same_cameras(ours, theirs):
    for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type"):
        # nerfstudio's Blender parser leaves focal lengths in float64.
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), msg=name, check_dtype=False)
    if ours.distortion_params is None:
        assert (theirs.distortion_params is None) or not theirs.distortion_params.any()
    else:
        torch.testing.assert_close(ours.distortion_params, theirs.distortion_params)


def test_agrees_with_nerfstudio_on_blender(tmp_path):
    write_blender(tmp_path, train=12, val=2, test=3)
    for split in ("train", "val", "test"):
        ours = outputs_of(tmp_path, split)
        theirs = BlenderDataParserConfig(data=tmp_path).setup().get_dataparser_outputs(split)
        assert ours.image_filenames == theirs.image_filenames
        assert_same_cameras(ours.cameras, theirs.cameras)


def test_each_scene_is_placed_for_itself(mixed):
    outputs = outputs_of(mixed, center_method="poses", auto_scale_poses=True)
    plain, meta = outputs_of(mixed), outputs.metadata
    for index in range(3):
        rows = [i for i, scene in enumerate(meta["scene_index"]) if scene == index]
        placement = meta["scene_transforms"][index], meta["scene_scales"][index]
        original = transform_poses_to_original_space(outputs.cameras.camera_to_worlds[rows], *placement, "opengl")
        torch.testing.assert_close(original, plain.cameras.camera_to_worlds[rows], atol=1e-4, rtol=1e-4)
    assert outputs.dataparser_scale == 1.0


def test_bounds_are_the_union_of_the_files_and_follow_the_placement(tmp_path):
    write_transforms(tmp_path / "a", aabb=[[-1, -1, -1], [1, 1, 0.5]])
    write_transforms(tmp_path / "b", aabb=[[-0.5, -2, 0], [0, 0, 2]])
    outputs = outputs_of(tmp_path)
    assert outputs.scene_box.aabb.tolist() == [[-1, -2, -1], [1, 1, 2]]
    assert outputs.metadata["scene_boxes"][1].tolist() == [[-0.5, -2, 0], [0, 0, 2]]
    scaled = outputs_of(tmp_path, bounds="file", scene_scale=2.0, scale_factor=0.5).scene_box.aabb
    torch.testing.assert_close(scaled, torch.tensor([[-1, -1.75, -1.25], [1, 1.25, 1.75]]))
    placed = outputs_of(tmp_path, center_method="poses", scenes=("a",))
    box, centre = torch.tensor([[-1, -1, -1], [1, 1, 0.5]]), placed.dataparser_transform[:, 3]
    torch.testing.assert_close(placed.scene_box.aabb, box + centre)


def test_one_opaque_picture_is_left_out_of_the_carving(tmp_path):
    write_balls(tmp_path, radius=0.6)
    Image.open(tmp_path / "07.png").convert("RGB").save(tmp_path / "07.png")
    Image.new("RGBA", (64, 64)).save(tmp_path / "08.png")  # transparent everywhere: a render that failed
    Image.open(tmp_path / "09.png").quantize(8).save(tmp_path / "09.png")
    assert "transparency" in Image.open(tmp_path / "09.png").info
    with pytest.warns(UserWarning, match=r"1 of 24 images have no transparency.*; the first is .*07\.png"):
        aabb = outputs_of(tmp_path, bounds="silhouettes").scene_box.aabb
    assert (aabb[0] <= -0.6).all() and (aabb[1] >= 0.6).all() and aabb.abs().max() < 0.8


def test_a_scene_that_says_nothing_of_the_box_is_named(tmp_path):
    write_balls(tmp_path / "a", radius=0.6)
    write_transforms(tmp_path / "b", aabb=[[-0.2, -0.2, -1], [0.2, 0.2, 1]])
    write_transforms(tmp_path / "c")
    with pytest.warns(UserWarning, match="1 of 3 have no aabb and no undistorted .*; the first is 'c'"):
        aabb = outputs_of(tmp_path).scene_box.aabb
    assert aabb[:, 2].tolist() == [-1, 1] and 0.6 <= aabb[1, 0] < 0.8
    (tmp_path / "c/transforms.json").write_text(json.dumps({**write_transforms(tmp_path / "c"), "aabb_scale": 1}))
    assert outputs_of(tmp_path).scene_box.aabb[1, 0] == pytest.approx(0.5 / 0.33)


def test_bounds_without_any_hint_are_the_unit_box(tmp_path):
    """A box that is told goes before all."""
    write_transforms(tmp_path)
    assert outputs_of(tmp_path, scene_scale=1.5).scene_box.aabb.tolist() == [[-1.5] * 3, [1.5] * 3]
    write_transforms(tmp_path, aabb=[[-2, -2, -2], [2, 2, 2]])
    assert outputs_of(tmp_path, bounds="unit").scene_box.aabb.tolist() == [[-1.0] * 3, [1.0] * 3]
    outputs = outputs_of(tmp_path, box=(-1.0, 0.0, 0.0, 1.0, 2.0, 3.0))
    assert outputs.scene_box.aabb.tolist() == outputs.metadata["scene_boxes"][0].tolist() == [[-1, 0, 0], [1, 2, 3]]


def test_poses_in_the_convention_of_opencv_are_told(tmp_path):
    write_balls(tmp_path, radius=0.3)
    with edited(tmp_path / "transforms.json") as meta:
        for frame in meta["frames"]:
            frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])).tolist()
    with pytest.warns(UserWarning, match=r"no point is inside the silhouettes of all views of scene .*\(OpenGL\)"):
        assert outputs_of(tmp_path).scene_box.aabb.tolist() == [[-1.0] * 3, [1.0] * 3]


def test_absent_images_are_warned_of_once(tmp_path):
    write_transforms(tmp_path / "a")
    (tmp_path / "a/images/view_02.png").unlink()
    parser = ScenesDataParserConfig(data=tmp_path).setup()
    with pytest.warns(UserWarning, match=r"scene 'a', 1 of its 5 listed .* absent: images/view_02\.png"):
        assert len(parser.get_dataparser_outputs("train").image_filenames) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parser.get_dataparser_outputs("test")


def test_views_in_train_and_test_and_exif_orientations_are_warned_of(tmp_path):
    names = [f"images/view_{i:02d}.jpg" for i in range(5)]
    write_transforms(tmp_path, extension=".jpg", train_filenames=names, test_filenames=names[:2])
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "images/view_02.jpg", exif=tags)
    with (
        pytest.warns(UserWarning, match="2 views of scene .* are in its train and its evaluation split"),
        pytest.warns(UserWarning, match=r"1 of its photos have an EXIF orientation.*view_02\.jpg"),
    ):
        assert len(outputs_of(tmp_path).image_filenames) == 5


def test_what_names_no_scene_or_one_twice(tmp_path, monkeypatch):
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    with pytest.raises(ValueError, match="desk: expected a scene"):
        outputs_of(Path())
    write_transforms(tmp_path / "Car")
    write_transforms(tmp_path / "car")
    with pytest.raises(ValueError, match="expected each scene once, got 'Car' and 'car'"):
        outputs_of(tmp_path)


@pytest.mark.parametrize(
    ("data", "got", "do"),
    [
        ("notes", "none in it or in its 1 subfolders", "find the cameras of its photos with lns process-photos"),
        ("cars", "an empty folder", "check --data"),
        ("cars/red/images", "none in it or in its 0 subfolders", "use --data .*cars/red"),
        (".", "none in it or in its 2 subfolders", "use --data .*cars"),
    ],
)
def test_a_folder_without_scenes_names_one_nearby(tmp_path, data, got, do):
    (tmp_path / "cars").mkdir()
    if data != "cars":
        write_transforms(tmp_path / "cars/red")
    write_image(tmp_path / "notes/photos/a.png")
    with pytest.raises(ValueError, match=f"expected a scene .*, got {got}; {do}$"):
        outputs_of(tmp_path / data)


def test_folders_that_are_no_scenes_are_named_in_one_line(tmp_path):
    """Five of them, and why; hidden ones are nobody's, and who names scenes knows."""
    for name in ("a", "b", ".hidden"):
        write_transforms(tmp_path / name)
    for index in range(5):
        (tmp_path / f"empty {index}").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").touch()
    write_image(tmp_path / "d" / "images" / "0.jpg")
    with pytest.warns(UserWarning) as told:
        assert outputs_of(tmp_path).metadata["scene_names"] == ["a", "b"]
    assert {one.category for one in told} == {UserWarning}  # and none of a folder that is left open
    (line,) = [str(one.message) for one in told if "left out" in str(one.message)]
    assert f"scenes: 7 of 9 folders in {tmp_path} are no scenes and left out: 'c' (no camera file), 'd' (" in line
    assert "photos without a camera file: see lns process-photos), 'empty 0' (empty)," in line
    assert line.endswith("'empty 2' (empty) and 2 more")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs_of(tmp_path, scenes=("a",))
        outputs_of(tmp_path / "a")


def test_doubts_about_cameras_are_warned_of_once(tmp_path):
    for name in ("a", "b"):
        write_transforms(tmp_path / name)
        with edited(tmp_path / name / "transforms.json") as meta:
            meta["frames"][1]["fl_x"] = 99.0
    with pytest.warns(UserWarning) as told:
        outputs_of(tmp_path)
    (line,) = [str(one.message) for one in told if "fl_x" in str(one.message)]
    assert line.startswith("scenes: scene 'a', camera file, fl_x: ") and line.endswith("(1 more scene(s) with doubts)")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_interval": 1}, "eval_interval: expected 2 or more, got 1"),
        ({"scene_scale": float("nan")}, "scene_scale: expected a positive number, got nan"),
        ({"bounds": "silhouettes"}, "bounds 'silhouettes': expected undistorted images with agreeing alpha"),
        ({"split": "eval"}, "split: expected one of train, val, test, got 'eval'"),
    ],
)
def test_bad_options(tmp_path, options, message):
    write_transforms(tmp_path)
    with pytest.raises(ValueError, match=message):
        outputs_of(tmp_path, **options)


def test_real_capture():
    if not (FOX / "transforms.json").is_file():
        pytest.skip(f"the capture 'fox' of instant-ngp is not at {FOX}; set LATENT_NERFSTUDIO_FOX to its folder")
    train, test = outputs_of(FOX), outputs_of(FOX, "test")
    assert (len(train.image_filenames), len(test.image_filenames)) == (45, 5)
    assert (float(train.cameras.fx[0]), float(train.cameras.cy[0])) == pytest.approx((458.50667, 321.756))
    distortion = [0.0578421, -0.0805099, 0, 0, -0.000980296, 0.00015575]
    assert train.cameras.distortion_params[0].tolist() == pytest.approx(distortion)
    torch.testing.assert_close(train.scene_box.aabb, torch.tensor([[-2 / 0.33] * 3, [2 / 0.33] * 3]))
    theirs = NerfstudioDataParserConfig(data=FOX, eval_mode="all", **NONE).setup()
    everything = theirs.get_dataparser_outputs("train")
    rows = [everything.image_filenames.index(path) for path in train.image_filenames]
    assert_same_cameras(train.cameras, everything.cameras[torch.tensor(rows)])
