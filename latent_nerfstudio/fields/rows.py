"""Where parameters with one row a scene are kept, and how large they are."""

from typing import Callable, Iterable, Literal, Sequence

import torch
from torch import Tensor
from torch.nn import Module

SceneStorage = Literal["auto", "device", "host"]

DEVICE_SHARE = 0.5
"""Share of a GPU's free memory that scenes and their optimizer's state may take; the rest is for the step."""

ADAM_COPIES = 3
"""Tensors of a parameter's size that training keeps: the parameter, and Adam's two averages."""


def parameter_bytes(parameters: Iterable[Tensor]) -> int:
    """Bytes of parameters in float32."""
    return sum(4 * p.numel() for p in parameters)


def stays_on_host(storage: SceneStorage, needed: int, device: torch.device) -> bool:
    """Whether scenes that need so many bytes stay on the host while their model goes to a device: `host`, `device`, or
    `auto`, where a GPU has not enough free memory for them and their optimizer's state."""
    if device.type != "cuda" or storage == "device":
        return False
    return storage == "host" or ADAM_COPIES * needed > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]


def apply_but_for(module: Module, kept: Sequence[str], apply: Callable[[], Module]) -> Module:
    """Calls `apply`, the parent's `_apply` (what `.to` does), while parameters in `kept` are out of its sight."""
    every = dict(module._parameters)
    for name in kept:
        del module._parameters[name]
    try:
        return apply()
    finally:
        moved = dict(module._parameters)
        module._parameters.clear()
        module._parameters.update({name: moved.get(name, value) for name, value in every.items()})
