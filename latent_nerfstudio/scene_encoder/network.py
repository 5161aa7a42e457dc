"""The scene encoder: a few posed photos of a scene to its planes, without any fitting.

A grid of points in the bundle's box is projected into every photo. What the photos show there, from where and how far
away, is summed up over the photos, by a mean, a variance and learned weights; so their order means nothing, and their
number costs time alone. Where a point lies in the scene's own box is added, as it tells how deep what is seen can lie.
The grid is then flattened along the normal of each plane, and a small network of convolutions makes micro planes and
scene weights of it. See docs/concepts.md.
"""

from dataclasses import dataclass, field
from functools import reduce
from typing import List, NamedTuple, Optional, Sequence, Tuple, Type

import torch
import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.configs.base_config import InstantiateConfig
from torch import Tensor, nn

from latent_nerfstudio.fields.planes import PLANE_AXES
from latent_nerfstudio.scene_encoder.projection import (
    Photos,
    grid_points,
    pixel_directions,
    project,
    sample_pictures,
    visible,
)

AT_ONCE = 8
"""Photos of a scene that are looked at together: memory does not grow with their number."""

HEADS = 4
"""Weights of a point for each photo; a quarter of its channels follows each."""

SHARPEST = 5.0
"""Bound of the logarithm of a weight, so that sums over photos need no maximum."""


@dataclass
class SceneEncoderConfig(InstantiateConfig):
    """Sizes of the network."""

    _target: Type = field(default_factory=lambda: SceneEncoder)
    grid: int = 16
    """Points along each side of the grid, a multiple of two."""
    photo_width: int = 32
    """Channels of what is seen in a photo, a multiple of four."""
    point_width: int = 16
    """Channels of a point when all photos are summed up."""
    fine_width: int = 32
    """Channels of the planes' convolutions at the resolution of the planes, a multiple of eight."""
    width: int = 48
    """At the grid's resolution."""
    inner_width: int = 96
    """Channels at half the grid's resolution."""
    inner_blocks: int = 3
    """Residual blocks there."""
    knows_box: bool = True
    """Whether it is told the scene's own box."""


class Prediction(NamedTuple):
    """Scenes as they are predicted."""

    micro_planes: Float[Tensor, "scenes 3 features rows cols"]
    scene_weights: Float[Tensor, "scenes bases"]


