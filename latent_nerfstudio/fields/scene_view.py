"""What is shown of the scenes: one of them, a blend of two, or one kind of their planes alone."""

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

import torch
from jaxtyping import Float
from torch import Tensor

from latent_nerfstudio.errors import is_number, problem
from latent_nerfstudio.fields.planes import compose_planes

Parts = Literal["all", "macro", "micro", "base plane"]


@dataclass(frozen=True)
class SceneView:
    """What is shown, one scene by default. Refuses a share outside [0, 1], or one without another scene."""

    scene: int = 0
    other: Optional[int] = None
    """Index of a second scene, to blend with."""
    share: float = 0.0
    """Share of the second scene, 0 to 1: micro planes and scene weights are interpolated."""
    parts: Parts = "all"
    """`macro` or `micro` planes alone, or one `base plane` alone; what is left out is zero."""
    base_plane: int = 0

    def __post_init__(self) -> None:
        if not (is_number(self.share) and 0 <= self.share <= 1) or (self.share > 0 and self.other is None):
            got = f"{self.share!r:.40} of scene {self.other}"
            raise ValueError(problem("view", "a share from 0 to 1 of another scene", got, "give both, or neither"))

    @property
    def scenes(self) -> Tuple[int, ...]:
        return (self.scene,) if self.other is None or self.share == 0 else (self.scene, self.other)

    @property
    def is_whole(self) -> bool:
        return len(self.scenes) == 1 and self.parts == "all"


def view_planes(
    view: SceneView,
    micro: Optional[Float[Tensor, "scenes planes micro_features rows cols"]],
    base: Optional[Float[Tensor, "bases planes macro_features rows cols"]],
    weights: Optional[Float[Tensor, "scenes bases"]],
) -> Float[Tensor, "1 planes features rows cols"]:
    """The composed planes of a view, from micro planes and weights of `view.scenes` (one row each) and the base planes,
    any of which may be None. Blending weights blends macro planes, which are linear in them."""
    if micro is not None:
        shown = view.parts in ("all", "micro")
        micro = blend(micro, view.share) if shown else torch.zeros_like(micro[:1])
    if base is not None and weights is not None:
        weights = blend(weights, view.share)
        if view.parts in ("micro", "base plane"):
            alone = base[view.base_plane][None]
            base = alone if view.parts == "base plane" else torch.zeros_like(alone)
            weights = weights.new_ones(1, 1)
    return compose_planes(micro, base, weights)


def blend(rows: Float[Tensor, "scenes *row"], share: float) -> Float[Tensor, "1 *row"]:
    """(1 - share) of the first row and share of the second; of a single row, that row."""
    return rows if len(rows) == 1 else torch.lerp(rows[:1], rows[1:], share)
