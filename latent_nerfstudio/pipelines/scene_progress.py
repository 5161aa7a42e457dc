"""How far each scene is, and which are trained on: a scene that gains no more on held-out views ends early."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import torch
from jaxtyping import Bool, Float, Int
from rich.table import Table
from torch import Tensor, nn

from latent_nerfstudio.errors import problem

TRAINING, COOLING, STOPPED, FAILED = range(4)

STATES = ("training", "cooling down", "stopped", "failed")
"""In words."""

TABLE_ROWS = 20
"""Scenes that are listed on the screen; failed ones are listed first."""


@dataclass
class PlateauConfig:
    """Early end of scenes that gain no more on their held-out views.

    Steps are those that a scene is in. Where steps train something that scenes share (decoder, base planes, tiny MLP),
    scenes are judged by their mean, and all end together; the stage's other steps are left out then.
    """

    every: int = 0
    """Steps between measurements of a scene's held-out views; 0 trains all scenes to the end."""
    patience: int = 3
    """Measurements in a row without a gain, after which a scene ends."""
    tolerance: float = 0.1
    """What counts as a gain over the best measurement, dB."""
    minimum_steps: int = 100
    """Steps of a stage before a scene may end."""
    cooldown: int = 50
    """Steps in which the learning rate then falls to nothing, before the scene stops; 0 stops it at once."""


def check_plateau(config: PlateauConfig) -> None:
    """Refuses settings that have no meaning.

    Raises:
        ValueError: a number below its smallest.
    """
    for name, low in (("every", 0), ("patience", 1), ("tolerance", 0), ("minimum_steps", 0), ("cooldown", 0)):
        value = getattr(config, name)
        if not value >= low:
            flag = f"--pipeline.plateau.{name.replace('_', '-')}"
            raise ValueError(problem(f"plateau.{name}", f"at least {low}", value, f"correct {flag}"))


def judge(
    psnr: Float[Tensor, "scenes"],
    best: Float[Tensor, "scenes"],
    stale: Int[Tensor, "scenes"],
    tolerance: float,
) -> Tuple[Float[Tensor, "scenes"], Int[Tensor, "scenes"]]:
    """The best measurement that was a gain, and how many came after it without one.

    Args:
        psnr: new measurements, dB; NaN is no gain.
        best: before them; -inf at first.
        stale: before them.
        tolerance: smallest gain, dB; with 0 an equal measurement is none.
    """
    gained = (psnr > best) & (psnr >= best + tolerance)
    return torch.where(gained, psnr, best), torch.where(gained, torch.zeros_like(stale), stale + 1)


