"""Learning rates over the two stages, as Python floats: Nerfstudio's own schedules leave numpy numbers in the
optimizers, and a checkpoint with these does not load any more with torch 2.6 and later."""

import math
from dataclasses import dataclass, field
from typing import Optional, Type

from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from tyro.conf import Suppress


@dataclass
class StagedSchedulerConfig(SchedulerConfig):
    """Within each stage: a short linear rise, then a half cosine down to a floor that is reached at the stage's end."""

    _target: Type = field(default_factory=lambda: StagedScheduler)
    warmup_steps: Suppress[int] = 20
    """Steps of the rise at the beginning of each stage."""
    floor: float = 0.05
    """Factor of the learning rate at the end of a stage."""
    alignment_factor: float = 1.0
    """Factor of the learning rate at the beginning of RGB alignment."""
    alignment_start: Suppress[Optional[int]] = None
    """First step of RGB alignment; by default the pipeline's."""
    max_steps: Suppress[Optional[int]] = None
    """Step at which the last stage ends; by default the run's number of iterations."""


class StagedScheduler(Scheduler):
    """Builds the schedule of a `StagedSchedulerConfig`."""

    config: StagedSchedulerConfig

    def get_scheduler(self, optimizer: Optimizer, lr_init: float) -> LambdaLR:
        config, end = self.config, self.config.max_steps or 1
        start = end if config.alignment_start is None else config.alignment_start
        shape = config.warmup_steps, config.floor, config.alignment_factor
        return LambdaLR(optimizer, lr_lambda=lambda step: stage_factor(step, start, end, *shape))


def stage_factor(step: int, start: int, end: int, warmup: int, floor: float, alignment_factor: float) -> float:
    """Factor of the learning rate at an absolute step: each stage rises for `warmup` steps and falls to `floor` of what
    it began with, which is 1, and `alignment_factor` from `start` on if that is before `end`."""
    aligned = start <= step and start < end
    first, last = (start, end) if aligned else (0, min(start, end))
    progress = min(1.0, (step - first) / max(1, last - first))
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    rise = min(1.0, (step - first + 1) / max(1, min(warmup, last - first)))
    return float(rise * cosine * (alignment_factor if aligned else 1.0))
