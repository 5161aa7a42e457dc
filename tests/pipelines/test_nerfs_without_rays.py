"""A NeRF that renders whole pictures, in both stages and in evaluation: gaussians, rasterised without CUDA."""

from types import SimpleNamespace

import pytest
import torch
from naive_splats import naive_rasterization
from tiny import camera_of, gradients, pipeline_of

from latent_nerfstudio.latent_space.resolution import latent_cameras
from latent_nerfstudio.models import splatfacto
from latent_nerfstudio.models.splatfacto import LatentSplatfactoModelConfig


@pytest.fixture
def pipeline(balls, kl, monkeypatch):
    """A pipeline of one scene whose latents have factor 4 and 4 channels; RGB alignment begins at step 10."""
    monkeypatch.setattr(splatfacto, "rasterization", naive_rasterization)
    monkeypatch.setattr(LatentSplatfactoModelConfig, "check_device", lambda config, device: None)
    nerf = LatentSplatfactoModelConfig(num_random=40, use_absgrad=False, use_scale_regularization=True)
    pipeline = pipeline_of(balls / "a", kl, nerf=nerf, rgb_alignment_start=10)
    model = pipeline.model.nerf
    optimizers = {name: torch.optim.Adam(group) for name, group in model.get_param_groups().items()}
    model.step_cb(SimpleNamespace(optimizers=optimizers), 0)
    return pipeline


def test_latent_supervision_takes_whole_latent_pictures(pipeline):
    outputs, losses, metrics = pipeline.get_train_loss_dict(0)
    assert outputs["latent"].shape == (4, 8, 8, 4)
    assert set(losses) == {"latent_loss", "scale_regularization"} and set(metrics) == {"latent_mse"}
    cameras, batch = pipeline.datamanager.next_train_images(0)
    latents, _ = pipeline.model.renderer.render_latents(cameras)
    target = pipeline.target_latents(batch)
    torch.testing.assert_close(losses["latent_loss"], (latents - target).abs().mean())
    torch.testing.assert_close(metrics["latent_mse"], (latents - target).square().mean())
    sum(losses.values()).backward()
    assert all(all(gradients(*group)) for group in pipeline.model.nerf.get_param_groups().values())


def test_rgb_alignment_trains_gaussians_and_decoder(pipeline):
    _, losses, _ = pipeline.get_train_loss_dict(10)
    assert set(losses) == {"rgb_loss", "scale_regularization"}
    losses["rgb_loss"].backward()
    groups = pipeline.get_param_groups()
    assert set(groups) == {"means", "scales", "quats", "features", "opacities", "decoder"}
    assert all(any(gradients(*group)) for group in groups.values())


def test_the_background_is_behind_the_gaussians(pipeline):
    model = pipeline.model.eval()
    pipeline.prepare()
    camera = camera_of(32, 32)
    pictures, background = model.renderer.render_cameras(camera), model.renderer.background_picture(8, 8)
    alone = model.nerf.render_cameras(latent_cameras(camera, 4))
    expected = alone["latent"] + (1 - alone["accumulation"]) * background
    torch.testing.assert_close(pictures["latent"], expected)
    model.nerf.gauss_params["opacities"].data[:] = -20
    torch.testing.assert_close(model.renderer.render_cameras(camera)["latent"][0], background)


def test_held_out_pictures_are_measured(pipeline):
    pipeline.prepare()
    metrics = pipeline.get_average_eval_image_metrics()
    assert {"psnr", "ssim", "latent_psnr", "autoencoder_psnr"} <= set(metrics)
    _, losses, _ = pipeline.get_eval_loss_dict(0)
    assert bool(torch.isfinite(losses["latent_loss"]))
