"""The run's clock, and lines with stage, step, loss, PSNR and the time that is left."""

import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor


class Clock:
    """Seconds of training, from those of earlier processes on; stands still until it is started."""

    def __init__(self, seconds: float = 0.0):
        self.before = seconds
        self.since: Optional[float] = None

    def start(self) -> None:
        self.since = time.monotonic()

    def stop(self) -> None:
        self.before, self.since = self.seconds(), None

    def seconds(self) -> float:
        return self.before + (0.0 if self.since is None else time.monotonic() - self.since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stands still while the block lasts, in which is no training."""
        ran = self.since is not None
        self.stop()
        try:
            yield
        finally:
            if ran:
                self.start()


class Progress:
    """Prints a line at the beginning of a stage, every few seconds, and at the end of the steps."""

    def __init__(self, clock: Clock, start: int, end: int):
        self.clock, self.start, self.end = clock, start, end
        self.earlier = clock.seconds()
        self.stage: Optional[str] = None
        self.printed = time.monotonic()

    def update(self, step: int, stage: str, loss: Tensor, metrics: Dict[str, Any]) -> None:
        now = time.monotonic()
        if stage == self.stage and now - self.printed <= 5 and step < self.end - 1:
            return
        self.stage, self.printed = stage, now
        left = (self.clock.seconds() - self.earlier) / (step + 1 - self.start) * (self.end - step - 1)
        numbers = "  ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())
        CONSOLE.log(f"{stage}  {step + 1}/{self.end}  loss {float(loss):.4g}  {numbers}  {left:.0f} s left")
