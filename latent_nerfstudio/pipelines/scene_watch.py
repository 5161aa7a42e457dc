"""Follows the scenes of a run: who is in a step, whose numbers are no longer finite, who gains no more."""

import time
from typing import TYPE_CHECKING, List, Mapping, Optional, Tuple

import torch
from jaxtyping import Float, Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from latent_nerfstudio.data.latent_datamanager import scene_indices
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.triplane_field import SCENE_PARAMETERS
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.pipelines.held_out import HeldOutViews, chosen_views
from latent_nerfstudio.pipelines.scene_progress import COOLING, FAILED

if TYPE_CHECKING:
    from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline

STAGES = ("latent supervision", "mixed supervision", "RGB alignment", "warm-up", "joint training")
"""Stages by the number that a checkpoint holds."""

STAGES_OF_LATENTS = ("latent supervision", "warm-up")
"""In which no picture is decoded, and the autoencoder has no gradient."""


MAX_NAMED = 8
"""Scenes that a message names at most."""

NOTHING_SEEN = torch.zeros(0, dtype=torch.long), torch.zeros(0, 1)
"""Scenes of no rays, and their errors."""


class NothingToTrain(RuntimeError):
    """All scenes have stopped or failed."""


class SceneWatch:
    """What a pipeline does for its scenes around a step: `enter`, `saw`, `hold`, and `after_step`.

    Scenes are trained, end and fail alone where a step trains nothing that they share; else together.
    """

    def __init__(self, pipeline: "LatentPipeline"):
        self.pipeline = pipeline
        self.progress = pipeline.scene_progress
        self.views: Optional[HeldOutViews] = None
        self.together = True
        self.present = torch.zeros(0, dtype=torch.long)
        self._stage: Optional[str] = None
        self._drawn: Optional[Tensor] = None
        self._held: List[Tuple[Parameter, Tensor]] = []
        self._seen = NOTHING_SEEN
        self._rows, self._cools = self.present, False
        self._begun: Optional[float] = None

    def prepare(self) -> None:
        """Encodes the held-out views if they are to be measured.

        Raises:
            ValueError: a scene without held-out views.
        """
        if self.progress.config.every > 0 and self.views is None:
            self.views = HeldOutViews(self.pipeline)

    def check(self) -> None:
        """Refuses a scene that cannot be measured, before anything is encoded."""
        if self.progress.config.every > 0:
            chosen_views(scene_indices(self.pipeline.datamanager.eval_dataset.cameras), self.progress.names)

    # Around a step

    def enter(self, step: int) -> None:
        """Before a step is drawn: a new stage begins, and only active scenes are drawn.

        Raises:
            NothingToTrain: there are none.
        """
        self.prepare()
        self._begun = time.monotonic()
        stage = self.pipeline.stage_at(step)
        self.progress.enter(STAGES.index(stage))
        if stage != self._stage:
            self._stage, self.together = stage, len(self.shared_parameters(stage)) > 0
        self._seen, self.present = NOTHING_SEEN, self.present[:0]
        active = self.progress.is_active()
        if not bool(active.any()):
            self._begun = None
            raise NothingToTrain(f"scenes: expected some to train at step {step}, got none; all have ended")
        if self._drawn is None or not torch.equal(active, self._drawn):
            self._drawn = active
            self.pipeline.datamanager.draw_only(None if bool(active.all()) else active.nonzero()[:, 0])

    @torch.no_grad()
    def saw(self, metadata: Optional[Mapping[str, Tensor]], error: Float[Tensor, "items *rest"]) -> None:
        """Notes the scene of each ray or picture of a step, and its error, by which a scene that fails is found."""
        index = (metadata or {}).get("scene_index")
        scenes = error.new_zeros(len(error)) if index is None else index.flatten()
        self._seen = scenes.long(), error.detach()
        self.present = self._seen[0].unique().cpu()

    def drop_failed(self, step: int, term: str) -> bool:
        """Drops the scenes whose error is not finite, so that the step can be drawn again without them.

        Nothing has been stepped with these numbers: the scenes keep the planes of their last good step.

        Args:
            step: of the run.
            term: name of the loss that is not finite, for the message.

        Returns:
            False if no scene can be named, or if what scenes share would be trained on what went wrong.
        """
        failing = self._failing()
        if self.together or not len(failing):
            return False
        self._fail(failing, step, term)
        self.enter(step)
        return True

    def _failing(self) -> Int[Tensor, "failing"]:
        """Scenes of the step whose error is not finite, in rising order."""
        scenes, error = self._seen
        return scenes[~error.flatten(1).isfinite().all(dim=1)].unique().cpu()

    def failing_scenes(self) -> str:
        """Which scenes of the step have an error that is not finite, in words."""
        failing, named = self._failing(), self.progress.names
        if not len(failing):
            return "in no scene's error, so in what is added to it"
        few = ", ".join(named[i] for i in failing[:MAX_NAMED].tolist())
        rest = len(failing) - MAX_NAMED
        return f"in {len(failing)} of the step's {len(self.present)} scenes: {few}" + (f" and {rest} more" * (rest > 0))

    def _fail(self, scenes: Int[Tensor, "failed"], step: int, term: str) -> None:
        """Marks scenes as failed; `term` is what is not finite.

        Raises:
            FloatingPointError: no scene is left.
        """
        self.progress.fail(scenes, step)
        names = ", ".join(self.progress.names[i] for i in scenes.tolist())
        if bool((self.progress.state == FAILED).all()):
            do = "lower the learning rates and resume from the last checkpoint, which is kept"
            got = f"NaN in all ({names}; {term})"
            raise FloatingPointError(problem(f"scenes at step {step}", "finite numbers", got, do))
        line = f"scenes: no finite numbers at step {step} in {names}; dropped, the others go on ({term})"
        CONSOLE.print(line, style="red", markup=False, soft_wrap=True)

    @torch.no_grad()
    def hold(self) -> None:
        """Copies the rows that the optimizers' step may have to be taken back from, in part or in whole.

        Those of the step's scenes, which may fail, and of scenes that cool down: all their planes follow the average of
        their gradients where the optimizer is dense. In a cool-down of all together, it is everything that is trained.
        """
        cooling = (self.progress.state == COOLING).nonzero()[:, 0]
        self._cools = len(cooling) > 0
        self._rows = torch.cat([self.present, cooling]).unique() if self._cools else self.present
        if not self.together:
            self._held = [(p, p[self._rows.to(p.device)].clone()) for p in self.own_parameters()]
        elif self._cools and self._stage is not None:
            every = [*self.own_parameters(), *self.shared_parameters(self._stage)]
            self._held = [(p, p.detach().clone()) for p in every]
        else:
            self._held = []

    def after_step(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """After the optimizers' step: cool-downs, failures, the count, measurements, stops.

        Args:
            optimizers: of the parameter groups.
            step: of the run.
        """
        if self._begun is None:  # a step that was left out
            return
        failed = self._settle()
        if len(failed):
            self._fail(failed, step, "planes or weights")
        self.progress.count(self.present, time.monotonic() - self._begun, self.together)
        due = self.progress.due() if self._is_measured(step) else failed[:0]
        if len(due):
            self.progress.record(due, self._psnr(due), self.together)
        stopped = self.progress.stop_cooled(step)
        for parameter in self.own_parameters():
            forget_rows(parameter, torch.cat([failed, stopped]), optimizers)
        if len(stopped):
            self.progress.psnr[stopped] = self._psnr(stopped)
        self._begun = None

    @torch.no_grad()
    def _settle(self) -> Int[Tensor, "failed"]:
        """Takes back what the cool-down's rates leave out, and rows that are not finite; names their scenes."""
        if self.together:
            for parameter, before in self._held:
                parameter.copy_(before.lerp(parameter, float(self.progress.rates().max())))
            return self._rows[:0]
        good = torch.ones(len(self._rows), dtype=torch.bool)
        after = [parameter[self._rows.to(parameter.device)] for parameter, _ in self._held]
        for rows in after:
            good &= rows.flatten(1).sum(dim=1).isfinite().cpu()
        if self._cools or not bool(good.all()):
            rates = torch.where(good, self.progress.rates()[self._rows], torch.zeros(()))
            for (parameter, before), rows in zip(self._held, after, strict=True):
                parameter[self._rows.to(parameter.device)] = part_of_step(before, rows, rates.to(rows))
        return self._rows[~good]

    def _is_measured(self, step: int) -> bool:
        every = self.progress.config.every
        return every > 0 and (step + 1) % every == 0

    def _psnr(self, scenes: Int[Tensor, "scenes"]) -> Float[Tensor, "scenes"]:
        assert self.views is not None  # since `enter`
        return self.views.psnr(scenes, decoded=self._stage not in STAGES_OF_LATENTS)

    # What there is to train

    def own_parameters(self) -> List[Parameter]:
        """Parameters with a row a scene; none in a NeRF that holds one scene."""
        nerf = self.pipeline.latent_model.nerf
        named = [getattr(nerf.field, name) for name in SCENE_PARAMETERS] if isinstance(nerf, TriplaneModel) else []
        return [parameter for parameter in named if parameter is not None]

    def shared_parameters(self, stage: str) -> List[Parameter]:
        """Parameters that a stage trains and that scenes share."""
        left_out = ("encoder", "decoder") if stage in STAGES_OF_LATENTS else ()
        own = {id(parameter) for parameter in self.own_parameters()}
        groups = self.pipeline.get_param_groups().items()
        parameters = [p for name, group in groups if name not in left_out for p in group]
        return [p for p in parameters if p.requires_grad and id(p) not in own]

    def leaves_out(self, step: int) -> bool:
        """Whether a step has nothing to train, since all scenes of its stage have ended."""
        same = int(self.progress.stage) == STAGES.index(self.pipeline.stage_at(step))
        return same and not bool(self.progress.is_active().any())

    def is_over(self, step: int, end: int) -> bool:
        """Whether a run of `end` steps has nothing to train after a step: all scenes have ended, in its last stage."""
        return self.leaves_out(step) and self.pipeline.stage_at(end - 1) == self.pipeline.stage_at(step)


def part_of_step(
    before: Float[Tensor, "rows *row"], after: Float[Tensor, "rows *row"], rates: Float[Tensor, "rows"]
) -> Float[Tensor, "rows *row"]:
    """Rows that have gone a part of the way of an optimizer's step: as if its learning rate had been as much lower.

    Args:
        before: the step; finite.
        after: the step; taken where the rate is 1, to the last bit, and without any effect where it is 0.
        rates: part of each row, in [0, 1].
    """
    wide = rates.view(-1, *[1] * (before.dim() - 1))
    return torch.where(wide > 0, before.lerp(after, wide), before)


@torch.no_grad()
def forget_rows(parameter: Parameter, rows: Int[Tensor, "rows"], optimizers: Mapping[str, Optimizer]) -> None:
    """Sets the averages of the gradient of some rows to zero, and their gradients, so that Adam moves them no more.

    Where an optimizer knows of no rows, a scene that is not drawn has a gradient of zero, and would go on with the
    average of the old ones. What is not finite in the other averages is zero then as well.
    """
    if not len(rows):
        return
    rows = rows.to(parameter.device)
    if parameter.grad is not None:  # which counts where gradients are accumulated over steps
        parameter.grad = without_rows(parameter.grad, rows)
    for optimizer in optimizers.values():
        state = optimizer.state.get(parameter, {})
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                value[rows] = 0 if name == "exp_avg" else value[rows].nan_to_num(0, 0, 0)


def without_rows(gradient: Tensor, rows: Int[Tensor, "rows"]) -> Tensor:
    """A gradient, dense or sparse in its rows, that is zero in some of them."""
    if not gradient.is_sparse:
        return gradient.index_fill(0, rows, 0)
    gradient = gradient.coalesce()
    kept = ~torch.isin(gradient.indices()[0], rows)
    return torch.sparse_coo_tensor(gradient.indices()[:, kept], gradient.values()[kept], gradient.shape)
