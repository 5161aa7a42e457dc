"""Rendered views as data: the cameras of scene files, and what the dataparser reads again."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from learned import bundle_of, model_of
from nerfstudio.cameras.cameras import Cameras
from PIL import Image
from tiny import poses_around, write_ball

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.scene_files.views import (
    SceneCameras,
    cameras_from_facts,
    usual_cameras,
    view_facts,
    write_views,
)

CAMERAS = SceneCameras(height=12, width=16, fx=15.0, fy=14.0, radius=2.5)


@pytest.fixture(scope="module")
def model(taesd):
    return model_of(("red", "blue"), taesd)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, model):
    return bundle_of(tmp_path_factory.mktemp("bundle"), model)


def test_cameras_of_a_scene_and_from_facts(tmp_path, bundle):
    write_ball(tmp_path / "ball", width=36, height=20)
    cameras = ScenesDataParserConfig(data=tmp_path / "ball").setup().get_dataparser_outputs("train").cameras
    facts = view_facts(cameras, torch.zeros(2, 3))
    assert facts["views"] == len(cameras)
    assert facts["cameras"] == {"height": 20, "width": 36, "fx": 20.0, "fy": 20.0, "radius": pytest.approx(2.5)}
    assert view_facts(cameras, torch.full((2, 3), 100.0))["cameras"]["radius"] > 150
    assert cameras_from_facts({"cameras": asdict(CAMERAS)}, bundle, "x") == CAMERAS
    usual = usual_cameras(bundle)
    assert (usual.height, usual.width) == (16, 16)  # planes of 8 texels, a factor of 2
    assert (usual.fx, usual.radius) == (17.5, 2.6)  # the box is 2 long
    assert cameras_from_facts({}, bundle, "x") == cameras_from_facts({"cameras": None}, bundle, "x") == usual
    assert cameras_from_facts({"cameras": {"radius": 4, "more": "ignored"}}, bundle, "x").radius == 4


@pytest.mark.parametrize("distance", [0.0, 1e-7, 1.3e7])
def test_cameras_of_any_photos_are_read_again(bundle, distance):
    """In the middle of their box, or of units whose numbers are large: such a fact once kept a whole folder from
    being opened. Photos above 4096 pixels are made smaller, with their lens."""
    poses = torch.eye(4)[:3].repeat(3, 1, 1)
    poses[:, 1, 3] = distance
    fact = view_facts(Cameras(poses, 8000.0, 8000.0, 2048.0, 4096.0, 4096, 8192), torch.zeros(2, 3))["cameras"]
    assert fact == {"height": 4096, "width": 2048, "fx": 4000.0, "fy": 4000.0}
    small = 1e-8  # the scale of a scene of large units: its usual distance, 2.6e8, is beyond what a fact may say
    assert cameras_from_facts({"cameras": fact}, bundle, "x", small).radius == pytest.approx(2.6e8)


@pytest.mark.parametrize(
    "given", [7, [1], {"height": 0}, {"width": 5000}, {"fx": -1.0}, {"radius": "far"}, {"fy": None}, {"height": True}]
)
def test_facts_that_are_no_cameras_are_refused(bundle, given):
    with pytest.raises(ValueError, match="scene 'x': expected height and width up to 4096, fx, fy and radius"):
        cameras_from_facts({"cameras": given}, bundle, "scene 'x'")


def test_views_are_pictures_of_the_scene_and_read_as_data(tmp_path, model):
    poses = poses_around(3)
    for scene in model.scene_names:
        write_views(tmp_path / scene, model, scene, CAMERAS, poses)
    parser = ScenesDataParserConfig(data=tmp_path).setup()
    train, held_out = (parser.get_dataparser_outputs(split) for split in ("train", "val"))
    assert (len(train.cameras), len(held_out.cameras)) == (4, 2)
    assert train.metadata["scene_names"] == ["blue", "red"]
    np.testing.assert_allclose(train.scene_box.aabb, model.scene_box.aabb)
    cameras = held_out.cameras
    assert (float(cameras.fx[1]), float(cameras.fy[1]), int(cameras.height[1])) == (15.0, 14.0, 12)
    np.testing.assert_allclose(cameras.camera_to_worlds[1], poses[0, :3], atol=1e-6)
    camera = cameras[1:2]  # red, whose index in the model is another
    camera.metadata = {"scene_index": torch.zeros(1, 1, dtype=torch.long)}
    expected = model.get_outputs_for_camera(camera)["rgb"]
    stored = np.asarray(Image.open(held_out.image_filenames[1])) / 255
    np.testing.assert_allclose(stored, expected, atol=0.5 / 255 + 1e-5)
