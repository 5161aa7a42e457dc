"""Group normalisation in bfloat16 on a CPU, as fast as the convolutions around it. These are fastest channels-last,
where the channels of a pixel are neighbours in memory. There torch 2.14 takes 30 times as long for the gradient of a
group of few channels as channels-first, where a channel's pixels are neighbours: more than all else in a decoder of 16
channels. Values and order of arithmetic are torch's, whichever way they lie."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Pictures = Float[Tensor, "n channels height width"]
"""Channels-last where a function says so."""


class GroupNorm(nn.GroupNorm):
    """torch's, with another way to its gradient where that is faster."""

    def forward(self, input):
        is_slow = input.dtype == torch.bfloat16 and input.device.type == "cpu" and input.dim() == 4
        is_last = is_slow and input.is_contiguous(memory_format=torch.channels_last) and input.stride(1) == 1
        if not is_last or self.weight is None:
            return super().forward(input)
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def replace_group_norms(network: nn.Module) -> None:
    """Has all group normalisations of a network be `GroupNorm`, with the numbers that they have."""
    for module in network.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = GroupNorm


def group_norm(
    pictures: Pictures, groups: int, weight: Float[Tensor, "channels"], bias: Float[Tensor, "channels"], eps: float
) -> Pictures:
    """As `torch.nn.functional.group_norm`, of pictures that are channels-last, as their result and gradient are."""
    return _GroupNorm.apply(pictures, weight, bias, groups, eps)  # type: ignore[return-value]


class _GroupNorm(torch.autograd.Function):
    """Torch's kernels, on pictures that are made channels-first for them where that is worth the copies."""

    @staticmethod
    def forward(ctx: Any, pictures, weight, bias, groups, eps):
        n, channels, height, width = pictures.shape
        given = pictures.contiguous() if height * width < 1024 else pictures  # below, torch is slow forwards as well
        ctx.sizes = (n, channels, height * width, groups)
        result, mean, rstd = torch.native_group_norm(given, weight, bias, *ctx.sizes, eps)
        ctx.save_for_backward(given, mean, rstd, weight)
        return result.contiguous(memory_format=torch.channels_last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):
        given, *saved = ctx.saved_tensors
        firsts = gradient.contiguous(), given.contiguous()
        needed = list(ctx.needs_input_grad[:3])
        results = torch.ops.aten.native_group_norm_backward(*firsts, *saved, *ctx.sizes, needed)
        to_pictures = results[0].contiguous(memory_format=torch.channels_last) if needed[0] else None
        return to_pictures, *results[1:], None, None
