"""The arithmetic that an autoencoder computes in."""

from typing import Literal, Union

import torch

Precision = Literal["auto", "bfloat16", "float32"]


def autocast(precision: Precision, device: Union[str, torch.device]) -> torch.autocast:
    """A context for calls of an autoencoder; `auto` is bfloat16 where the device computes in it."""
    device = torch.device(device)
    enabled = has_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 faster than in float32. GPUs do from compute capability 8.0 on; torch
    emulates it on those before (T4, V100), and says that they have it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
