"""Pictures and cameras written as a scene: read as they were given, and in the place of nothing else."""

import json

import pytest
import torch
from scene_folders import edited
from tiny import camera_of

from latent_nerfstudio.api.scene_folder import save_scene
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig


def test_a_scene_is_read_as_it_was_written_and_takes_its_own_place_alone(tmp_path):
    cameras, box = camera_of(16, 12, count=3), torch.tensor([[-1.0] * 3, [1.0] * 3])
    (tmp_path / "link").symlink_to(tmp_path / "scene")
    for folder in ("scene", "link"):
        save_scene(tmp_path / folder, torch.rand(3, 12, 16, 3), cameras, box)
    assert (tmp_path / "link").is_symlink() and sorted(p.name for p in tmp_path.iterdir()) == ["link", "scene"]
    outputs = ScenesDataParserConfig(data=tmp_path / "scene").setup().get_dataparser_outputs("train")
    pose = json.loads((tmp_path / "scene" / "transforms.json").read_text())["frames"][0]["transform_matrix"]
    torch.testing.assert_close(torch.tensor(pose)[:3], cameras.camera_to_worlds[0])
    assert outputs.scene_box.aabb.tolist() == box.tolist()


@pytest.mark.parametrize("name", ["video.mp4", "images/frame_00001.png", "images/0000.jpg"])
def test_a_capture_is_not_replaced(tmp_path, name):
    path = tmp_path / "capture" / name
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "capture" / "transforms.json").touch()
    with pytest.raises(FileExistsError, match=f"got {name}; move it away"):
        save_scene(tmp_path / "capture", torch.rand(2, 8, 8, 3), camera_of(8, 8, count=2))
    assert path.exists()


def test_a_capture_of_the_same_names_is_not_replaced(tmp_path):
    folder, pictures, cameras = tmp_path / "capture", torch.rand(2, 8, 8, 3), camera_of(8, 8, count=2)
    save_scene(folder, pictures, cameras)
    with edited(folder / "transforms.json") as meta:
        meta["written_by"] = "somebody"
    photo = (folder / "images/0001.png").read_bytes()
    with pytest.raises(FileExistsError, match="expected nothing there, or a scene that save_scene wrote"):
        save_scene(folder, 1 - pictures, cameras)
    assert (folder / "images/0001.png").read_bytes() == photo
