"""Rows of parameters that are indexed by scene: a step reads and changes those of its scenes alone."""

from typing import Any, Callable, Literal, Optional, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import Module

SceneStorage = Literal["auto", "device", "host"]

DEVICE_SHARE = 0.5
"""Share of a GPU's free memory that scenes and their optimizer's state may take; the rest is for the step."""

ADAM_COPIES = 3
"""Tensors of a parameter's size that training keeps: the parameter, and Adam's two averages."""


class GatherRows(torch.autograd.Function):
    """Rows of a table, on the device of the index; the gradient is a sparse tensor on the device of the table."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        own = index.to(table.device)
        ctx.save_for_backward(own)
        ctx.shape = table.shape
        return table.index_select(0, own).to(index.device)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        rises = bool((index.diff() > 0).all())  # then nothing has to be sorted or added up, which would take a copy
        values = grads[0].to(index.device)
        return torch.sparse_coo_tensor(index[None], values, ctx.shape, is_coalesced=rises or None), None


def gather_rows(table: Float[Tensor, "rows *row"], index: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen *row"]:
    """Rows of a table, on the device of the index.

    The gradient is sparse, with the rows of the index alone, where the table's optimizer takes such gradients (see
    `take_row_gradients`), and dense elsewhere.
    """
    if takes_row_gradients(table):
        return GatherRows.apply(table, index)  # type: ignore[return-value]
    return table.index_select(0, index.to(table.device)).to(index.device)


def take_row_gradients(parameter: Tensor) -> None:
    """Has `gather_rows` make sparse gradients for a parameter; its optimizer asks for them, since others would fail."""
    parameter.row_gradients = True  # type: ignore[attr-defined]


def takes_row_gradients(parameter: Tensor) -> bool:
    """Whether the optimizer of a parameter takes sparse gradients."""
    return getattr(parameter, "row_gradients", False)


def row_bytes(*tables: Optional[Tensor]) -> int:
    """Bytes of tables; None counts nothing."""
    return sum(t.numel() * t.element_size() for t in tables if t is not None)


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
