"""Drops scenes whose numbers are no longer finite, while the others go on to the last bit."""

from typing import Dict, List, Mapping, Optional, Tuple

import torch
from jaxtyping import Float, Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.errors import problem
from latent_nerfstudio.models.latent_model import LatentModel

MAX_NAMED = 8
"""Scenes that a message names at most."""


class SceneWatch:
    """Which scenes have failed; around a step, `saw` what it rendered, `hold` its rows, and look at them `after_step`.

    A scene can fail alone only where a step trains nothing that scenes share. Its rows stay those of its last good
    step.

    Args:
        model: with the scenes.
        datamanager: which draws them.
    """

    def __init__(self, model: LatentModel, datamanager: LatentDataManager):
        self.names, self.own = model.scene_names, model.scene_parameters()
        self.datamanager = datamanager
        self.failed_at = torch.full((len(self.names),), -1)  # step of each scene, -1 for those that have not failed
        self._seen: Tuple[Tensor, Tensor] = torch.zeros(0, dtype=torch.long), torch.zeros(0, 1)
        self._held: Optional[Tuple[Tensor, List[Tensor]]] = None

    def failed(self) -> Dict[str, int]:
        """The step at which each failed scene did so, by its name."""
        return {name: step for name, step in zip(self.names, self.failed_at.tolist(), strict=True) if step >= 0}

    def resume(self, failed_at: Optional[Int[Tensor, "_"]]) -> None:
        """Takes over what a checkpoint says; nothing where it says nothing, or was of more scenes than this run."""
        if failed_at is not None and len(failed_at) == len(self.names):
            self.failed_at = failed_at.clone()
            self.draw_the_others()

    def draw_the_others(self) -> None:
        """Has only scenes drawn that have not failed."""
        self.datamanager.draw_only((self.failed_at < 0).nonzero()[:, 0] if self.failed() else None)

    @torch.no_grad()
    def saw(self, metadata: Optional[Mapping[str, Tensor]], error: Float[Tensor, "items *rest"]) -> None:
        """Notes the scene of each ray or picture of a step, and its error, by which a scene that fails is found."""
        index = (metadata or {}).get("scene_index")
        scenes = torch.zeros(len(error), dtype=torch.long) if index is None else index.flatten().long()
        self._seen = scenes, error.detach()

    def failing(self) -> Int[Tensor, "failing"]:
        """Scenes of the step whose error is not finite, in rising order."""
        scenes, error = self._seen
        return scenes.to(error.device)[~error.flatten(1).isfinite().all(dim=1)].unique().cpu()

    def failing_scenes(self) -> str:
        """Which scenes of the step have an error that is not finite, in words."""
        failing = [self.names[i] for i in self.failing().tolist()]
        if not failing:
            return "in no scene's error, so in what is added to it"
        rest = len(failing) - MAX_NAMED
        count = len(self._seen[0].unique())
        return f"in {len(failing)} of the step's {count} scenes: {', '.join(failing[:MAX_NAMED])}" + (
            f" and {rest} more" if rest > 0 else ""
        )

    def fail(self, scenes: Int[Tensor, "failed"], step: int, term: str) -> None:
        """Drops scenes for good.

        Args:
            scenes: which.
            step: of the run.
            term: what is not finite, for the message.

        Raises:
            FloatingPointError: no scene is left.
        """
        self.failed_at[scenes] = step
        names = ", ".join(self.names[i] for i in scenes.tolist())
        if bool((self.failed_at >= 0).all()):
            do = "lower the learning rates and resume from the last checkpoint, which is kept"
            got = f"NaN in all ({names}; {term})"
            raise FloatingPointError(problem(f"scenes at step {step}", "finite numbers", got, do))
        line = f"scenes: no finite numbers at step {step} in {names}; dropped, the others go on ({term})"
        CONSOLE.print(line, style="red", markup=False, soft_wrap=True)
        self.draw_the_others()

    @torch.no_grad()
    def hold(self) -> None:
        """Copies the rows of the step's scenes, which the optimizers' step may have to be taken back from."""
        rows = self._seen[0].unique().cpu()
        self._held = rows, [parameter[rows.to(parameter.device)].clone() for parameter in self.own]

    @torch.no_grad()
    def after_step(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """Takes back rows that an optimizers' step has left without finite numbers, and drops their scenes."""
        if self._held is None:
            return
        (rows, before), self._held = self._held, None
        after = [parameter[rows.to(parameter.device)] for parameter in self.own]
        finite = [values.flatten(1).sum(dim=1).isfinite().cpu() for values in after]
        bad = ~torch.stack(finite).all(dim=0) if finite else torch.zeros(len(rows), dtype=torch.bool)
        if not bool(bad.any()):
            return
        for parameter, values in zip(self.own, before, strict=True):
            parameter[rows[bad].to(parameter.device)] = values[bad.to(values.device)]
            forget_rows(parameter, rows[bad], optimizers)
        self.fail(rows[bad], step, "planes or weights")


def forget_rows(parameter: Parameter, rows: Int[Tensor, "rows"], optimizers: Mapping[str, Optimizer]) -> None:
    """Sets the averages of the gradient of some rows to zero, and their gradients, so that Adam moves them no more.

    Where an optimizer knows of no rows, a scene that is not drawn has a gradient of zero, and would go on with the
    average of the old ones. What is not finite in the other averages is zero then as well.
    """
    rows = rows.to(parameter.device)
    if parameter.grad is not None:  # which counts where gradients are accumulated over steps
        parameter.grad = without_rows(parameter.grad, rows)
    for optimizer in optimizers.values():
        for name, value in optimizer.state.get(parameter, {}).items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                value[rows] = 0 if name == "exp_avg" else value[rows].nan_to_num(0, 0, 0)


def without_rows(gradient: Tensor, rows: Int[Tensor, "rows"]) -> Tensor:
    """A gradient, dense or sparse in its rows, that is zero in some of them."""
    if not gradient.is_sparse:
        return gradient.index_fill(0, rows, 0)
    gradient = gradient.coalesce()
    kept = ~torch.isin(gradient.indices()[0], rows)
    return torch.sparse_coo_tensor(gradient.indices()[:, kept], gradient.values()[kept], gradient.shape)
