"""The share of a process in a step that several processes make together."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Which of the rays or pictures of a step are this process's.

    All processes draw the same step, with the same randomness, and each keeps its own part: so that a run of several
    processes sees what a run of one would have seen.
    """

    rank: int = 0
    """Number of the process, from 0."""
    world: int = 1
    """Number of processes."""
    by_scene: bool = True
    """Whether each scene belongs to one process; else the items of a step are dealt out in turn."""

    def own(self, scenes: Int[Tensor, "items"]) -> Bool[Tensor, "items"]:
        """Which of a step's items are this process's.

        Args:
            scenes: scene of each item.
        """
        places = scenes if self.by_scene else torch.arange(len(scenes), device=scenes.device)
        return places % self.world == self.rank

    def weight(self, own: int, total: int) -> float:
        """Factor of this process's mean loss, with which the mean over processes is the mean over all items."""
        return own * self.world / total
