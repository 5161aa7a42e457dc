"""The residual against a naive loop, and which latent pixels are the object's."""

import math

import pytest
import torch
from tiny import pipeline_of, prepared

from latent_nerfstudio.pipelines.consistency import (
    View,
    has_background,
    measure_scenes,
    numbers_of,
    residual,
    spread,
    tally,
)

WHITE = torch.ones(3)


def naive_residual(encoded, rendered) -> float:
    """The definition, pixel by pixel and channel by channel."""
    means = [sum(pixel[c] for pixel in encoded) / len(encoded) for c in range(len(encoded[0]))]
    error = variation = 0.0
    for pixel, render in zip(encoded, rendered, strict=True):
        for channel, mean in enumerate(means):
            error += (pixel[channel] - render[channel]) ** 2
            variation += (pixel[channel] - mean) ** 2
    return error / variation


def test_the_residual_is_that_of_a_naive_loop_and_parts_add_up():
    encoded, rendered = 2 + torch.randn(17, 3), torch.randn(17, 3)
    expected = naive_residual(encoded.tolist(), rendered.tolist())
    assert residual([tally(encoded, rendered)]) == pytest.approx(expected, rel=1e-9)
    parts = tally(encoded[:7], rendered[:7]), tally(encoded[7:], rendered[7:])
    assert residual(parts) == pytest.approx(expected, rel=1e-9)
    encoded = torch.randn(50, 2)
    assert residual([tally(encoded, encoded)]) == 0
    assert residual([tally(encoded, encoded.mean(dim=0).expand(50, 2))]) == pytest.approx(1, abs=1e-6)
    for encoded in (torch.full((9, 2), 0.7), torch.zeros(0, 2)):
        assert math.isnan(residual([tally(encoded, torch.zeros_like(encoded))]))


def test_numbers_by_hand():
    encoded = torch.tensor([[-1.0], [1.0]])
    half, same = tally(encoded, 0.5 * encoded), tally(encoded, encoded)
    numbers = numbers_of([View(same, half, 20.0, 30.0), View(same, half, 22.0, 31.0)], [View(half, same)])
    assert (numbers.residual, numbers.residual_object) == (0, 0.25)
    assert (numbers.train_residual, numbers.train_residual_object) == (0.25, 0)
    assert numbers.consistency == pytest.approx(-10 * math.log10(0.25))
    assert (numbers.psnr, numbers.autoencoder_psnr, numbers.gap) == (21, 30.5, 9.5)


def test_a_capture_has_no_background():
    ball = torch.ones(8, 8, 3)
    ball[2:6, 2:6] = 0.3
    assert has_background([ball, ball], WHITE)
    assert not has_background([ball, ball], torch.zeros(3))
    assert not has_background([torch.rand(8, 9, 3), torch.rand(4, 5, 3)], WHITE)


def test_what_is_measured_of_each_scene(balls, kl):
    assert (spread(range(10, 20), 3), spread([4, 5], 9)) == ([11, 15, 18], [4, 5])
    pipeline = prepared(pipeline_of(balls, kl))
    measured = measure_scenes(pipeline)
    assert list(measured) == ["a", "b", "c"] and pipeline.training
    (held_out,), (train,) = measured["a"]
    assert (held_out.everything.count, train.everything.count) == (8 * 8, 8 * 8)
    assert 4 <= held_out.object.count < 8 * 8
    metrics = pipeline.get_average_eval_image_metrics()
    assert held_out.psnr == pytest.approx(metrics["a/psnr"], abs=1e-4)
    assert held_out.autoencoder_psnr == pytest.approx(metrics["a/autoencoder_psnr"], abs=1e-4)
    assert math.isnan(train.psnr)
    mask = torch.ones(32, 32, 1, dtype=torch.bool)
    mask[:5] = False  # two rows of latent pixels
    for picture in pipeline.datamanager.cached_eval:
        picture["mask"] = mask
    (held_out,), _ = measure_scenes(pipeline)["b"]
    assert held_out.everything.count == 6 * 8
