"""The nearest photo and the first view: hand-made cameras, and a scene on disk."""

import math

import numpy as np
import pytest
import torch
from tiny import datamanager_of, write_ball

from latent_nerfstudio.data import nearest_photos
from latent_nerfstudio.data.nearest_photos import NearestPhotos, nearest_camera
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig

Z = torch.tensor([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    write_ball(folder / "a", (0.9, 0.2, 0.1), views=6, seed=1)
    write_ball(folder / "b", (0.1, 0.2, 0.9), views=6, seed=2)
    manager = datamanager_of(folder)
    return NearestPhotos(manager.train_dataset, manager.background_color)


def test_place_and_direction_both_count_and_turns_more_from_far():
    positions = torch.tensor([[0.0, 0, 0], [0, 0, 0], [5, 0, 0]])
    forwards = torch.stack([Z, -Z, Z])
    assert nearest_camera(positions, forwards, torch.tensor([0.4, 0, 0]), Z, 1.0) == 0
    assert nearest_camera(positions, forwards, torch.tensor([0.4, 0, 0]), -Z, 1.0) == 1
    assert nearest_camera(positions, forwards, torch.tensor([4.0, 0, 0]), Z, 1.0) == 2
    positions, tilted = torch.tensor([[0.0, 0, 0], [1.5, 0, 0]]), torch.tensor([math.sin(0.5), 0, math.cos(0.5)])
    forwards = torch.stack([tilted, Z])
    assert nearest_camera(positions, forwards, torch.zeros(3), Z, 0.5) == 0
    assert nearest_camera(positions, forwards, torch.zeros(3), Z, 10.0) == 1


def test_a_photo_is_nearest_to_its_own_camera(photos):
    cameras = photos.dataset.cameras
    for index in range(len(cameras)):
        scene = int(photos.scenes[index])
        assert torch.equal(photos.nearest(cameras[index : index + 1], scene), photos.photo(index))
        other = photos.nearest(cameras[index : index + 1], 1 - scene)
        assert other.mean(dim=(0, 1)).argmax() == 2 * (scene == 0) or not torch.equal(other, photos.photo(index))


@pytest.mark.parametrize("alpha_color", ["white", None])
def test_photos_lie_on_the_background(balls, alpha_color):
    manager = datamanager_of(balls, ScenesDataParserConfig(data=balls, alpha_color=alpha_color))
    photos = NearestPhotos(manager.train_dataset, manager.background_color)
    photo = photos.photo(0)
    assert photo.shape == (32, 32, 3) and photo.dtype == torch.float32
    torch.testing.assert_close(photo[0, 0], torch.ones(3))
    centre, distance = photos.centre_and_distance(0)
    assert float(centre.norm()) < 1e-6 and distance == pytest.approx(2.5)


def test_few_photos_are_kept_and_large_ones_made_smaller(photos, monkeypatch):
    first = photos.photo(0)
    assert photos.photo(0) is first and photos.photo.cache_info().maxsize == nearest_photos.KEPT
    monkeypatch.setattr(nearest_photos, "TALLEST", 16)
    assert photos.read(0).shape == (16, 16, 3)
    assert len(photos.of_scene(9)) == len(photos.scenes), "a scene without photos takes all"


def test_the_first_view_looks_at_the_scene_from_above(photos):
    position, target, fov = photos.start(0)
    assert np.linalg.norm(target - photos.centres[0].numpy()) < 1e-3
    assert 1.5 < np.linalg.norm(position) < 2.5  # nearer than the photo's camera, at 2.5, and outside of the box
    elevation = math.degrees(math.asin(position[2] / np.linalg.norm(position)))
    others = photos.positions[photos.of_scene(0)]
    best = min(abs(math.degrees(math.asin(float(p[2] / p.norm()))) - 25) for p in others)
    assert abs(elevation - 25) == pytest.approx(best, abs=0.5)
    assert fov == pytest.approx(2 * math.atan(0.5), abs=1e-3)
