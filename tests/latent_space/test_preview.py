"""The picture of a latent: range, reproducibility, and a hand value."""

import pytest
import torch

from latent_nerfstudio.latent_space.latent_space import PREVIEW_DEVIATIONS, fit_preview


def test_the_mean_is_grey_and_a_deviation_is_a_fifth():
    values = torch.tensor([-3.0, 3.0])
    latents = torch.cartesian_prod(values * 4, values * 2, values, torch.tensor([7.0, 7.0]))
    weight, bias = fit_preview(latents)
    torch.testing.assert_close(latents.mean(dim=0) @ weight + bias, torch.full((3,), 0.5))
    step = 1 / (2 * PREVIEW_DEVIATIONS)
    one_deviation = torch.tensor([12.0, 6.0, 3.0, 7.0]) @ weight + bias
    torch.testing.assert_close(one_deviation, torch.full((3,), 0.5 + step))


def test_components_are_uncorrelated_and_of_one_scale():
    latents = torch.randn(1000, 8) @ torch.randn(8, 8)
    weight, bias = fit_preview(latents)
    covariance = (latents @ weight + bias).T.cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(3) / (2 * PREVIEW_DEVIATIONS) ** 2, atol=1e-4, rtol=0)


def test_the_same_latents_give_the_same_colours_in_any_order():
    latents = torch.randn(200, 5) * torch.tensor([5.0, 4, 3, 2, 1])
    weight, bias = fit_preview(latents)
    again, bias_again = fit_preview(latents[torch.randperm(200)])
    torch.testing.assert_close(again, weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(bias_again, bias, atol=1e-4, rtol=1e-3)
    largest = weight.gather(0, weight.abs().argmax(dim=0, keepdim=True))
    assert bool((largest > 0).all())


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels(channels):
    latents = torch.randn(50, channels)
    weight, bias = fit_preview(latents)
    assert weight.shape == (channels, 3) and bool(torch.isfinite(latents @ weight + bias).all())
    assert torch.equal(weight[:, channels:], torch.zeros(channels, max(0, 3 - channels)))


def test_constant_latents_stay_finite():
    weight, bias = fit_preview(torch.full((10, 4), 2.0))
    torch.testing.assert_close(torch.full((4,), 2.0) @ weight + bias, torch.full((3,), 0.5), atol=1e-2, rtol=0)
