"""Adam for parameters that are indexed by scene: a step costs what its scenes cost, however many others there are."""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Optional, Tuple, Type, Union

import torch
from jaxtyping import Float
from nerfstudio.engine.optimizers import OptimizerConfig
from torch import Tensor
from tyro.conf import Suppress

from latent_nerfstudio.errors import problem


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
        if lr < 0:
            raise ValueError(problem("lr", "a number of at least 0", lr, "correct the optimizer's settings"))
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "max_idle": max_idle, "rows_in_turn": None})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all parameters that have a gradient; nothing is evaluated again."""
        for group in self.param_groups:
            settings = (group["lr"], *group["betas"], group["eps"])
            for parameter in group["params"]:
                if parameter.grad is not None:
                    turns = group.get("rows_in_turn") or len(parameter)
                    idle = group.get("max_idle", 1.0)
                    step_parameter(parameter, self._averages(parameter), settings, turns, idle, self.row_factors)

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


def step_parameter(
    parameter: Tensor,
    state: Dict[str, Tensor],
    settings: Tuple[float, float, float, float],
    rows_in_turn: int,
    max_idle: float = 1.0,
    factors: Optional[Float[Tensor, "rows"]] = None,
) -> None:
    """One step of all rows or of those that the gradient has; settings are learning rate, both decays and eps."""
    tables = (parameter, state["exp_avg"], state["exp_avg_sq"], state["row_steps"])
    gradient = parameter.grad
    assert gradient is not None
    lr, beta1, beta2, eps = settings
    factors = None if factors is None else factors.to(gradient.device)  # no index comes back to the host for them
    if not gradient.is_sparse:
        rates = lr if factors is None else lr * factors
        step_rows(*tables, gradient, rates, beta1, beta2, eps)
        return
    gradient = gradient.coalesce()
    index = gradient.indices()[0]
    values, averages, squares, steps = (table.index_select(0, index) for table in tables)
    rates = lr if factors is None else lr * factors[index]
    idle = max(1.0, min(max_idle, rows_in_turn / max(1, len(index))))
    ratio = beta1 / beta2**0.5
    gain = 1.0 if idle == 1 else (1 - ratio**idle) / (1 - ratio)
    averages.mul_(beta1 ** (idle - 1))
    squares.mul_(beta2 ** (idle - 1))
    steps += idle - 1
    step_rows(values, averages, squares, steps, gradient.values(), gain * rates, beta1, beta2, eps)
    for table, row in zip(tables, (values, averages, squares, steps), strict=True):
        table.index_copy_(0, index, row)


def step_rows(
    values: Float[Tensor, "rows *row"],
    averages: Float[Tensor, "rows *row"],
    squares: Float[Tensor, "rows *row"],
    steps: Float[Tensor, "rows"],
    gradients: Float[Tensor, "rows *row"],
    lr: Union[float, Float[Tensor, "rows"]],
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """Adam's step of each row, in place, with the arithmetic of `torch.optim.Adam`, and its order."""
    steps += 1
    averages.lerp_(gradients, 1 - beta1)
    squares.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
    count = steps.double().view(-1, *[1] * (values.dim() - 1))  # float32 would lose 1 - beta2 ** 1 after 4 digits
    rate = lr.view_as(count) if isinstance(lr, Tensor) else lr
    size = (-rate / (1 - beta1**count)).to(values.dtype)
    root = (1 - beta2**count).sqrt().to(values.dtype)
    values.add_((averages * size).div_(squares.sqrt().div_(root).add_(eps)))
