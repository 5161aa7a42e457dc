"""Numbers that are no numbers, found before they are stepped with or saved: scenes that have some are dropped, while
the others go on to the last bit."""

from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
from jaxtyping import Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.latent_space.latent_space import to_device
from latent_nerfstudio.models.latent_model import LatentModel


class SceneWatch:
    """Knows which scenes have failed. In each step `failing` finds scenes with bad errors, `keep_rows` saves rows
    before the optimizers change them, and `after_step` restores bad ones. Only where nothing shared is trained can a
    scene fail alone; its rows stay those of its last good step."""

    def __init__(self, model: LatentModel, datamanager: LatentDataManager):
        self.names, self.parameters = model.scene_names, model.scene_parameters()
        self.datamanager = datamanager
        self.failed_at = torch.full((len(self.names),), -1)  # step of each scene, -1 for those that have not failed
        self._kept: Optional[Tuple[Tensor, List[Tensor]]] = None

    def failed(self) -> Dict[str, int]:
        return {name: step for name, step in zip(self.names, self.failed_at.tolist(), strict=True) if step >= 0}

    def resume(self, failed_at: Optional[Int[Tensor, "_"]]) -> None:
        """Takes over the failed scenes of a checkpoint, if it has any and is of as many scenes."""
        if failed_at is not None and len(failed_at) == len(self.names):
            self.failed_at = failed_at.clone()
            self.draw_the_others()

    def draw_the_others(self) -> None:
        self.datamanager.draw_only((self.failed_at < 0).nonzero()[:, 0] if self.failed() else None)

    @torch.no_grad()
    def failing(self, outputs: Mapping[str, Any]) -> Int[Tensor, "failing"]:
        """Scenes whose error is not finite, rising, from the outputs of `LatentPipeline.stage_losses`."""
        render, target = outputs["compared"]
        bad = ~(render - target).flatten(1).isfinite().all(dim=1)
        index = (outputs["metadata"] or {}).get("scene_index", torch.zeros(len(bad), dtype=torch.long))
        return index.flatten().long().to(bad.device)[bad].unique().cpu()

    def in_words(self, failing: Int[Tensor, "failing"], scenes: Int[Tensor, "scenes"]) -> str:
        if not len(failing):
            return "in no scene's error, so in what is added to it"
        named = few_of([self.names[scene] for scene in failing.tolist()])
        return f"in {len(failing)} of the step's {len(scenes)} scenes: {named}"

    @torch.no_grad()
    def fail(self, scenes: Int[Tensor, "failed"], step: int, term: str) -> None:
        """Drops scenes for good because `term` is not finite; another scene must be left. Their planes and weights
        become finite, with zeros if need be: no checkpoint holds NaN."""
        self.failed_at[scenes] = step
        for parameter in self.parameters:
            rows = scenes.to(parameter.device)
            parameter[rows] = parameter[rows].nan_to_num(0, 0, 0)
        names = ", ".join(self.names[i] for i in scenes.tolist())
        if bool((self.failed_at >= 0).all()):
            got, do = f"NaN in all ({names}; {term})", "lower the learning rates and resume from the last checkpoint"
            raise FloatingPointError(problem(f"scenes at step {step}", "finite numbers", got, do))
        line = f"scenes: no finite numbers at step {step} in {names}; dropped, the others go on ({term})"
        CONSOLE.print(line, style="red", markup=False, soft_wrap=True)
        self.draw_the_others()

    @torch.no_grad()
    def keep_rows(self, rows: Int[Tensor, "scenes"]) -> None:
        """Copies the rows of a step's scenes, so that the optimizers' step can be undone."""
        self._kept = rows, [p.index_select(0, to_device(rows, p.device)) for p in self.parameters]

    @torch.no_grad()
    def after_step(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """Restores rows that the optimizers' step made infinite or NaN, and drops their scenes."""
        if self._kept is None:
            return
        (rows, before), self._kept = self._kept, None
        after = [p.index_select(0, to_device(rows, p.device)).flatten(1).sum(dim=1) for p in self.parameters]
        if not after:
            return
        bad = ~torch.stack([sums.isfinite().to(after[0].device) for sums in after]).all(dim=0).cpu()
        if not bool(bad.any()):
            return
        for parameter, values in zip(self.parameters, before, strict=True):
            parameter[rows[bad].to(parameter.device)] = values[bad.to(values.device)]
            forget_rows(parameter, rows[bad], optimizers)
        self.fail(rows[bad], step, "planes or weights")


def forget_rows(parameter: Parameter, rows: Int[Tensor, "rows"], optimizers: Mapping[str, Optimizer]) -> None:
    """Zeroes gradients and average gradients of rows, so that Adam moves them no more: for it, a scene that is not
    drawn has a gradient of zero. Other averages only become finite."""
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


def check_finite(values: Mapping[str, Tensor], step: int, kind: str) -> None:
    """Refuses tensors that hold NaN or infinity, by name, step and kind; those of integers are left alone."""
    name = not_finite(values)
    if name is not None:
        value = values[name].detach()
        number = value[~value.isfinite()].flatten()[0].item()
        do = "lower the learning rates or this term's weight and resume from the last checkpoint, which is kept"
        raise FloatingPointError(problem(f"{kind} {name} at step {step}", "finite numbers", number, do))


def not_finite(values: Mapping[str, Tensor]) -> Optional[str]:
    """Name of the first tensor with NaN or infinity; None if there is none. The sums of all tensors are tested together
    first, so that a device is waited for once if all is well."""
    tensors = {name: value.detach() for name, value in values.items() if value.is_floating_point()}
    if not tensors or bool(torch.stack([value.sum() for value in tensors.values()]).isfinite().all()):
        return None
    return next((name for name, value in tensors.items() if not bool(value.isfinite().all())), None)
