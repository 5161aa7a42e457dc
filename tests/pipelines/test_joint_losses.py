"""Losses of joint training: definitions, gradients, and what an encoder can gain from them."""

import math

import pytest
import torch
from tiny import gradients

from latent_nerfstudio.pipelines.joint_losses import latent_loss, latent_variation


def latents(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair():
    """Encoded latents of channels of different scales, and renders near them, both to be differentiated by."""
    encoded = latents(2, 5, 4, 3) * torch.tensor([0.5, 1.0, 3.0]) + torch.tensor([1.0, 0.0, -2.0])
    rendered = encoded + 0.4 * latents(2, 5, 4, 3, seed=1)
    return encoded.requires_grad_(), rendered.requires_grad_()


def mean_of(values):
    return values.flatten(0, -2).mean(dim=0)


@pytest.mark.parametrize(("shape", "scale_free"), [((2, 3, 4, 5), True), ((7, 2), False)])
def test_latent_loss_against_a_loop(shape, scale_free):
    encoded, rendered = latents(*shape), latents(*shape, seed=1)
    numbers = list(zip(encoded.flatten().tolist(), rendered.flatten().tolist(), strict=True))
    expected = sum((e - r) ** 2 for e, r in numbers) / len(numbers)
    assert float(latent_loss(encoded, rendered, scale_free=scale_free)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale_free", [True, False])
@pytest.mark.parametrize(
    ("stop", "reached"), [("none", (True, True)), ("encoder", (False, True)), ("render", (True, False))]
)
def test_the_gradient_is_stopped_on_one_side(stop, reached, scale_free):
    stopped, free = pair(), pair()
    loss, both = latent_loss(*stopped, stop, scale_free), latent_loss(*free, "none", scale_free)
    loss.backward()
    both.backward()
    assert gradients(*stopped) == reached and float(loss) == float(both)
    for one, other, is_reached in zip(stopped, free, reached, strict=True):
        assert not is_reached or torch.equal(one.grad, other.grad)


def test_gradients_by_hand():
    """Of a mean of squares; without scale, the encoder's are those less what shifts and what scales a channel."""
    encoded, rendered = pair()
    latent_loss(encoded, rendered, scale_free=False).backward()
    plain = 2 * (encoded - rendered).detach() / encoded.numel()
    torch.testing.assert_close(encoded.grad, plain)
    torch.testing.assert_close(rendered.grad, -plain)
    encoded, rendered = pair()
    latent_loss(encoded, rendered).backward()
    centred = (encoded - mean_of(encoded)).detach()
    along = mean_of(plain * centred) / mean_of(centred.square())
    torch.testing.assert_close(encoded.grad, plain - mean_of(plain) - along * centred)
    torch.testing.assert_close(rendered.grad, -plain)


def test_no_latents_have_no_loss_and_constant_ones_a_gradient_that_is_a_number():
    assert float(latent_loss(latents(0, 4), latents(0, 4))) == 0
    encoded = torch.cat([torch.full((6, 1), 2.0), latents(6, 1)], dim=1).requires_grad_()
    latent_loss(encoded, latents(6, 2, seed=1)).backward()
    assert bool(encoded.grad.isfinite().all())
    raw = torch.ones(2, 3, 3, 4, requires_grad=True)
    latent_variation(raw).backward()
    assert float(latent_variation(raw)) == 0 and bool(raw.grad.isfinite().all())


def test_latent_variation_against_a_loop():
    raw = latents(2, 4, 3, 2)
    rows = sum(float((raw[n, i + 1] - raw[n, i]).square().sum()) for n in range(2) for i in range(3))
    columns = sum(float((raw[n, :, j + 1] - raw[n, :, j]).square().sum()) for n in range(2) for j in range(2))
    assert float(latent_variation(raw)) == pytest.approx((math.sqrt(rows) + math.sqrt(columns)) / 7, rel=1e-5)
