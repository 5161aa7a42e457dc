"""Normalisers: hand values, inverses, and what fitting gives."""

import pytest
import torch

from latent_nerfstudio.latent_space.latent_space import TANH_EPS, Normalizer
from latent_nerfstudio.pipelines.saved_state import seal, unsealed

LATENTS = torch.randn(500, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.1, 1, 10, 3]) + 5


def fitted(kind, latents=LATENTS):
    normalizer = Normalizer(kind, latents.shape[-1])
    normalizer.fit(latents)
    return normalizer


@pytest.mark.parametrize("kind", ["mean-std", "tanh", "none"])
def test_inverse(kind):
    normalizer = fitted(kind)
    raw = LATENTS.view(5, 100, 4)
    torch.testing.assert_close(normalizer.inverse(normalizer(raw)), raw, rtol=1e-4, atol=1e-4)


def test_each_channel_has_zero_mean_and_unit_variance():
    normalized = fitted("mean-std")(LATENTS)
    torch.testing.assert_close(normalized.mean(dim=0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalized.var(dim=0, correction=0), torch.ones(4), atol=1e-4, rtol=0)


def test_prior_before_the_fit():
    normalizer = Normalizer("mean-std", 2, mean=1.0, std=4.0)
    assert normalizer(torch.tensor([9.0, -3.0])).tolist() == [2.0, -1.0]


def test_a_constant_channel_keeps_its_scale():
    latents = torch.stack([torch.arange(8.0), torch.full((8,), 3.0)], dim=-1)
    normalizer = fitted("mean-std", latents)
    assert normalizer.std[1] == 1.0 and torch.equal(normalizer(latents)[:, 1], torch.zeros(8))
    torch.testing.assert_close(normalizer.inverse(normalizer(latents)), latents)


def test_following_by_hand():
    normalizer = Normalizer("mean-std", 2, mean=[1.0, 10.0], std=[2.0, 4.0])
    normalizer.follow(torch.tensor([[0.0, 7.0], [2.0, 7.0], [4.0, 7.0], [6.0, 7.0]]), momentum=0.25)
    torch.testing.assert_close(normalizer.mean, torch.tensor([1.5, 9.25]))  # means 3 and 7
    torch.testing.assert_close(normalizer.std, torch.tensor([1.5 + 5**0.5 / 4, 3.0]))  # deviations sqrt(5) and 0


def test_following_constant_latents_never_divides_by_nothing():
    normalizer, latents = Normalizer("mean-std", 1), torch.full((5, 1), 3.0)
    for _ in range(500):
        normalizer.follow(latents, momentum=0.5)
    assert float(normalizer.std) > 0 and bool(normalizer(latents).isfinite().all())


def test_tanh_is_that_of_the_papers():
    normalizer = Normalizer("tanh", 1)
    raw = torch.tensor([[-50.0], [0.0], [25.0]])
    torch.testing.assert_close(normalizer(raw), torch.tensor([[-0.7615942], [0.0], [0.46211716]]))
    torch.testing.assert_close(normalizer.inverse(torch.tensor([[0.46211716]])), torch.tensor([[25.0]]))


def test_tanh_of_huge_latents_can_be_inverted():
    limit = torch.atanh(torch.tensor(1 - TANH_EPS)) / 0.02
    inverse = Normalizer("tanh", 1).inverse(torch.tensor([[1.0], [-1.5]]))
    torch.testing.assert_close(inverse, torch.stack([limit, -limit])[:, None])


@pytest.mark.parametrize("kind", ["mean-std", "tanh", "none"])
def test_half_precision_becomes_float32(kind):
    normalizer = fitted(kind)
    assert normalizer(LATENTS.half()).dtype == torch.float32
    torch.testing.assert_close(normalizer(LATENTS.half()), normalizer(LATENTS.half().float()))


@pytest.mark.parametrize("kind", ["mean-std", "tanh"])
def test_gradients(kind):
    normalizer = fitted(kind).double()
    normalized = (torch.rand(3, 4, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(normalizer.inverse, normalized)


@pytest.mark.parametrize("prior", [0.5, [0.5]])
def test_one_channel_is_saved_as_any_number_is(prior):
    """A view of one number has no stride, by which torch does not show its bytes, and no checkpoint was written."""
    state = dict(Normalizer("mean-std", 1, prior, prior).state_dict())
    seal(state)
    assert unsealed(state, "here")["mean"].tolist() == [0.5]
