"""Group normalisation and residual blocks against torch's and diffusers', and where they are used."""

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.group_norm import GroupNorm, group_norm
from latent_nerfstudio.latent_space.residual_block import ResidualBlock, replace_residual_blocks

LAST = torch.channels_last


def pictures(height, dtype, channels=6):
    values = torch.randn(2, channels, height, 7, dtype=dtype) * 3 + 1
    return values.contiguous(memory_format=LAST).requires_grad_()


@pytest.mark.parametrize("height", [5, 160])  # below and above what is made channels-first for the values
def test_values_are_those_of_torch_and_gradients_those_of_channels_first(height):
    given, weight, bias = pictures(height, torch.bfloat16), torch.randn(6), torch.randn(6)
    leaves = given, weight.requires_grad_(), bias.requires_grad_()
    ours = group_norm(given, 3, weight, bias, 1e-6)
    gradient = torch.randn_like(ours)
    theirs = F.group_norm(given.contiguous(), 3, weight, bias, 1e-6)
    torch.testing.assert_close(ours, F.group_norm(given, 3, weight, bias, 1e-6))
    found = torch.autograd.grad(ours, leaves, gradient)
    assert all(one.is_contiguous(memory_format=LAST) for one in (ours, found[0]))
    torch.testing.assert_close(found, torch.autograd.grad(theirs, leaves, gradient))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_by_finite_differences(frozen):
    weight, bias = (torch.randn(6, dtype=torch.float64, requires_grad=not frozen) for _ in range(2))
    given = pictures(3, torch.float64)
    assert torch.autograd.gradcheck(lambda x, w, b: group_norm(x, 3, w, b, 1e-6), (given, weight, bias))


def test_an_autoencoder_has_the_values_and_gradients_of_torch_s_own(kl):
    """In float32 to the last bit; in bfloat16 it is no farther from these than torch's own, whose rounding depends on
    the processor."""
    autoencoder = AutoencoderConfig(source=str(kl)).setup()
    norms = [module for module in autoencoder.modules() if isinstance(module, nn.GroupNorm)]
    assert norms and all(type(module) is GroupNorm for module in norms)
    blocks = [module for module in autoencoder.modules() if isinstance(module, ResnetBlock2D)]
    assert blocks and all(type(module) is ResidualBlock for module in blocks)

    def results(kind, is_half):
        for module in norms:
            module.__class__ = kind
        image = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            decoded = autoencoder.decode(autoencoder.encode(image)).float()
        gradients = torch.autograd.grad(decoded.square().mean(), [image, *autoencoder.decoder_parameters()])
        return [decoded.detach(), gradients[0], torch.cat([one.flatten() for one in gradients[1:]])]

    exact = results(nn.GroupNorm, False)
    for ours, expected in zip(results(GroupNorm, False), exact, strict=True):
        assert torch.equal(ours, expected)
    for ours, theirs, expected in zip(results(GroupNorm, True), results(nn.GroupNorm, True), exact, strict=True):
        assert float((ours - expected).norm()) <= 1.5 * float((theirs - expected).norm())


def block_of(**settings):
    return ResnetBlock2D(**{"in_channels": 8, "temb_channels": None, "groups": 2, **settings})


def results(block, pictures):
    leaves = [pictures, *block.parameters()]
    result = block(pictures, None)
    return [result, *torch.autograd.grad(result.square().mean(), leaves)]


@pytest.mark.parametrize(("channels", "settings"), [(8, {}), (4, {}), (4, {"time_embedding_norm": "group"})])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_diffusers(channels, settings, memory_format):
    block = block_of(out_channels=channels, **settings).to(memory_format=memory_format).eval()
    pictures = torch.randn(2, 8, 6, 5).contiguous(memory_format=memory_format).requires_grad_()
    theirs = results(block, pictures)
    replace_residual_blocks(block)
    assert type(block) is ResidualBlock
    assert all(torch.equal(*pair) for pair in zip(results(block.train(), pictures), theirs, strict=True))


@pytest.mark.parametrize(
    "settings", [{"output_scale_factor": 2.0}, {"temb_channels": 4}, {"up": True}, {"down": True}, {"dropout": 0.1}]
)
def test_blocks_that_do_more_stay(settings):
    block = block_of(**settings)
    replace_residual_blocks(block)
    assert type(block) is ResnetBlock2D


def test_a_block_that_is_given_what_is_to_be_added_adds_it():
    block, added = block_of(), torch.randn(2, 8, 1, 1)
    pictures = torch.randn(2, 8, 6, 5)
    theirs = block(pictures, added)
    replace_residual_blocks(block)
    assert torch.equal(block(pictures, added), theirs)
