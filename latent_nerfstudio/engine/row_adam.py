"""Adam for parameters that are indexed by scene: a step costs what its scenes cost, however many others there are."""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Optional, Tuple, Type, Union

import torch
from jaxtyping import Float
from nerfstudio.engine.optimizers import OptimizerConfig
from torch import Tensor
from tyro.conf import Suppress


@dataclass
class RowAdamConfig(OptimizerConfig):
    """Adam that changes the rows of a parameter that have a gradient, and no others."""

    _target: Type = field(default_factory=lambda: RowAdam)
    lr: float = 1e-3
    """Learning rate."""
    eps: Suppress[float] = 1e-15
    """Added to the root of the mean squared gradient."""
    max_norm: Suppress[Optional[float]] = None
    max_idle: Suppress[float] = 1.0
    """Steps of Adam that a step of rows stands for, at most: as many as pass until it is their turn again."""


class RowAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba, 2015, algorithm 1) whose averages, and their bias correction, are those of each row alone:
    of `torch.optim.SparseAdam` a row that is first seen late has no bias correction any more, and a first step of (1 -
    beta_1) / sqrt(1 - beta_2) = 3.2 times the rate.

    Rows are the first axis. A sparse gradient (torch's COO format, one sparse axis) steps its rows, and leaves the
    others and their averages; a dense one steps all rows as `torch.optim.Adam` does, bit by bit on a CPU.

    If a row has a gradient with the chance p a step, Adam with dense gradients (zero elsewhere) moves it by lr /
    sqrt(p) a visit; here it is lr. With `max_idle` above 1 a sparse gradient stands for k = min(max_idle, 1 / p) steps
    of Adam, where 1 / p = `rows_in_turn` / (rows of the gradient): the averages decay k - 1 times for the steps since
    the row's last turn, and the row moves by the sum of the k steps that follow, the first with the gradient and the
    others without, a geometric series of r = beta_1 / sqrt(beta_2), so that lr_row = lr (1 - r^k) / (1 - r)."""

    takes_row_gradients = True
    """Tells models that they may make sparse gradients, see `fields.planes.gather_rows`."""
    row_factors: Optional[Float[Tensor, "rows"]] = None
    """Factors of each row's rate, on the host; None for 1. Not in the state: they are set again after loading."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-15,
        max_idle: float = 1.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "max_idle": max_idle, "rows_in_turn": None})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all parameters that have a gradient; nothing is evaluated again."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)

    def _step(self, parameter: Tensor, gradient: Tensor, group: Dict[str, Any]) -> None:
        """One step of all rows of a parameter, or of those that its gradient has."""
        state = self._averages(parameter)
        tables = (parameter, state["exp_avg"], state["exp_avg_sq"], state["row_steps"])
        rates, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        if self.row_factors is not None:
            rates = rates * self.row_factors.to(gradient.device)  # no index comes back to the host for them
        if not gradient.is_sparse:
            return step_rows(tables, gradient, rates, group["betas"], eps)
        gradient = gradient.coalesce()
        index = gradient.indices()[0]
        rows = values, averages, squares, steps = tuple(table.index_select(0, index) for table in tables)
        rates = rates[index] if isinstance(rates, Tensor) else rates
        turns = (group.get("rows_in_turn") or len(parameter)) / max(1, len(index))
        idle = max(1.0, min(group.get("max_idle", 1.0), turns))
        ratio = beta1 / beta2**0.5
        gain = 1.0 if idle == 1 else (1 - ratio**idle) / (1 - ratio)
        averages.mul_(beta1 ** (idle - 1))
        squares.mul_(beta2 ** (idle - 1))
        steps += idle - 1
        step_rows(rows, gradient.values(), gain * rates, group["betas"], eps)
        for table, some in zip(tables, rows, strict=True):
            table.index_copy_(0, index, some)

    def take_turns(self, rows: int) -> None:
        """Sets how many rows take turns from now on; at first all do."""
        for group in self.param_groups:
            group["rows_in_turn"] = rows

    def _averages(self, parameter: Tensor) -> Dict[str, Tensor]:
        """The state of a parameter: averages of the gradient and its square, and the steps of each row."""
        state = self.state[parameter]
        if "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        if "row_steps" not in state:  # of a fresh run, or one of torch's Adam that goes on here
            done = float(state.pop("step", 0))
            state["row_steps"] = torch.full(parameter.shape[:1], done, device=parameter.device)
        for name in ("last_turn", "turn"):  # of version 0.1, which guessed who takes turns
            state.pop(name, None)
        return state


def step_rows(
    rows: Tuple[Tensor, ...],
    gradients: Float[Tensor, "rows *row"],
    lr: Union[float, Float[Tensor, "rows"]],
    betas: Tuple[float, float],
    eps: float,
) -> None:
    """Adam's step of each row, in place, with the arithmetic of `torch.optim.Adam`, and its order. Rows are values,
    averages of the gradient and its square, and counts of steps."""
    (values, averages, squares, steps), (beta1, beta2) = rows, betas
    steps += 1
    averages.lerp_(gradients, 1 - beta1)
    squares.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
    count = steps.double().view(-1, *[1] * (values.dim() - 1))  # float32 would lose 1 - beta2 ** 1 after 4 digits
    rate = lr.view_as(count) if isinstance(lr, Tensor) else lr
    size = (-rate / (1 - beta1**count)).to(values.dtype)
    root = (1 - beta2**count).sqrt().to(values.dtype)
    values.add_((averages * size).div_(squares.sqrt().div_(root).add_(eps)))
