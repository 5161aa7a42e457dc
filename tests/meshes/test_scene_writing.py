"""Scenes on disk."""

import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from latent_nerfstudio.data.layouts import read_scene
from latent_nerfstudio.meshes.jobs import SceneJob, write_scene
from latent_nerfstudio.meshes.raycast import Raycaster
from latent_nerfstudio.meshes.surface import surface_of


def job(folder, views=21, resolution=16) -> SceneJob:
    return SceneJob(folder, views, resolution, seed=0)


@pytest.fixture
def surface():
    return surface_of(trimesh.creation.box((1.0, 0.5, 0.25))).normalized()


def test_what_a_scene_says_and_shows(tmp_path, surface):
    """Every tenth view is held out, and its box has a margin of two hundredths."""
    write_scene(surface, job(tmp_path / "box"))
    transforms = json.loads((tmp_path / "box" / "transforms.json").read_text())
    lens = {"camera_model": "PINHOLE", "fl_x": 17.5, "fl_y": 17.5, "cx": 8.0, "cy": 8.0, "w": 16, "h": 16}
    assert lens.items() <= transforms.items()
    names = [frame["file_path"] for frame in transforms["frames"]]
    assert names == [f"images/{index:04d}.png" for index in range(21)]
    assert sorted(path.name for path in (tmp_path / "box" / "images").iterdir()) == [name[7:] for name in names]
    for name in names:
        with Image.open(tmp_path / "box" / name) as image:
            assert (image.mode, image.size) == ("RGBA", (16, 16))
            assert np.asarray(image)[8, 8, 3] == 255
    assert transforms["test_filenames"] == transforms["val_filenames"] == names[::10]
    assert transforms["train_filenames"] == [name for index, name in enumerate(names) if index % 10]
    np.testing.assert_allclose(transforms["aabb"], [[-0.52, -0.26, -0.13], [0.52, 0.26, 0.13]])
    write_scene(surface, job(tmp_path / "least", views=2, resolution=8))
    transforms = json.loads((tmp_path / "least" / "transforms.json").read_text())
    assert transforms["train_filenames"] == ["images/0001.png"]


def test_a_sheet_without_thickness_has_a_box_that_is_read_again(tmp_path):
    corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.5, 0.0]]
    sheet = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    write_scene(surface_of(sheet), job(tmp_path / "sheet"))
    np.testing.assert_allclose(read_scene(tmp_path / "sheet").aabb, [[-0.52, -0.26, -0.015], [0.52, 0.26, 0.015]])


def test_an_interrupted_scene_leaves_nothing(tmp_path, surface, monkeypatch):
    seen = []

    def interrupt(*_) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Raycaster, "render", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_scene(surface, job(tmp_path / "box"))
    assert seen[0] != ["box"]
    assert list(tmp_path.iterdir()) == []
