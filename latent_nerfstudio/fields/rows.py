"""Rows of parameters that are indexed by scene: a step reads and changes those of its scenes alone."""

from typing import Any, Callable, Iterable, Literal, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import Module

from latent_nerfstudio.latent_space.latent_space import to_device

SceneStorage = Literal["auto", "device", "host"]

DEVICE_SHARE = 0.5
"""Share of a GPU's free memory that scenes and their optimizer's state may take; the rest is for the step."""

ADAM_COPIES = 3
"""Tensors of a parameter's size that training keeps: the parameter, and Adam's two averages."""


class GatherRows(torch.autograd.Function):
    """See `gather_rows`, with a sparse gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, device: torch.device) -> Tensor:
        own = to_device(index, table.device)
        ctx.save_for_backward(own)
        ctx.shape = table.shape
        ctx.rises = bool((index.diff() > 0).all())  # then nothing has to be sorted or added up, which takes a copy
        return table.index_select(0, own).to(device)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        values = grads[0].to(index.device)
        return torch.sparse_coo_tensor(index[None], values, ctx.shape, is_coalesced=ctx.rises or None), None, None


def gather_rows(
    table: Float[Tensor, "rows *row"], index: Int[Tensor, "chosen"], device: torch.device, sparse: bool = False
) -> Float[Tensor, "chosen *row"]:
    """Rows of a table, on a device.

    Args:
        table: anywhere.
        index: of the rows; on the host, so that no device is asked.
        device: where the rows are wanted.
        sparse: whether the table's gradient holds the rows of the index alone, which not every optimizer takes.
    """
    if sparse:
        return GatherRows.apply(table, index, device)  # type: ignore[return-value]
    return table.index_select(0, to_device(index, table.device)).to(device)


def parameter_bytes(parameters: Iterable[Tensor]) -> int:
    """Bytes of parameters in float32."""
    return sum(4 * p.numel() for p in parameters)


def stays_on_host(storage: SceneStorage, needed: int, device: torch.device) -> bool:
    """Whether scenes that go with their model to a device stay on the host.

    Args:
        storage: `host`, `device`, or `auto`: on the host where a GPU has not enough free memory.
        needed: bytes of the scenes; training keeps three times as much.
        device: where the model goes.
    """
    if device.type != "cuda" or storage == "device":
        return False
    return storage == "host" or ADAM_COPIES * needed > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]


def apply_but_for(module: Module, kept: Sequence[str], apply: Callable[[], Module]) -> Module:
    """Calls `Module._apply`, which is what `.to` does, while some of a module's own parameters are out of its sight.

    Args:
        module: the module.
        kept: names of the parameters that stay as they are.
        apply: calls `_apply` of the module's parent class.
    """
    every = dict(module._parameters)
    for name in kept:
        del module._parameters[name]
    try:
        return apply()
    finally:
        moved = dict(module._parameters)
        module._parameters.clear()
        module._parameters.update({name: moved.get(name, value) for name, value in every.items()})
