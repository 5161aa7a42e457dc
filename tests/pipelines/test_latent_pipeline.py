"""The pipeline: stages, who gets gradients, losses, fitting, evaluation, and checkpoints."""

import math

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny import SHARED, backward, gradients, pipeline_config_of, pipeline_of, prepared, small_nerf

from latent_nerfstudio.pipelines.latent_pipeline import (
    WHOLE_PICTURES_EVERY,
    LatentPipelineConfig,
    masked_mse,
    summarise,
)
from latent_nerfstudio.pipelines.scene_progress import PlateauConfig


def autoencoder_gradients(pipeline):
    autoencoder = pipeline.space.autoencoder
    encoder = any(gradients(*autoencoder.encoder_parameters()))
    return encoder, any(gradients(*autoencoder.decoder_parameters()))


def test_the_stage_follows_from_the_absolute_step(balls, kl):
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=5)
    assert [pipeline.stage_at(step) for step in (0, 4, 5, 1000)] == ["latent supervision"] * 2 + ["RGB alignment"] * 2
    pipeline.config.mixed_supervision = 0.5
    assert [pipeline.stage_at(step) for step in (4, 5)] == ["mixed supervision", "RGB alignment"]
    pipeline.config.rgb_alignment_start = None
    assert pipeline.stage_at(10**6) == "mixed supervision"
    identity = pipeline_of(balls, rgb_alignment_start=5)  # which is never aligned
    assert identity.stage_at(100) == "latent supervision" and "decoder" not in identity.get_param_groups()


@pytest.mark.parametrize(
    ("field", "settings", "names", "metric", "decoder"),
    [
        (SHARED, {}, {"latent_loss"}, "latent_mse", False),
        ({}, {"rgb_alignment_start": 0}, {"rgb_loss"}, "psnr", True),
        (SHARED, {"rgb_alignment_start": 0, "train_decoder": False}, {"rgb_loss"}, "psnr", False),
        (SHARED, {"mixed_supervision": 0.5}, {"latent_loss", "rgb_loss"}, "psnr", True),
    ],
)
def test_whom_each_stage_trains(balls, kl, field, settings, names, metric, decoder):
    pipeline = pipeline_of(balls, kl, nerf=small_nerf(**field), **settings)
    losses, metrics = backward(pipeline, 0)
    assert set(losses) == names | {"total_variation"} and set(metrics) == {metric}
    if names == {"rgb_loss"}:
        assert float(metrics["psnr"]) == pytest.approx(-10 * math.log10(float(losses["rgb_loss"])), abs=1e-3)
    assert autoencoder_gradients(pipeline) == (False, decoder)
    groups = pipeline.get_param_groups()
    assert ("decoder" in groups) == settings.get("train_decoder", True)
    assert all(all(gradients(*group)) for name, group in groups.items() if name != "decoder")


def test_alignment_of_the_decoder_alone(balls, kl):
    """The loss is that of alignment, and nothing that renders has a gradient."""
    settings = {"nerf": small_nerf(**SHARED), "rgb_alignment_start": 0}
    both, alone = (pipeline_of(balls, kl, align_scenes=flag, **settings) for flag in (True, False))
    alone.load_state_dict(both.state_dict())
    torch.manual_seed(0)
    expected = backward(both, 0)[0]["rgb_loss"]
    torch.manual_seed(0)
    losses, _ = backward(alone, 0)
    assert list(losses) == ["rgb_loss"] and torch.equal(losses["rgb_loss"], expected)
    assert autoencoder_gradients(alone) == (False, True)
    assert [name for name, group in alone.get_param_groups().items() if any(gradients(*group))] == ["decoder"]
    for first, second in zip(*(p.space.autoencoder.decoder_parameters() for p in (both, alone)), strict=True):
        torch.testing.assert_close(second.grad, first.grad)


@pytest.mark.parametrize("crop", [None, 12])
def test_alignment_by_its_definition(balls, kl, crop):
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=0, rgb_loss_weight=3.0, crop=crop).eval()
    _, losses, _ = pipeline.get_train_loss_dict(1)
    cameras, batch = pipeline.datamanager.next_train_images(1, crop)
    side = crop or 32
    assert batch["image"].shape == (4, side, side, 3)
    latents, _ = pipeline.model.renderer.render_latents(cameras)
    decoded = pipeline.space.decode(latents, side, side)
    torch.testing.assert_close(losses["rgb_loss"], 3 * (decoded - batch["image"]).square().mean())


def test_steps_that_see_whole_pictures(balls):
    """All without crops; with crops some now and then, and those from a step on."""
    every = WHOLE_PICTURES_EVERY
    pipeline = pipeline_of(balls)
    assert {pipeline.crop_at(step) for step in range(2 * every)} == {None}
    pipeline.config.crop = 12
    sides = [pipeline.crop_at(step) for step in range(3 * every)]
    assert sides == ([None] + [12] * (every - 1)) * 3 and every > 2
    pipeline.config.whole_pictures_start = every + 2
    assert [pipeline.crop_at(every + step) for step in range(4)] == [None, 12, None, None]