class SceneProgress(nn.Module):
    """What is known of each scene. On the host; in checkpoints once there is anything to tell.

    Buffers, one number a scene: `state` (of `STATES`), `steps` that it was in, `stage_steps` of the present stage,
    `seconds` of training (a step's are shared among its scenes), `psnr` (the last measurement), `best` and `stale` (see
    `judge`), `measured_at` and `cooling_from` (of `stage_steps`), `ended_at` (the run's step, -1 before). And `stage`,
    the number of the present one.

    Args:
        names: of the scenes.
        config: when they end.

    Raises:
        ValueError: settings that have no meaning.
    """

    state: Tensor
    steps: Tensor
    stage_steps: Tensor
    measured_at: Tensor
    stale: Tensor
    cooling_from: Tensor
    ended_at: Tensor
    seconds: Tensor
    psnr: Tensor
    best: Tensor
    stage: Tensor

    def __init__(self, names: List[str], config: PlateauConfig):
        super().__init__()
        check_plateau(config)
        self.names, self.config = names, config
        count = len(names)
        for name in ("state", "steps", "stage_steps", "measured_at", "stale", "cooling_from", "ended_at"):
            self.register_buffer(name, torch.full((count,), -1 if name == "ended_at" else 0))
        self.register_buffer("seconds", torch.zeros(count, dtype=torch.float64))
        for name in ("psnr", "best"):
            self.register_buffer(name, torch.full((count,), -float("inf")))
        self.register_buffer("stage", torch.tensor(-1))

    @property
    def is_told(self) -> bool:
        """Whether there is anything to tell: scenes are measured, or one has failed."""
        return self.config.every > 0 or bool((self.state == FAILED).any())

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if self.is_told:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def is_active(self) -> Bool[Tensor, "scenes"]:
        """Which scenes are trained."""
        return (self.state == TRAINING) | (self.state == COOLING)

    def enter(self, stage: int) -> bool:
        """Begins a stage if it is a new one: scenes that stopped go on in it, and are judged anew. So do they in a run
        that is resumed without measurements. Returns whether the scenes to train have changed.
        """
        is_new = int(self.stage) != stage
        if not is_new and (self.config.every > 0 or not bool((self.state == STOPPED).any())):
            return False
        self.stage.fill_(stage)
        self.ended_at[self.state != FAILED] = -1
        self.state[self.state != FAILED] = TRAINING
        for buffer in (self.stage_steps, self.measured_at, self.stale, self.cooling_from):
            buffer.zero_()
        self.best.fill_(-float("inf"))
        return True

    def count(self, scenes: Int[Tensor, "present"], seconds: float, together: bool) -> None:
        """Counts a step, of the scenes that were in it; in a stage that scenes end together it is one of all."""
        self.steps[scenes] += 1
        self.seconds[scenes] += seconds / max(1, len(scenes))
        self.stage_steps[slice(None) if together else scenes] += 1

    def rates(self) -> Float[Tensor, "scenes"]:
        """Factor of each scene's learning rate in the step to come, in [0, 1]: falls in a straight line in the
        cool-down; 0 for what is not trained.
        """
        done = (self.stage_steps - self.cooling_from) / max(1, self.config.cooldown)
        rate = torch.where(self.state == COOLING, 1 - done, torch.ones_like(done)).clamp(0, 1)
        return torch.where(self.is_active(), rate, torch.zeros_like(rate))

    def due(self) -> Int[Tensor, "due"]:
        """Scenes to be measured: in training, and `every` steps after the last time."""
        since = self.stage_steps - self.measured_at
        return ((self.state == TRAINING) & (since >= max(1, self.config.every))).nonzero()[:, 0]

    def record(self, scenes: Int[Tensor, "due"], psnr: Float[Tensor, "due"], together: bool) -> None:
        """Takes measurements; scenes that have gained nothing for long begin their cool-down.

        Args:
            scenes: that were measured.
            psnr: of each, dB.
            together: judge them by their mean.
        """
        self.psnr[scenes] = psnr
        judged = psnr.mean().expand_as(psnr) if together else psnr
        self.best[scenes], self.stale[scenes] = judge(
            judged, self.best[scenes], self.stale[scenes], self.config.tolerance
        )
        self.measured_at[scenes] = self.stage_steps[scenes]
        late = (self.stale >= self.config.patience) & (self.stage_steps >= self.config.minimum_steps)
        self.cooling_from = torch.where(late & (self.state == TRAINING), self.stage_steps, self.cooling_from)
        self.state[late & (self.state == TRAINING)] = COOLING

    def stop_cooled(self, step: int) -> Int[Tensor, "stopped"]:
        """Stops the scenes whose cool-down is over, and names them."""
        over = (self.state == COOLING) & (self.stage_steps - self.cooling_from >= self.config.cooldown)
        self.state[over], self.ended_at[over] = STOPPED, step
        return over.nonzero()[:, 0]

    def fail(self, scenes: Int[Tensor, "failed"], step: int) -> None:
        """Marks scenes whose numbers are no longer finite; they are never trained again."""
        self.state[scenes], self.ended_at[scenes] = FAILED, step

    def rows(self) -> List[Dict[str, Any]]:
        """A row a scene: `scene`, `state`, `psnr` (None before the first measurement), `steps`, `seconds`, and
        `ended_at`, the step at which it stopped or failed, else None.
        """
        return [
            {
                "scene": name,
                "state": STATES[int(self.state[i])],
                "psnr": round(float(self.psnr[i]), 3) if bool(self.psnr[i].isfinite()) else None,
                "steps": int(self.steps[i]),
                "seconds": round(float(self.seconds[i]), 2),
                "ended_at": int(self.ended_at[i]) if int(self.ended_at[i]) >= 0 else None,
            }
            for i, name in enumerate(self.names)
        ]

    def table(self) -> Table:
        """The rows for people: failed scenes first, then the least good; no more than `TABLE_ROWS`."""
        rows = sorted(self.rows(), key=lambda row: (row["state"] != STATES[FAILED], row["psnr"] or 0.0))
        counts = [f"{int((self.state == i).sum())} {name}" for i, name in enumerate(STATES)]
        table = Table(title="Scenes: " + ", ".join(counts))
        for name in ("scene", "state", "psnr", "steps", "seconds", "ended_at"):
            table.add_column(name, justify="left" if name in ("scene", "state") else "right")
        for row in rows[:TABLE_ROWS]:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        return table
