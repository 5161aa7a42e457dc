"""Several processes on one run: each has scenes of its own, and only the gradients of what scenes share are reduced.

Nerfstudio starts the processes (`--machine.num-devices`) and would wrap the model into DistributedDataParallel, which
reduces the dense gradient of every scene at every step and does not see the decoder, which is called outside `forward`.
"""

from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float
from nerfstudio.engine.optimizers import Optimizers
from torch import Tensor
from torch.nn import Module, Parameter

from latent_nerfstudio.data.share import Share
from latent_nerfstudio.pipelines.scene_watch import without_rows

if TYPE_CHECKING:
    from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline


class ReducingOptimizers(Optimizers):
    """Optimizers that average the gradients of shared parameters over all processes before they step.

    Of the gradients of parameters of scenes, each process steps the rows of its own scenes, from whichever of the steps
    that accumulate they come. Sparse ones may hold the row of the scene that stood in where a step had none of its own.

    Args:
        config: of Nerfstudio's `Optimizers`.
        param_groups: likewise.
        pipeline: tells which parameters are of scenes, and this process's weight in a step.
    """

    def __init__(self, config: Dict[str, Any], param_groups: Dict[str, List[Parameter]], pipeline: "LatentPipeline"):
        super().__init__(config, param_groups)
        self.pipeline = pipeline
        self.own = pipeline.own_parameters()

    def optimizer_scaler_step_some(self, grad_scaler: Any, param_groups: List[str]) -> None:
        own, share = {id(parameter) for parameter in self.own}, self.pipeline.datamanager.share
        stepped = [parameter for name in param_groups for parameter in self.parameters[name]]
        average_gradients([parameter for parameter in stepped if id(parameter) not in own])
        for parameter in stepped:
            if id(parameter) in own and parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = own_rows(parameter.grad, share)
        super().optimizer_scaler_step_some(grad_scaler, param_groups)


def own_rows(gradient: Float[Tensor, "scenes *row"], share: Share) -> Float[Tensor, "scenes *row"]:
    """A gradient, dense or sparse in its rows, that is zero in the rows of other processes' scenes."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
    else:
        rows = torch.arange(len(gradient), device=gradient.device)
    return without_rows(gradient, rows[~share.own(rows)])


def average_gradients(parameters: Sequence[Parameter]) -> None:
    """Means of gradients over all processes, in place; a process without one counts as zero.

    Gradients that no process has stay None, so that their optimizer does not step.

    Args:
        parameters: the same ones in the same order on every process.
    """
    if not parameters:
        return
    present = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    dist.all_reduce(present)
    chosen = [p for p, count in zip(parameters, present.tolist(), strict=True) if count > 0]
    for device in {p.device for p in chosen}:
        average([dense_gradient(p) for p in chosen if p.device == device])


def dense_gradient(parameter: Parameter) -> Tensor:
    """A parameter's gradient as a dense tensor, zero where there was none; it is the parameter's from now on."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    parameter.grad = gradient.to_dense() if gradient.is_sparse else gradient
    return parameter.grad


def average(tensors: Sequence[Tensor]) -> None:
    """Means of tensors over all processes, in place, in one message."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


@contextmanager
def first_alone(world: int) -> Iterator[None]:
    """What the first process does alone, and then the others: these find on disk what it has left there."""
    if world > 1 and dist.get_rank() > 0:
        dist.barrier()
    yield
    if world > 1 and dist.get_rank() == 0:
        dist.barrier()


@torch.no_grad()
def start_alike(module: Module) -> None:
    """Gives all processes the parameters and buffers of the first: each has drawn its own."""
    for tensor in [*module.parameters(), *module.buffers()]:
        dist.broadcast(tensor.data, src=0)


@torch.no_grad()
def gather_scenes(parameters: Sequence[Parameter], optimizers: Optimizers, share: Share) -> None:
    """Gives all processes every scene's rows, and their optimizer's state, as the process that owns them has them.

    Args:
        parameters: whose first axis is the scene.
        optimizers: of the run.
        share: of this process.
    """
    for parameter in parameters:
        gather_rows(parameter.data, share)
        for optimizer in optimizers.optimizers.values():
            for state in optimizer.state.get(parameter, {}).values():
                if torch.is_tensor(state) and state.shape[:1] == parameter.shape[:1]:
                    gather_rows(state, share)


def gather_rows(table: Tensor, share: Share) -> None:
    """Rows of all processes, in place, each from the process that owns it."""
    own = share.own(torch.arange(len(table), device=table.device))
    table[~own] = 0
    dist.all_reduce(table)


@torch.no_grad()
def gather_gradients(parameters: Sequence[Parameter], own: Sequence[Parameter], share: Share) -> List[Optional[Tensor]]:
    """Gradients of all processes together, on the host; those of the parameters stay as they are.

    With them in every process's stead, the step that follows is the same: means where it will take means, and the rows
    of a scene from the process that owns it.

    Args:
        parameters: the same ones in the same order on every process.
        own: parameters whose first axis is the scene.
        share: of this process.
    """
    return [joined_gradient(p.grad, share if any(p is other for other in own) else None) for p in parameters]


def joined_gradient(gradient: Optional[Tensor], share: Optional[Share]) -> Optional[Tensor]:
    """A gradient of all processes, None where none has one: the mean, or with a share, rows of those who own them."""
    if gradient is not None and share is not None:
        gradient = own_rows(gradient, share)
    parts: List[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, None if gradient is None else gradient.cpu())
    present = [part for part in parts if part is not None]
    if not present:
        return None
    total = reduce(torch.add, present)
    return total / len(parts) if share is None else total
