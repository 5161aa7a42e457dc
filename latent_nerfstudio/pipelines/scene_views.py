"""The views of scenes as the scene encoder takes them, in the units of the bundle's box."""

from typing import Any, List, Optional, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.data.pixels import with_targets
from latent_nerfstudio.fields.placement import placed_rays, placement_table
from latent_nerfstudio.latent_space.cameras import intrinsics_of
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.scene_encoder.projection import Photos


class SceneViews:
    """The views of a prepared datamanager: latents, latent cameras, and which pixels masks keep."""

    def __init__(self, model: LatentModel, manager: LatentDataManager):
        assert manager.table is not None
        self.manager, self.space, self.table = manager, model.latent_space, manager.table
        cameras = manager.latent_cameras
        placements = placement_table(model.placements)[manager.picture_scenes, :4]
        self.placements = placements.to(cameras.camera_to_worlds.device)
        self.box: Any = model.nerf.aabb
        self.boxes = model.ray_boxes()
        poses, (scale, shift) = cameras.camera_to_worlds.float(), self.placements.float().split([1, 3], dim=1)
        self.poses = torch.cat([poses[..., :3], (scale * poses[..., 3] + shift)[..., None]], dim=-1)
        self.intrinsics = intrinsics_of(cameras)
        self.sizes = torch.stack([self.table.heights, self.table.widths], dim=1)
        scenes = manager.picture_scenes
        self.members = [(scenes == scene).nonzero()[:, 0] for scene in range(int(scenes.max()) + 1)]
        self.valid: Optional[Tensor] = None
        if self.table.valid is not None:
            self.valid = torch.zeros(len(self.table.values), dtype=torch.bool)
            self.valid[self.table.valid] = True

    def alike(self, scene: int, size: Int[Tensor, "2"]) -> Int[Tensor, "views"]:
        own = self.members[scene]
        return own[(self.sizes[own] == size).all(dim=1)]

    def paired(self, scene: int) -> Int[Tensor, "views"]:
        """The views of a scene that are of the same size as another one of it."""
        own = self.members[scene]
        _, kind, counts = self.sizes[own].unique(dim=0, return_inverse=True, return_counts=True)
        return own[counts[kind] > 1]

    def shown(self, views: Int[Tensor, "views"]) -> Int[Tensor, "shown"]:
        """The views of which masks keep some pixels."""
        if self.valid is None:
            return views
        bounds = zip(self.table.starts[views].tolist(), self.table.starts[views + 1].tolist(), strict=True)
        return views[torch.tensor([bool(self.valid[start:end].any()) for start, end in bounds])]

    def photos(self, views: Int[Tensor, "scenes photos"]) -> Photos:
        device = self.poses.device
        raw = torch.stack([self.table.picture(i) for i in views.flatten().tolist()]).to(device)
        latents = self.space.normalizer(raw).permute(0, 3, 1, 2).unflatten(0, views.shape)
        masks = None
        if self.valid is not None:
            pixels = self.table.starts[views][..., None] + torch.arange(latents[0, 0, 0].numel())
            masks = self.valid[pixels].view(*views.shape, *latents.shape[-2:]).to(device)
        return Photos(latents, self.poses[views], self.intrinsics[views], masks)

    def groups(self, views: Int[Tensor, "views"]) -> List[Photos]:
        sizes, kind = self.sizes[views].unique(dim=0, return_inverse=True)
        return [self.photos(views[kind == i][None]) for i in range(len(sizes))]

    def target(
        self, pixels: Sequence[Int[Tensor, "pixels"]]
    ) -> Tuple[RayBundle, Int[Tensor, "rays"], Float[Tensor, "rays channels"]]:
        """Rays in the box's units, their scene's place and normalised latents, of those pixels that masks keep."""
        kept = [one if self.valid is None else one[self.valid[one]] for one in pixels]
        rays, batch = with_targets(*self.manager.batch_of(torch.cat(kept)), self.space)
        slots = torch.cat([torch.full_like(one, slot) for slot, one in enumerate(kept)])
        placed = placed_rays(rays, self.placements[rays.camera_indices[:, 0]])  # type: ignore[index]
        return placed, slots.to(rays.origins.device), batch["latent"]