def test_mixed_supervision_is_the_weighted_mean_of_both_losses(balls, kl):
    def losses_of(**settings):
        return pipeline_of(balls, kl, **settings).eval().get_train_loss_dict(0)[1]

    pipeline = pipeline_of(balls, kl, mixed_supervision=0.3).eval()
    _, mixed, _ = pipeline.get_train_loss_dict(0)
    torch.testing.assert_close(mixed["rgb_loss"], 0.7 * losses_of(rgb_alignment_start=0)["rgb_loss"])
    cameras, batch = pipeline.datamanager.next_train_images(0)
    latents, _ = pipeline.render_latents(cameras, batch)
    difference = latents - pipeline.space.encode(batch["image"])
    expected = 0.3 * difference.square().mean()
    torch.testing.assert_close(mixed["latent_loss"], expected, atol=1e-4, rtol=1e-2)  # of bfloat16


def test_latent_loss_against_its_definition(balls, kl):
    pipeline = pipeline_of(balls, kl).eval()
    _, losses, _ = pipeline.get_train_loss_dict(3)
    rays, batch = pipeline.datamanager.next_train(3)
    rays.metadata["background"] = pipeline.space.background_at(*batch["position"].split(2, dim=1))
    target = pipeline.space.normalizer(batch["raw_latent"])
    expected = (pipeline.model(rays)["latent"] - target).square().mean()
    torch.testing.assert_close(losses["latent_loss"], expected)


def test_evaluation_of_every_held_out_picture(balls, kl, tmp_path):
    pipeline = prepared(pipeline_of(balls, kl))
    table = pipeline.datamanager.table
    assert prepared(pipeline).datamanager.table is table  # twice encodes once
    pipeline.train()
    metrics = pipeline.get_average_eval_image_metrics(output_path=tmp_path / "pictures", get_std=True)
    assert pipeline.training
    assert metrics["psnr"] == pytest.approx(sum(metrics[f"{scene}/psnr"] for scene in "abc") / 3)
    for name in ("psnr", "ssim", "latent_psnr", "autoencoder_psnr"):
        assert math.isfinite(metrics[name]) and math.isfinite(metrics[f"{name}_std"])
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == [f"eval_{kind}_{index:04d}.png" for kind in ("img", "latent") for index in range(3)]
    with Image.open(tmp_path / "pictures" / files[0]) as picture:
        assert picture.size == (96, 32)
    metrics, pictures = pipeline.get_eval_image_metrics_and_images(0)  # of one
    assert {"psnr", "ssim", "autoencoder_psnr"} <= set(metrics) and pictures["img"].shape == (32, 96, 3)
    _, losses, _ = pipeline.get_eval_loss_dict(0)
    assert math.isfinite(float(losses["latent_loss"])) and pipeline.training


def test_summary_by_hand():
    rows = [{"psnr": 10.0}, {"psnr": 20.0}, {"psnr": 60.0}]
    summary = summarise(rows, [0, 0, 1], ["car", "bus"], with_std=True)
    assert summary == {"psnr": 30.0, "psnr_std": pytest.approx(700**0.5), "car/psnr": 15.0, "bus/psnr": 60.0}
    assert summarise(rows[:1], [0], ["car"], with_std=False) == {"psnr": 10.0}
    assert summarise(rows[:1], [0], ["car"], with_std=True) == {"psnr": 10.0}
    with pytest.raises(ValueError, match="evaluation: expected at least one held-out picture, got none"):
        summarise([], [], ["car"], with_std=False)


def test_masked_mse_against_a_loop():
    output, target, mask = torch.rand(2, 3, 4, 3), torch.rand(2, 3, 4, 3), torch.rand(2, 3, 4, 1) > 0.4
    errors = [float(output[at] - target[at]) ** 2 for at in np.ndindex(2, 3, 4, 3) if mask[at[:3]]]
    assert float(masked_mse(output, target, mask)) == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    torch.testing.assert_close(masked_mse(output, target), ((output - target) ** 2).mean())
    assert float(masked_mse(output, target, torch.zeros(2, 3, 4, 1))) == 0


def test_the_model_takes_scenes_and_background_of_the_data(balls):
    config = pipeline_config_of(balls)
    config.datamanager.dataparser.alpha_color = "black"
    pipeline = config.setup(device="cpu", test_mode="inference")
    assert pipeline.model.scene_names == ["a", "b", "c"]
    assert pipeline.space.background_color.tolist() == [0, 0, 0]


def test_a_config_of_an_older_version_is_read():
    """In which scenes could end early."""
    config = LatentPipelineConfig(crop=48)
    config.__dict__["plateau"] = PlateauConfig()
    read = yaml.load(yaml.dump(config), Loader=yaml.Loader)
    assert read.crop == 48 and not hasattr(read, "plateau")
