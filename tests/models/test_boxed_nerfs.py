"""What holds of every NeRF that samples rays within a box, ours and Nerfstudio's."""

from dataclasses import replace

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from small_nerfs import SMALL, nerf_of, rays_at, rays_towards, small_kplanes, small_ngp
from tiny import cube, small_nerf

from latent_nerfstudio.fields.boxes import farthest_corner

CAPTURED = {"grid_levels": 3, "alpha_thre": 0.01, "cone_angle": 0.02, "far_plane": 20.0}
NERFS = {"triplane": small_nerf, "kplanes": small_kplanes, "instant-ngp": small_ngp, **SMALL}
EACH = pytest.mark.parametrize("name", list(NERFS))
TRAINING = pytest.mark.parametrize("training", [True, False])


def model_of(name, num_channels=4, settings=None, **options):
    return nerf_of(NERFS[name](**(settings or {})), num_channels, **options)


@pytest.mark.parametrize(("channels", "training"), [(1, True), (16, False)])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in NERFS),
        ("kplanes", {"scene_contraction": True}),
        ("kplanes", {"field": {"view_dependent": True}}),
        ("instant-ngp", {"disable_scene_contraction": False, **CAPTURED}),
        ("instant-ngp", {"use_gradient_scaling": True}),
        *((name, {"disable_scene_contraction": False, "far_plane": 50.0}) for name in ("nerfacto", "vanilla")),
    ],
)
def test_outputs_of_every_ray(name, settings, channels, training):
    outputs = model_of(name, channels, settings).train(training)(rays_at())
    assert [outputs[key].shape for key in ("latent", "accumulation", "depth")] == [(40, channels), (40, 1), (40, 1)]
    assert all(bool(torch.isfinite(outputs[key]).all()) for key in ("latent", "accumulation", "depth"))
    assert bool(((outputs["accumulation"] > 0) & (outputs["accumulation"] <= 1 + 1e-5)).all())


@EACH
def test_rays_that_miss_collect_exactly_nothing(name):
    model, bundle = model_of(name).eval(), rays_at(10)
    bundle.directions[::2] *= -1
    outputs = model(bundle)
    assert not bool(outputs["latent"][::2].any()) and not bool(outputs["accumulation"][::2].any())
    assert bool((outputs["accumulation"][1::2] > 0).all())
    torch.testing.assert_close(outputs["depth"][::2], farthest_corner(bundle.origins, model.scene_box.aabb)[::2])
    alone = model(bundle[torch.arange(1, 10, 2)])
    torch.testing.assert_close(outputs["latent"][1::2], alone["latent"])


@EACH
@TRAINING
def test_a_bundle_of_which_every_ray_misses(name, training):
    model, bundle = model_of(name).train(training), rays_at()
    bundle.directions = -bundle.directions
    outputs = model(bundle)
    assert not bool(outputs["latent"].any()) and not bool(outputs["accumulation"].any())
    losses = model.get_loss_dict(outputs, {"latent": torch.ones(40, 4)})
    assert float(losses["latent_loss"]) == pytest.approx(1)
    sum(losses.values()).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@EACH
def test_the_argument_is_left_alone(name):
    bundle = rays_at(10, scenes=[0] * 10)
    before = bundle.origins.clone(), bundle.directions.clone()
    model_of(name)(bundle)
    assert bundle.nears is None and bundle.fars is None and bundle.camera_indices is None
    assert torch.equal(bundle.origins, before[0]) and torch.equal(bundle.directions, before[1])
    assert list(bundle.metadata) == ["scene_index"]


@EACH
def test_channels_keep_their_range(name):
    outputs = model_of(name, value_range=(0.0, 1.0)).eval()(rays_at())
    assert bool(((outputs["latent"] >= -0.002) & (outputs["latent"] <= 1.002)).all())


@EACH
def test_crop_boxes(name):
    model, bundle = model_of(name).eval(), rays_towards(100)
    whole = model(bundle)
    model.render_aabb = cube(9.0)
    torch.testing.assert_close(model(bundle)["latent"], whole["latent"])
    model.render_aabb = cube(0.3)
    part = model(bundle)
    assert 0 < int((part["accumulation"] > 0).sum()) < int((whole["accumulation"] > 0).sum())
    for low, high in (([2, 2, 2], [3, 3, 3]), ([-0.5, 0.5, 0], [-0.5, 0.5, 0]), ([0.5] * 3, [-0.5] * 3)):
        model.render_aabb = SceneBox(torch.tensor([low, high], dtype=torch.float32))
        assert not bool(model(bundle)["accumulation"].any()), (low, high)
    assert bool(model.train()(bundle)["accumulation"].any())  # a crop is for rendering alone
    model.eval().render_aabb = None
    bundle.nears, bundle.fars = torch.full((100, 1), 9.0), torch.full((100, 1), 10.0)  # an oriented box far behind
    assert not bool(model(bundle)["accumulation"].any())


@pytest.mark.parametrize("config", [replace(small_nerf(), num_samples=400), small_ngp(steps_across_box=200)])
def test_a_crop_leaves_its_part_of_the_box(config):
    """What both halves let through, one after the other, is what the whole lets through."""
    model, bundle = nerf_of(config).eval(), rays_at(spread=0.2)
    whole, halves = model(bundle)["accumulation"], []
    for low, high in (([-1, -1, -1], [0, 1, 1]), ([0, -1, -1], [1, 1, 1])):
        model.render_aabb = SceneBox(torch.tensor([low, high], dtype=torch.float32))
        halves.append(1 - model(bundle)["accumulation"])
    torch.testing.assert_close(halves[0] * halves[1], 1 - whole, atol=0.03, rtol=0)


@EACH
def test_latent_loss_is_the_mean_squared_error_and_every_parameter_is_in_a_group(name):
    model = model_of(name, side=0.5)
    outputs, target = model(rays_towards(30)), torch.randn(30, 4)
    losses = model.get_loss_dict(outputs, {"latent": target})
    assert float(losses["latent_loss"]) == pytest.approx(float((outputs["latent"] - target).square().mean()), rel=1e-5)
    grouped = {id(p) for group in model.get_param_groups().values() for p in group}
    assert [n for n, p in model.named_parameters() if id(p) not in grouped and p.requires_grad and p.numel()] == []


@pytest.mark.parametrize("name", ["kplanes", "instant-ngp"])
def test_several_scenes_need_planes_of_each(name):
    with pytest.raises(ValueError, match="expected one scene, got 2"):
        model_of(name, num_scenes=2)
