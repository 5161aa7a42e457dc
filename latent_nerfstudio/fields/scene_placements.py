"""The placements of a model's scenes in the box that they share."""

from collections.abc import Sequence
from typing import Optional, Tuple

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from latent_nerfstudio.fields.boxes import cropped_box
from latent_nerfstudio.fields.placement import (
    Placement,
    bounded_rays,
    boxes_of,
    placed_rays,
    placement_table,
    row_of_view,
    widened,
)
from latent_nerfstudio.fields.scene_view import SceneView


class ScenePlacements(Sequence):
    """Placements of scenes by their index. Rays go `margin` beyond a scene's own box, a share of its longest side."""

    def __init__(self, placements: Sequence[Placement], margin: float = 0.0):
        self.placements = tuple(placements)
        self.are_moved = any(placement != Placement() for placement in placements)
        self.rows = widened(placement_table(placements), margin)

    def __getitem__(self, scene: int) -> Placement:  # type: ignore[override]
        return self.placements[scene]

    def __len__(self) -> int:
        return len(self.placements)

    def boxes(self, shared: Float[Tensor, "2 3"]) -> Float[Tensor, "scenes 2 3"]:
        """The box at which each scene's rays end, within the shared one and in its units."""
        shared = shared.detach().float()
        if not self.are_moved:
            return shared.expand(len(self), 2, 3)
        low, high = boxes_of(self.rows).to(shared).unbind(dim=1)
        return torch.stack([low.maximum(shared[0]), high.minimum(shared[1])], dim=1)

    def box_of(self, scene: int, shared: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
        """A scene's own box, or the shared one if it has none, in the scene's own units."""
        placement = self[scene]
        box = placement.inverse.points(shared.detach().float().cpu())
        return box if placement.box is None else cropped_box(box, torch.tensor(placement.box))

    def rays(
        self, rays: RayBundle, views: Sequence[SceneView] = (), shared: Optional[Float[Tensor, "2 3"]] = None
    ) -> Tuple[RayBundle, Float[Tensor, "*rays 10"]]:
        """Rays of `metadata["scene_index"]` in the units of the shared box, cut at their scene's own, and the placement
        row of each. With `views`, the index counts these, and they need the `shared` box."""
        index = rays.metadata["scene_index"]
        rows = self.rows = self.rows.to(index.device)
        if views:
            assert shared is not None
            rows = torch.cat([row_of_view(view, rows, shared.to(rows)) for view in views])
        rows = rows[index[..., 0].long()]
        return bounded_rays(placed_rays(rays, rows), boxes_of(rows)), rows

    def crop(self, box: Optional[SceneBox], scene: int) -> Optional[SceneBox]:
        """The viewer's crop box of a scene, turned from the scene's own units into those of the shared box."""
        if box is None or not self.are_moved:
            return box
        return SceneBox(aabb=self[scene].points(box.aabb))