class Sums(NamedTuple):
    """Sums over the photos that see a point; photos add up, whatever their order and size."""

    count: Float[Tensor, "scenes points 1"]
    values: Float[Tensor, "scenes points channels"]
    squares: Float[Tensor, "scenes points channels"]
    weights: Float[Tensor, "scenes points heads"]
    weighted: Float[Tensor, "scenes points channels"]

    def plus(self, other: "Sums") -> "Sums":
        """Those of these photos and others."""
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class SceneEncoder(nn.Module):
    """Micro planes and scene weights of scenes from photos.

    Args:
        config: sizes.
        channels: of the latents.
        box: lower and upper corner of the scene box.
        features: F_mic of the planes.
        resolution: T of the planes.
        mean_weights: mean scene weights of the bundle, from which predictions depart; empty without base planes.
    """

    box: Tensor
    points: Tensor
    positions: Tensor
    mean_weights: Tensor

    def __init__(
        self,
        config: SceneEncoderConfig,
        channels: int,
        box: Float[Tensor, "2 3"],
        features: int,
        resolution: int,
        mean_weights: Float[Tensor, "bases"],
    ):
        super().__init__()
        self.config, self.resolution = config, resolution
        positions = grid_points(config.grid)
        self.size = float((box[1] - box[0]).norm())
        self.register_buffer("box", box.detach().float().clone(), persistent=False)
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("points", box[0] + (positions + 1) / 2 * (box[1] - box[0]), persistent=False)
        self.register_buffer("mean_weights", mean_weights.detach().float().clone(), persistent=False)
        wide, narrow, width = config.photo_width, config.point_width, config.width
        self.look = nn.Sequential(
            nn.Conv2d(channels + 4, wide, 3, padding=1),
            PhotoBlock(wide),
            PhotoBlock(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide + HEADS, 1),
        )
        self.place = nn.Linear(4, HEADS, bias=False)
        known = 2 * wide + 5 + (4 if config.knows_box else 0)
        self.point = nn.Sequential(nn.Linear(known, wide), nn.ReLU(), nn.Linear(wide, narrow))
        self.flatten = nn.ModuleList(nn.Linear(narrow * config.grid, width) for _ in PLANE_AXES)
        self.trunk = PlaneNetwork(config)
        self.out = nn.ModuleList(nn.Conv2d(config.fine_width, features, 3, padding=1) for _ in PLANE_AXES)
        self.to_weights = nn.Linear(3 * config.inner_width, len(mean_weights))
        for layer in (*self.out, self.to_weights):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)  # untrained, every scene is the mean scene

    def forward(self, groups: Sequence[Photos], boxes: Optional[Float[Tensor, "scenes 2 3"]] = None) -> Prediction:
        """Planes of scenes, those of the mean scene where there are no photos.

        Args:
            groups: photos, those of one size together.
            boxes: corners of what each scene fills of the bundle's box; all of it by default.
        """
        sums = reduce(Sums.plus, (self.sums_of(part) for photos in groups for part in parts_of(photos)))
        volume = self.point(self.summary(sums, boxes)).unflatten(1, (self.config.grid,) * 3)
        return self.planes_of(volume)

    def sees(self, groups: Sequence[Photos]) -> bool:
        """Whether any photo shows a point of the grid where it may be used."""
        return any(bool(self.seen_in(photos)[1].any()) for photos in groups)

    def seen_in(self, photos: Photos) -> Tuple[Tensor, Float[Tensor, "scenes photos points 1"]]:
        """Where points of the grid are in photos, and 1 for those that are shown where a photo may be used, else 0."""
        points = self.points.expand(len(photos.latents), -1, -1)
        places, depth = project(points, photos.poses, photos.intrinsics)
        seen = visible(places, depth, *photos.latents.shape[-2:])[..., None].float()
        if photos.masks is not None:
            seen = seen * (sample_pictures(photos.masks[:, :, None].to(photos.latents), places) > 0.99)
        return places, seen

    def sums_of(self, photos: Photos) -> Sums:
        """What some photos show at every point of the grid."""
        places, seen = self.seen_in(photos)
        values, scores = sample_pictures(self.pictures_of(photos), places).split(
            [self.config.photo_width, HEADS], dim=-1
        )
        away = photos.poses[:, :, None, :, 3] - self.points
        distance = away.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        whence = torch.cat([away / distance, (distance / self.size).log()], dim=-1)
        weights = seen * (SHARPEST * torch.tanh((scores + self.place(whence)) / SHARPEST)).exp()
        weighted = values.unflatten(-1, (HEADS, -1)) * weights[..., None]
        some = values[..., ::2] * seen
        return Sums(*(x.sum(dim=1) for x in (seen, some, some * values[..., ::2], weights, weighted.flatten(-2))))

    def pictures_of(self, photos: Photos) -> Float[Tensor, "scenes photos channels rows cols"]:
        """Features of pictures: of their latents, of which of these may be used, and of where pixels look."""
        latents = photos.latents
        scenes, count, _, rows, cols = latents.shape
        usable = latents.new_ones(scenes, count, 1, rows, cols)
        if photos.masks is not None:
            usable = photos.masks[:, :, None].to(latents)
        directions = pixel_directions(photos.poses, photos.intrinsics, rows, cols)
        seen = torch.cat([latents * usable, usable, directions], dim=2).flatten(0, 1)
        return self.look(seen).unflatten(0, (scenes, count)).float()

    def summary(
        self, sums: Sums, boxes: Optional[Float[Tensor, "scenes 2 3"]]
    ) -> Float[Tensor, "scenes points channels"]:
        """What all photos together say of each point, where it lies, and where in the scene's own box."""
        count = sums.count.clamp(min=1)
        mean = sums.values / count
        spread = (sums.squares / count - mean.square()).clamp(min=0).add(1e-4).sqrt()
        chosen = sums.weighted.unflatten(-1, (HEADS, -1)) / sums.weights.clamp(min=1e-6)[..., None]
        number = torch.cat([sums.count.log1p(), (sums.count > 0).float()], dim=-1)
        positions = self.positions.expand(len(mean), -1, -1)
        known = [mean, spread, chosen.flatten(-2), number, positions]
        if self.config.knows_box:
            known += within_box(self.points, self.box[None] if boxes is None else boxes, len(mean))
        return torch.cat(known, dim=-1)

    def planes_of(self, volume: Float[Tensor, "scenes x y z channels"]) -> Prediction:
        """Planes of what is known of the grid."""
        seen = zip(self.flatten, PLANE_AXES, strict=True)
        flat = torch.stack([layer(flattened(volume, axes)).permute(0, 3, 1, 2) for layer, axes in seen], dim=1)
        fine, inner = self.trunk(flat, self.resolution)
        micro = torch.stack([layer(fine[:, i]) for i, layer in enumerate(self.out)], dim=1)
        weights = self.mean_weights + self.to_weights(inner.mean(dim=(-1, -2)).flatten(1))
        return Prediction(micro.float(), weights.float())


