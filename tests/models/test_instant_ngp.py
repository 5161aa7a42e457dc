"""Instant-NGP of any number of channels: rendering against a loop, its grid and its config."""

from types import SimpleNamespace

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.field_heads import FieldHeadNames
from small_nerfs import nerf_of, rays_at, small_ngp
from tiny import gradients


def model_of(**settings):
    return nerf_of(small_ngp(**settings))


def test_rendering_against_a_loop_over_rays():
    """Steps of each ray through a half-occupied box, one after the other, with the field asked at their middles."""
    model, bundle = model_of().eval(), rays_at(8)
    model.occupancy_grid.binaries[0, :4] = False  # x < 0 is empty
    outputs = model(bundle)
    rays, hit = model.clip(bundle)
    assert hit is None  # that is, all of them
    step = model.config.render_step_size
    for ray in range(8):
        light, total, value = torch.ones(()), torch.zeros(()), torch.zeros(4)
        distance, far = float(rays.nears[ray]), float(rays.fars[ray])
        while distance + step / 2 < far:
            position = rays.origins[ray] + (distance + step / 2) * rays.directions[ray]
            if float(position[0]) >= 0:
                density, channels = at_point(model.field, position, rays.directions[ray])
                weight = light * (1 - torch.exp(-density * step))
                light, total, value = light - weight, total + weight, value + weight * channels
            distance += step
        torch.testing.assert_close(outputs["accumulation"][ray, 0], total, atol=2e-3, rtol=0)
        torch.testing.assert_close(outputs["latent"][ray], value, atol=2e-3, rtol=0)


def at_point(field, position, direction):
    """Density and channels of a field at one point."""
    rays = RayBundle(position[None], direction[None], torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.long))
    zero = torch.zeros(1, 1, 1)
    values = field(rays.get_ray_samples(bin_starts=zero, bin_ends=zero))
    return values[FieldHeadNames.DENSITY].flatten()[0], values[FieldHeadNames.RGB].flatten()


def test_every_parameter_is_trained_and_the_config_left_as_it_is():
    config = small_ngp()
    model = nerf_of(config).train()
    assert config.render_step_size is None and model.config.render_step_size == pytest.approx(12**0.5 / 24)
    losses = model.get_loss_dict(model(rays_at(200)), {"latent": torch.rand(200, 4)})
    assert list(losses) == ["latent_loss"]
    losses["latent_loss"].backward()
    groups = model.get_param_groups()
    assert list(groups) == ["fields"]
    assert all(gradients(*[p for p in groups["fields"] if p.requires_grad]))
    assert model.get_regularization_dict(model(rays_at())) == {}


def test_the_grid_follows_the_field():
    model = model_of().train()
    (callback,) = model.get_training_callbacks(SimpleNamespace())
    model.field.density_fn = lambda x: 50.0 * (x[..., :1] > 0).float()
    for step in (1, 2, 15):
        callback.run_callback_at_location(step, callback.where_to_run[0])
    assert bool(model.occupancy_grid.binaries.all())
    for step in range(16, 1600, 16):
        callback.run_callback_at_location(step, callback.where_to_run[0])
    assert not bool(model.occupancy_grid.binaries[0, :4].any()) and bool(model.occupancy_grid.binaries[0, 4:].all())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_renders_what_the_cpu_does():
    model, bundle = model_of().eval(), rays_at()
    expected = model(bundle)
    outputs = model.cuda()(bundle.to("cuda"))
    for name in ("latent", "accumulation", "depth"):
        torch.testing.assert_close(outputs[name].cpu(), expected[name], atol=1e-2, rtol=1e-2)
