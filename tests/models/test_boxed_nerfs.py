"""What holds of every NeRF of ours that samples rays within a box."""

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from small_nerfs import LINEAR, rays_at, small_kplanes, small_ngp
from tiny import small_nerf

from latent_nerfstudio.fields.boxes import farthest_corner

CAPTURED = {"grid_levels": 3, "alpha_thre": 0.01, "cone_angle": 0.02, "far_plane": 20.0}
NERFS = {"triplane": small_nerf, "kplanes": small_kplanes, "instant-ngp": small_ngp}
EACH = pytest.mark.parametrize("name", list(NERFS))
TRAINING = pytest.mark.parametrize("training", [True, False])


def model_of(name, num_scenes=1, value_range=LINEAR, **settings):
    """A NeRF of four channels in the box [-1, 1]^3, all of whose cells may be occupied."""
    torch.manual_seed(0)
    config, box = NERFS[name](**settings), SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3]))
    options = {"num_channels": 4, "num_scenes": num_scenes, "value_range": value_range}
    model = config.setup(scene_box=box, num_train_data=1, **options)
    if name == "instant-ngp":
        model.occupancy_grid.binaries[:] = True
    return model


@TRAINING
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("triplane", {}),
        ("kplanes", {}),
        ("kplanes", {"scene_contraction": True}),
        ("kplanes", {"field": {"view_dependent": True}}),
        ("instant-ngp", {}),
        ("instant-ngp", {"disable_scene_contraction": False, **CAPTURED}),
        ("instant-ngp", {"use_gradient_scaling": True}),
    ],
)
def test_outputs_of_every_ray(name, settings, training):
    outputs = model_of(name, **settings).train(training)(rays_at())
    assert [outputs[key].shape for key in ("latent", "accumulation", "depth")] == [(40, 4), (40, 1), (40, 1)]
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
    losses = model.get_loss_dict(outputs, {"latent": torch.rand(40, 4)})
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())


@EACH
def test_channels_keep_their_range(name):
    outputs = model_of(name, value_range=(0.0, 1.0)).eval()(rays_at())
    assert bool(((outputs["latent"] >= -0.002) & (outputs["latent"] <= 1.002)).all())


@pytest.mark.parametrize("name", ["kplanes", "instant-ngp"])
def test_several_scenes_need_planes_of_each(name):
    with pytest.raises(ValueError, match="expected one scene, got 2"):
        model_of(name, num_scenes=2)