def within_box(
    points: Float[Tensor, "points 3"], boxes: Float[Tensor, "boxes 2 3"], scenes: int
) -> List[Float[Tensor, "scenes points _"]]:
    """Where points lie in each scene's box, whose sides are at -1 and 1 and beyond which 2 is the end, and 1 within."""
    low, high = boxes[:, None].unbind(dim=2)
    places = ((2 * points - low - high) / (high - low).clamp(min=1e-6)).clamp(-2, 2).expand(scenes, -1, -1)
    return [places, (places.abs().amax(dim=-1, keepdim=True) <= 1).to(places)]


class PhotoBlock(nn.Module):
    """A residual block of a photo."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "photos width rows cols"]) -> Float[Tensor, "photos width rows cols"]:
        return x + self.last(F.relu(self.first(F.relu(x))))


class PlaneBlock(nn.Module):
    """A residual block of three planes, which see each other along the axes that they share (Rodin, CVPR 2023)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.across, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, 0.0)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "scenes 3 width rows cols"]) -> Float[Tensor, "scenes 3 width rows cols"]:
        normed = self.norm(x.flatten(0, 1))
        across, down = profiles(normed.unflatten(0, x.shape[:2]))
        exchanged = self.across(across.mT).mT[..., None, :] + self.down(down.mT).mT[..., None]
        inner = F.relu(self.first(normed) + exchanged.flatten(0, 1))
        return x + self.last(inner).unflatten(0, x.shape[:2])


class PlaneNetwork(nn.Module):
    """Convolutions of three planes at the grid's resolution, at half of it, and at that of the planes."""

    def __init__(self, config: SceneEncoderConfig):
        super().__init__()
        width, inner, fine = config.width, config.inner_width, config.fine_width
        self.before, self.after, self.fine = PlaneBlock(width), PlaneBlock(width), PlaneBlock(fine)
        self.shrink = nn.Conv2d(width, inner, 2, stride=2)
        self.inner = nn.ModuleList(PlaneBlock(inner) for _ in range(config.inner_blocks))
        self.grow = nn.ConvTranspose2d(inner, width, 2, stride=2)
        self.enlarge = nn.ConvTranspose2d(width, fine, 2, stride=2)

    def forward(self, x: Float[Tensor, "scenes 3 width grid grid"], resolution: int) -> Tuple[Tensor, Tensor]:
        """Planes of the wanted resolution, and the inner ones."""
        shape = x.shape[:2]
        x = self.before(x)
        inner = self.shrink(x.flatten(0, 1)).unflatten(0, shape)
        for block in self.inner:
            inner = block(inner)
        x = self.after(x + self.grow(inner.flatten(0, 1)).unflatten(0, shape))
        fine = resized(self.enlarge(x.flatten(0, 1)), resolution)
        return self.fine(fine.unflatten(0, shape)), inner


def resized(x: Float[Tensor, "planes width rows cols"], side: int) -> Float[Tensor, "planes width side side"]:
    """Planes of another resolution, border texels' centres staying where they are."""
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", align_corners=True)


def parts_of(photos: Photos) -> List[Photos]:
    """At most `AT_ONCE` photos of each scene at a time."""
    split = [None if value is None else value.split(AT_ONCE, dim=1) for value in photos]
    return [Photos(*(None if s is None else s[i] for s in split)) for i in range(len(split[0] or ()))]  # type: ignore


def flattened(
    volume: Float[Tensor, "scenes x y z channels"], axes: Tuple[int, int]
) -> Float[Tensor, "scenes rows cols channels_along"]:
    """A volume seen along a plane's normal: the channels of all points behind a texel; rows are the second axis."""
    (normal,) = {0, 1, 2} - set(axes)
    return volume.permute(0, 1 + axes[1], 1 + axes[0], 1 + normal, 4).flatten(-2)


def profiles(
    planes: Float[Tensor, "scenes 3 width side side"],
) -> Tuple[Float[Tensor, "scenes 3 width side"], Float[Tensor, "scenes 3 width side"]]:
    """For each plane, along its columns and along its rows: the means of the other plane that has this axis."""
    along = {}
    for plane, axes in enumerate(PLANE_AXES):
        along[plane, axes[0]], along[plane, axes[1]] = planes[:, plane].mean(dim=-2), planes[:, plane].mean(dim=-1)

    def others(side: int) -> Tensor:
        wanted = [(plane, axes[side]) for plane, axes in enumerate(PLANE_AXES)]
        found = [along[other] for own in wanted for other in along if other[1] == own[1] and other != own]
        return torch.stack(found, dim=1)

    return others(0), others(1)
