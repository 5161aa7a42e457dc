"""Scenes on disk."""

import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from latent_nerfstudio.data.layouts import read_scene
from latent_nerfstudio.meshes.jobs import SceneJob, write_scene
from latent_nerfstudio.meshes.surface import surface_of


def job(folder, views=21, resolution=16) -> SceneJob:
    return SceneJob(folder, views, resolution, seed=0)


@pytest.fixture
def surface():
    return surface_of(trimesh.creation.box((1.0, 0.5, 0.25))).normalized()


@pytest.fixture
def transforms(tmp_path, surface):
    """What the camera file of the scene `box` says."""
    write_scene(surface, job(tmp_path / "box"))
    return json.loads((tmp_path / "box" / "transforms.json").read_text())


def test_transforms_describe_the_images(tmp_path, transforms):
    lens = {"camera_model": "PINHOLE", "fl_x": 17.5, "fl_y": 17.5, "cx": 8.0, "cy": 8.0, "w": 16, "h": 16}
    assert lens.items() <= transforms.items()
    names = [frame["file_path"] for frame in transforms["frames"]]
    assert names == [f"images/{index:04d}.png" for index in range(21)]
    assert sorted(path.name for path in (tmp_path / "box" / "images").iterdir()) == [name[7:] for name in names]
    for name in names:
        with Image.open(tmp_path / "box" / name) as image:
            assert (image.mode, image.size) == ("RGBA", (16, 16))
            assert np.asarray(image)[8, 8, 3] == 255


def test_every_tenth_view_is_held_out(transforms):
    assert transforms["test_filenames"] == ["images/0000.png", "images/0010.png", "images/0020.png"]
    assert transforms["val_filenames"] == transforms["test_filenames"]
    together = transforms["train_filenames"] + transforms["test_filenames"]
    assert sorted(together) == [frame["file_path"] for frame in transforms["frames"]]


def test_box_has_a_margin_of_two_percent(transforms):
    np.testing.assert_allclose(transforms["aabb"], [[-0.52, -0.26, -0.13], [0.52, 0.26, 0.13]])


def test_a_sheet_without_thickness_has_a_box_that_is_read_again(tmp_path):
    corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.5, 0.0]]
    sheet = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    write_scene(surface_of(sheet), job(tmp_path / "sheet"))
    np.testing.assert_allclose(read_scene(tmp_path / "sheet").aabb, [[-0.52, -0.26, -0.015], [0.52, 0.26, 0.015]])


def test_an_interrupted_scene_leaves_nothing(tmp_path, surface):
    seen = []

    def interrupt() -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scene(surface, job(tmp_path / "box"), interrupt)
    assert seen[0] != ["box"]
    assert list(tmp_path.iterdir()) == []


def test_smallest_numbers_are_allowed(tmp_path, surface):
    write_scene(surface, job(tmp_path / "box", views=2, resolution=8))
    transforms = json.loads((tmp_path / "box" / "transforms.json").read_text())
    assert transforms["train_filenames"] == ["images/0001.png"]
