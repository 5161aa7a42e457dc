"""Residual blocks against diffusers' own: the same values and gradients, bit by bit; and which stay as they were."""

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.residual_block import ResidualBlock, replace_residual_blocks


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


def test_those_of_an_autoencoder_are_replaced(kl):
    blocks = [one for one in AutoencoderConfig(source=str(kl)).setup().modules() if isinstance(one, ResnetBlock2D)]
    assert blocks and all(type(one) is ResidualBlock for one in blocks)
