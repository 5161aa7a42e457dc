"""What many scenes cost, in seconds and bytes, as 3Da-AE (arXiv 2403.11678, section 4) and Fused-Planes (arXiv
2410.23742) count: t_tot = t_EC + N t_scene, t_eff = t_EC / N + t_scene, and the same of memory."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Cost:
    """Seconds or bytes."""

    entry: float
    """Once, for what the scenes share (t_EC, m_EC)."""
    scene: float
    """For each scene (t_scene, m_scene)."""

    def total(self, scenes: float) -> float:
        return self.entry + scenes * self.scene

    def effective(self, scenes: float) -> float:
        """For each of so many scenes, with its part of the entry cost (t_eff, m_eff)."""
        return self.entry / scenes + self.scene


@dataclass(frozen=True)
class Costs:
    """What the scenes of a run cost."""

    seconds: Cost
    """Of training, by the clock."""
    bytes: Cost
    """In float32."""


def break_even(one: Cost, other: Cost) -> Optional[float]:
    """Number of scenes from which on `one` costs less in all than `other`; 0 for always, None for never."""
    saved, ahead = other.scene - one.scene, one.entry - other.entry
    if saved <= 0:
        return 0.0 if ahead < 0 and saved == 0 else None
    return max(0.0, ahead / saved)
