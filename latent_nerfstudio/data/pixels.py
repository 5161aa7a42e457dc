"""Pixels of pictures of many sizes and scenes in one table, random draws from it, and rays through their centres."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

import torch
from jaxtyping import Bool, Int, Shaped
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from latent_nerfstudio.data.box_checks import WRITE_BOX
from latent_nerfstudio.data.storage import concatenated
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.latent_space.cameras import is_pinhole
from latent_nerfstudio.latent_space.latent_space import LatentSpace


@dataclass
class PixelTable:
    """Pictures laid one after another, scene by scene. `values` [pixels, C] are float16 latents or uint8 colours;
    `starts` and `scene_starts` are the first pixel of each picture and scene, and the end. `valid` are the pixels that
    masks keep, and `drawn` those of them that are drawn (see `restricted`): sorted, None for all."""

    values: Shaped[Tensor, "pixels channels"]
    heights: Int[Tensor, "pictures"]
    widths: Int[Tensor, "pictures"]
    starts: Int[Tensor, "pictures_and_end"]
    scene_starts: Int[Tensor, "scenes_and_end"]
    valid: Optional[Int[Tensor, "valid_pixels"]] = None
    drawn: Optional[Int[Tensor, "drawn_pixels"]] = None

    def picture(self, index: int) -> Shaped[Tensor, "height width channels"]:
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        return self.values[start:end].view(int(self.heights[index]), int(self.widths[index]), -1)

    def locate(self, pixels: Int[Tensor, "n"]) -> Int[Tensor, "n 3"]:
        """Picture, row and column of pixels of the table."""
        picture = torch.searchsorted(self.starts, pixels, right=True) - 1
        local = pixels - self.starts[picture]
        width = self.widths[picture]
        return torch.stack([picture, local // width, local % width], dim=-1)


def pixel_table(
    pictures: Iterable[Shaped[Tensor, "_ _ channels"]],
    scene_of_picture: Sequence[int],
    masks: Optional[Sequence[Shaped[Tensor, "_ _"]]] = None,
    folder: Optional[Path] = None,
) -> PixelTable:
    """Lays out pictures [h, w, C], which come scene by scene, as dataparsers list them. Masks [h, w] are true where a
    pixel may be drawn. The values are kept in memory, or in a temporary file in `folder`."""
    values, shapes = concatenated(pictures, folder)
    sizes = torch.tensor(shapes)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), sizes.prod(dim=1).cumsum(0)])
    scenes = torch.tensor(scene_of_picture)
    first = torch.searchsorted(scenes, torch.unique(scenes))
    valid = None if masks is None else torch.cat([m.reshape(-1) for m in masks]).nonzero()[:, 0]
    ends = torch.cat([first, torch.tensor([len(sizes)])])
    table = PixelTable(values, sizes[:, 0], sizes[:, 1], starts, starts[ends], valid)
    empty = [] if valid is None else (torch.searchsorted(valid, table.scene_starts).diff() == 0).nonzero()[:, 0]
    if len(empty):
        views = ends[empty[0]], ends[empty[0] + 1] - 1
        got, do = f"none in views {views[0]} to {views[1]}", "correct their masks, white is what is kept"
        raise ValueError(problem("masks", "a latent pixel of each scene to be kept", got, do))
    return table


def restricted(
    table: PixelTable, flags: Bool[Tensor, "pixels"], names: Sequence[str], folder: Optional[Path] = None
) -> PixelTable:
    """The table, drawn only where masks and `flags` (whether a pixel's ray meets its scene's box) allow it. Refuses a
    scene, by its name, of which nothing would be left. For `folder` see `pixel_table`."""
    both = flags
    if table.valid is not None:
        both = torch.zeros_like(flags).index_put((table.valid,), flags[table.valid])
    if bool(both.all()):
        return table
    chosen = both.nonzero()
    empty = (torch.searchsorted(chosen[:, 0].contiguous(), table.scene_starts).diff() == 0).nonzero()[:, 0].tolist()
    if empty:
        where = f"box of scene {few_of([names[scene] for scene in empty], 1, repr)}"
        do = f"{WRITE_BOX}, or leave the scene out"
        raise ValueError(problem(where, "one that its photos show", "none of their latent pixels within", do))
    drawn, _ = concatenated([chosen[:, None]], folder)
    return replace(table, drawn=drawn[:, 0])


def draw_pixels(
    table: PixelTable,
    count: int,
    scenes_per_batch: int,
    generator: torch.Generator,
    active: Optional[Int[Tensor, "active"]] = None,
) -> Int[Tensor, "count_rounded"]:
    """Random pixels with replacement, equally many of each drawn scene, sorted by scene. Of a whole table they are
    about `count`; of a restricted one, the share of `count` that its restriction keeps, so that a step costs the same.
    Scenes are drawn from the `active` ones (rising; all by default); if these are few, each gets no more pixels than
    before."""
    total = len(table.scene_starts) - 1
    scenes = draw_scenes(total, scenes_per_batch, generator, active)
    share = 1.0 if table.drawn is None else len(table.drawn) / len(table.values if table.valid is None else table.valid)
    each = max(1, int(count * share) // scenes_per_batch)
    bounds = torch.stack([table.scene_starts[scenes], table.scene_starts[scenes + 1]])
    drawn = table.valid if table.drawn is None else table.drawn
    start, end = bounds if drawn is None else torch.searchsorted(drawn, bounds)
    uniform = torch.rand(len(scenes), each, generator=generator, dtype=torch.float64)
    chosen = (start[:, None] + (uniform * (end - start)[:, None]).long()).flatten()
    return chosen if drawn is None else drawn[chosen]


def draw_scenes(
    count: int, wanted: int, generator: torch.Generator, active: Optional[Int[Tensor, "active"]] = None
) -> Int[Tensor, "scenes"]:
    """`wanted` distinct scenes in rising order, uniformly from all or the active ones, at a cost that does not grow
    with their number (Floyd's algorithm; Bentley, Programming Pearls, Communications of the ACM 30(9), 1987)."""
    if active is not None:
        return active[draw_scenes(len(active), wanted, generator)]
    if wanted >= count:
        return torch.arange(count)
    last = torch.arange(count - wanted, count)
    drawn = (torch.rand(wanted, generator=generator, dtype=torch.float64) * (last + 1)).long()
    chosen: Set[int] = set()
    for number, otherwise in zip(drawn.tolist(), last.tolist(), strict=True):
        chosen.add(otherwise if number in chosen else number)
    return torch.tensor(sorted(chosen))


def draw_pictures(sizes: Int[Tensor, "pictures 2"], count: int, generator: torch.Generator) -> List[int]:
    """Random distinct pictures of one size, at most `count`; each size is as likely as its share of the pictures."""
    first = int(torch.randint(len(sizes), (), generator=generator))
    alike = (sizes == sizes[first]).all(dim=1).nonzero()[:, 0]
    return alike[torch.randperm(len(alike), generator=generator)[:count]].tolist()


def pixel_rays(cameras: Cameras, places: Int[Tensor, "rays 3"], is_plain: Optional[bool] = None) -> RayBundle:
    """Rays through pixel centres, given as camera, row and column, with unit directions, as `Cameras.generate_rays`
    makes them. Pinhole cameras take a path several times as fast, always in float32 (`blender-data` has intrinsics of
    double precision). `is_plain` says whether the cameras are pinhole ones; None looks."""
    if not (is_pinhole(cameras) if is_plain is None else is_plain):
        return cameras.generate_rays(camera_indices=places[:, :1], coords=places[:, 1:] + 0.5)
    index, row, column = places.unbind(dim=1)
    fx, fy, cx, cy = (getattr(cameras, name)[index, 0].float() for name in ("fx", "fy", "cx", "cy"))
    local = torch.stack([(column + 0.5 - cx) / fx, -(row + 0.5 - cy) / fy, -torch.ones_like(fx)], dim=-1)
    norm = local.norm(dim=-1, keepdim=True)
    pose = cameras.camera_to_worlds[index]
    noted = (cameras.metadata or {}).items()  # the viewer notes a number, which is of all rays
    metadata = {name: value[index] if isinstance(value, Tensor) else value for name, value in noted}
    return RayBundle(
        origins=pose[:, :, 3],
        directions=(pose[:, :, :3] * (local / norm)[:, None]).sum(dim=-1),
        pixel_area=1 / (fx * fy)[:, None] / norm**3,  # the solid angle of the pixel
        camera_indices=places[:, :1],
        times=None if cameras.times is None else cameras.times[index],
        metadata={**metadata, "directions_norm": norm},
    )


def with_targets(rays: RayBundle, batch: Dict[str, Tensor], space: LatentSpace) -> Tuple[RayBundle, Dict[str, Tensor]]:
    """Rays and batch of the datamanager, with each ray's background and its normalised latent as `latent`."""
    batch["latent"] = space.normalizer(batch["raw_latent"])
    rays.metadata["background"] = space.background_at(batch["position"][:, :2], batch["position"][:, 2:])
    return rays, batch
