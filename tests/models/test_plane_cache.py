"""Planes kept between frames: the same as fresh ones, made anew when anything changed, and never in training."""

import pytest
import torch
from small_nerfs import rays_at
from tiny import SHARED, small_nerf, triplane_of

from latent_nerfstudio.fields.triplane_field import TriplaneField


@pytest.fixture
def composed(monkeypatch):
    """Scenes for which planes were composed, a list for each time."""
    calls, original = [], TriplaneField.scene_planes

    def scene_planes(field, scenes):
        calls.append(scenes.tolist())
        return original(field, scenes)

    monkeypatch.setattr(TriplaneField, "scene_planes", scene_planes)
    return calls


def model_of(scenes=3):
    return triplane_of(small_nerf(**SHARED), num_scenes=scenes).eval()


@torch.no_grad()
def test_frames_of_the_same_scenes_share_their_planes(composed):
    model, bundle = model_of(), rays_at(scenes=[0, 2] * 20)
    first, second = model(bundle)["latent"], model(bundle)["latent"]
    assert composed == [[0, 2]] and torch.equal(first, second)
    for scene in (1, 0):
        model(rays_at(scenes=[scene] * 40))
    model(bundle)
    assert composed == [[0, 2], [1], [0], [0, 2]]


@pytest.mark.parametrize("name", ["micro_planes", "base_planes", "scene_weights"])
@torch.no_grad()
def test_a_changed_parameter_is_seen(name):
    model, bundle = model_of(), rays_at(scenes=[1] * 40)
    before = model(bundle)["latent"]
    getattr(model.field, name).mul_(3)
    after = model(bundle)["latent"]
    model.kept_planes = None
    assert not torch.allclose(before, after) and torch.equal(after, model(bundle)["latent"])


def test_nothing_is_kept_in_training_or_for_gradients(composed):
    model, bundle = model_of(), rays_at(scenes=[1] * 40)
    with torch.no_grad():
        model(bundle)
    assert model.kept_planes is not None
    model(bundle)["latent"].sum().backward()
    assert model.kept_planes is None and model.field.micro_planes.grad is not None
    model.train()(bundle)
    assert model.kept_planes is None and len(composed) == 3
