"""The tri-plane NeRF: rays, scenes, samplers, crops, losses, and planes that are kept between frames."""

from dataclasses import replace

import pytest
import torch
from small_nerfs import rays_at
from tiny import SHARED, gradients, small_nerf, triplane_of

from latent_nerfstudio.fields.triplane_field import TriplaneField

MICRO = {}
MACRO = {"micro_features": 0, **SHARED}
SINGLE = {**MACRO, "num_base_planes": 1}
KINDS = pytest.mark.parametrize("kind", [MICRO, MACRO, SHARED, SINGLE], ids=["micro", "macro", "both", "single"])


def wide(**settings):
    return replace(small_nerf(), **settings)


def test_rendering_repeats_and_training_jitters():
    model, bundle = triplane_of(), rays_at()
    model.eval()
    assert torch.equal(model(bundle)["latent"], model(bundle)["latent"])
    model.train()
    assert not torch.equal(model(bundle)["latent"], model(bundle)["latent"])


def test_importance_sampling():
    model, bundle = triplane_of(wide(num_importance_samples=8)).eval(), rays_at()
    assert torch.equal(model(bundle)["latent"], model(bundle)["latent"])
    reference = triplane_of(wide(num_samples=400)).eval()(bundle)["latent"]
    coarse = triplane_of(wide()).eval()(bundle)["latent"]
    assert (model(bundle)["latent"] - reference).abs().mean() < (coarse - reference).abs().mean()
    model.train()(bundle)["latent"].sum().backward()
    assert all(gradients(*model.field.parameters()))


@KINDS
def test_mixed_scenes_are_rendered_as_alone(kind):
    model = triplane_of(small_nerf(**kind), num_scenes=3, num_channels=4).eval()
    scenes = torch.tensor([2, 0, 2, 1, 0] * 8)
    bundle = rays_at(scenes=scenes)
    together = model(bundle)
    for scene in range(3):
        alone = model(bundle[scenes == scene])
        for name in ("latent", "accumulation", "depth"):
            torch.testing.assert_close(together[name][scenes == scene], alone[name], atol=1e-5, rtol=1e-5)


def test_scenes_that_are_known_on_the_host_change_nothing():
    model = triplane_of(num_scenes=5).eval()
    bundle = rays_at(scenes=[3, 1] * 20)
    for known in ([1, 3], [0, 1, 3]):
        torch.testing.assert_close(model.get_outputs(bundle, torch.tensor(known))["latent"], model(bundle)["latent"])
    alone = rays_at(scenes=[2] * 40)
    assert torch.equal(model.get_outputs(alone, torch.tensor([2]))["latent"], model(alone)["latent"])


@KINDS
def test_every_parameter_is_trained(kind):
    model = triplane_of(small_nerf(**kind), num_scenes=2, num_channels=4).train()
    outputs = model(rays_at(scenes=[0, 1] * 20))
    losses = model.get_loss_dict(outputs, {"latent": torch.rand(40, 4)})
    assert sorted(losses) == ["latent_loss", "total_variation"]
    sum(losses.values()).backward()
    groups = model.get_param_groups()
    has = {"planes": "micro_features" not in kind, "shared_planes": bool(kind), "mlp": True}
    assert list(groups) == [name for name, is_there in has.items() if is_there]
    assert all(all(gradients(*group)) for group in groups.values())


def test_total_variation_by_hand_and_none_without_weight_or_training():
    for weight in (0.5, 0.0):
        model = triplane_of(wide(total_variation_weight=weight)).train()
        found, planes = model.get_regularization_dict(model(rays_at())), model.field.micro_planes
        expected = weight * ((planes.diff(dim=-1) ** 2).mean() + (planes.diff(dim=-2) ** 2).mean())
        torch.testing.assert_close(found, {"total_variation": expected} if weight else {})
        assert model.eval().get_regularization_dict(model(rays_at())) == {}


def test_bounds_of_the_rays_are_kept():
    model, bundle = triplane_of(wide(num_samples=400)).eval(), rays_at(spread=0.2)
    whole = model(bundle)["accumulation"]
    bundle.nears, bundle.fars = torch.full((40, 1), 0.0), torch.full((40, 1), 1e10)
    assert torch.equal(model(bundle)["accumulation"], whole)
    bundle.nears, bundle.fars = torch.full((40, 1), 2.9), torch.full((40, 1), 3.1)
    part = model(bundle)
    assert bool((part["accumulation"] < whole).all()) and bool((part["accumulation"] > 0).all())


def test_contraction_keeps_the_box_in_the_middle_and_brings_the_rest_in():
    model = triplane_of(wide(scene_contraction=True))
    inside = torch.rand(20, 3) * 2 - 1
    torch.testing.assert_close(model.normalize(inside), inside / 2)
    far = torch.tensor([[1e6, 0.0, 0.0], [-50.0, 70.0, 3.0], [0.0, 2.0, 0.0]])
    normalized = model.normalize(far)
    assert bool((normalized.abs() <= 1).all())
    torch.testing.assert_close(normalized[2], torch.tensor([0.0, 0.75, 0.0]))
    bundle = rays_at(20)
    bundle.directions = -bundle.directions
    outputs = model(bundle)
    assert all(bool(torch.isfinite(outputs[name]).all()) for name in ("latent", "accumulation", "depth"))
    assert bool((outputs["accumulation"] > 0).all())
    outputs["latent"].sum().backward()
    assert all(gradients(*model.field.parameters()))


@pytest.fixture
def composed(monkeypatch):
    """Scenes for which planes were composed, a list for each time."""
    calls, original = [], TriplaneField.scene_planes

    def scene_planes(field, scenes):
        calls.append(scenes.tolist())
        return original(field, scenes)

    monkeypatch.setattr(TriplaneField, "scene_planes", scene_planes)
    return calls


def model_of():
    return triplane_of(small_nerf(**SHARED), num_scenes=3).eval()


@torch.no_grad()
def test_frames_of_the_same_scenes_share_their_planes(composed):
    model, bundle = model_of(), rays_at(scenes=[0, 2] * 20)
    first, second = model(bundle)["latent"], model(bundle)["latent"]
    assert composed == [[0, 2]] and torch.equal(first, second)
    for scene in (1, 0):
        model(rays_at(scenes=[scene] * 40))
    model(bundle)
    assert composed == [[0, 2], [1], [0], [0, 2]]


@torch.no_grad()
def test_a_changed_parameter_is_seen():
    model, bundle = model_of(), rays_at(scenes=[1] * 40)
    for parameter in (model.field.micro_planes, model.field.base_planes, model.field.scene_weights):
        before = model(bundle)["latent"]
        parameter.mul_(3)
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
