"""Residual blocks of autoencoders without what costs time and changes no value: diffusers' divides by one, and in
training copies what its shortcut's convolution is given channels-first, which then is copied back. This module imports
diffusers, so that it is imported within functions."""

from diffusers.models.resnet import ResnetBlock2D
from torch import nn


class ResidualBlock(ResnetBlock2D):
    """diffusers' own, where it neither resizes nor drops nor is told a time."""

    def forward(self, input_tensor, temb=None, *args, **kwargs):
        if temb is not None:
            return super().forward(input_tensor, temb, *args, **kwargs)
        hidden = self.conv1(self.nonlinearity(self.norm1(input_tensor)))
        hidden = self.conv2(self.nonlinearity(self.norm2(hidden)))
        return (input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)) + hidden


def replace_residual_blocks(network: nn.Module) -> None:
    """Has the residual blocks of a network that can be one be a `ResidualBlock`, with the numbers that they have."""
    for module in network.modules():
        if type(module) is ResnetBlock2D and is_plain(module):
            module.__class__ = ResidualBlock


def is_plain(block: ResnetBlock2D) -> bool:
    """Whether a block does nothing but normalise, convolve and add."""
    extra = (block.time_emb_proj, block.upsample, block.downsample)
    adds = block.output_scale_factor == 1 and block.time_embedding_norm != "scale_shift" and block.dropout.p == 0
    return adds and all(part is None for part in extra)
