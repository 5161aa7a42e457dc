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
from latent_nerfstudio.scene_encoder.correction import Correction, Missing
from latent_nerfstudio.scene_encoder.plane_blocks import Hourglass, PlaneBlock, resized
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
    inner_blocks: int = 2
    """Residual blocks there."""
    knows_box: bool = True
    """Whether it is told the scene's own box."""
    looks: int = 3
    """Times that a prediction is compared with its photos and corrected."""
    look_width: int = 32
    """Channels of corrections at the resolution of the planes, a multiple of eight."""
    look_inner_width: int = 48
    """Channels of corrections at half of it, likewise."""
    look_blocks: int = 2
    """Residual blocks there."""


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
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class SceneEncoder(nn.Module):
    """Micro planes, of F_mic `features` of F_mic + F_mac, and scene weights of scenes from photos. Predictions depart
    from the bundle's `mean_weights`, of which there are none without base planes."""

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
        all_features: int,
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
        blocks = nn.Conv2d(channels + 4, wide, 3, padding=1), PhotoBlock(wide), PhotoBlock(wide)
        self.look = nn.Sequential(*blocks, nn.ReLU(), nn.Conv2d(wide, wide + HEADS, 1))
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
        self.correction = None
        if config.looks:
            known = config.fine_width + features
            own = (config.look_width, config.look_inner_width, config.look_blocks)
            self.correction = Correction(all_features, features, known, *own)

    def forward(
        self, groups: Sequence[Photos], boxes: Optional[Float[Tensor, "scenes 2 3"]] = None
    ) -> Tuple[Prediction, Float[Tensor, "scenes 3 known rows cols"]]:
        """Scenes at first sight (the mean scene without photos), and what later looks need of it: micro planes and the
        channels that they are made of. Photos are grouped by size; `boxes` are what each scene fills of the bundle's
        box, by default all of it."""
        sums = reduce(Sums.plus, (self.sums_of(part) for photos in groups for part in parts_of(photos)))
        return self.planes_of(self.point(self.summary(sums, boxes)).unflatten(1, (self.config.grid,) * 3))

    def corrected(self, prediction: Prediction, missing: Missing, known: Tensor) -> Prediction:
        assert self.correction is not None
        micro = prediction.micro_planes
        return prediction._replace(micro_planes=micro + self.correction(micro, missing, known))

    def sees(self, groups: Sequence[Photos]) -> bool:
        """Whether any photo shows a point of the grid where it may be used."""
        return any(bool(self.seen_in(photos)[1].any()) for photos in groups)

    def seen_in(self, photos: Photos) -> Tuple[Tensor, Float[Tensor, "scenes photos points 1"]]:
        """Where grid points lie in photos, and whether (1 or 0) they are visible where the mask keeps the photo."""
        points = self.points.expand(len(photos.latents), -1, -1)
        places, depth = project(points, photos.poses, photos.intrinsics)
        seen = visible(places, depth, *photos.latents.shape[-2:])[..., None].float()
        if photos.masks is not None:
            seen = seen * (sample_pictures(photos.masks[:, :, None].to(photos.latents), places) > 0.99)
        return places, seen

    def sums_of(self, photos: Photos) -> Sums:
        """What some photos show at every point of the grid."""
        places, seen = self.seen_in(photos)
        seen_there = sample_pictures(self.pictures_of(photos), places)
        values, scores = seen_there.split([self.config.photo_width, HEADS], dim=-1)
        away = photos.poses[:, :, None, :, 3] - self.points
        distance = away.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        whence = torch.cat([away / distance, (distance / self.size).log()], dim=-1)
        weights = seen * (SHARPEST * torch.tanh((scores + self.place(whence)) / SHARPEST)).exp()
        weighted = values.unflatten(-1, (HEADS, -1)) * weights[..., None]
        some = values[..., ::2] * seen
        return Sums(*(x.sum(dim=1) for x in (seen, some, some * values[..., ::2], weights, weighted.flatten(-2))))

    def pictures_of(self, photos: Photos) -> Float[Tensor, "scenes photos channels rows cols"]:
        """Features of pictures, from their latents, masks and pixel directions."""
        latents, masks = photos.latents, photos.masks
        usable = torch.ones_like(latents[:, :, :1]) if masks is None else masks[:, :, None].to(latents)
        directions = pixel_directions(photos.poses, photos.intrinsics, *latents.shape[-2:])
        seen = torch.cat([latents * usable, usable, directions], dim=2).flatten(0, 1)
        return self.look(seen).unflatten(0, latents.shape[:2]).float()

    def summary(
        self, sums: Sums, boxes: Optional[Float[Tensor, "scenes 2 3"]]
    ) -> Float[Tensor, "scenes points channels"]:
        """What all photos together say of each point, where it lies, and where in the scene's own box."""
        count = sums.count.clamp(min=1)
        mean = sums.values / count
        spread = (sums.squares / count - mean.square()).clamp(min=0).add(1e-4).sqrt()
        chosen = sums.weighted.unflatten(-1, (HEADS, -1)) / sums.weights.clamp(min=1e-6)[..., None]
        number = torch.cat([sums.count.log1p(), (sums.count > 0).float()], dim=-1)
        known = [mean, spread, chosen.flatten(-2), number, self.positions.expand(len(mean), -1, -1)]
        if self.config.knows_box:
            known += within_box(self.points, self.box[None] if boxes is None else boxes, len(mean))
        return torch.cat(known, dim=-1)

    def planes_of(self, volume: Float[Tensor, "scenes x y z channels"]) -> Tuple[Prediction, Tensor]:
        """Scenes of what is known of the grid, and what further looks are told."""
        seen = zip(self.flatten, PLANE_AXES, strict=True)
        flat = torch.stack([layer(flattened(volume, axes)).permute(0, 3, 1, 2) for layer, axes in seen], dim=1)
        fine, inner = self.trunk(flat, self.resolution)
        micro = torch.stack([layer(fine[:, i]) for i, layer in enumerate(self.out)], dim=1)
        weights = self.mean_weights + self.to_weights(inner.mean(dim=(-1, -2)).flatten(1))
        return Prediction(micro.float(), weights.float()), torch.cat([micro, fine], dim=2)


def within_box(
    points: Float[Tensor, "points 3"], boxes: Float[Tensor, "boxes 2 3"], scenes: int
) -> List[Float[Tensor, "scenes points _"]]:
    """Coordinates of points in each scene's box, -1 to 1 within, clamped at 2, and 1 for points within, else 0."""
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


class PlaneNetwork(Hourglass):
    """Convolutions of three planes at the grid's resolution, at half of it, and at that of the planes."""

    def __init__(self, config: SceneEncoderConfig):
        super().__init__(config.width, config.inner_width, config.inner_blocks)
        self.enlarge = nn.ConvTranspose2d(config.width, config.fine_width, 2, stride=2)
        self.fine = PlaneBlock(config.fine_width)

    def forward(self, x: Float[Tensor, "scenes 3 width grid grid"], resolution: int) -> Tuple[Tensor, Tensor]:
        """Planes of the wanted resolution, and the inner ones."""
        x, inner = super().forward(x)
        fine = resized(self.enlarge(x.flatten(0, 1)), resolution)
        return self.fine(fine.unflatten(0, x.shape[:2])), inner


def parts_of(photos: Photos) -> List[Photos]:
    split = [None if value is None else value.split(AT_ONCE, dim=1) for value in photos]
    return [Photos(*(None if s is None else s[i] for s in split)) for i in range(len(split[0] or ()))]  # type: ignore


def flattened(
    volume: Float[Tensor, "scenes x y z channels"], axes: Tuple[int, int]
) -> Float[Tensor, "scenes rows cols channels_along"]:
    """A volume seen along a plane's normal: the channels of all points behind a texel; rows are the second axis."""
    (normal,) = {0, 1, 2} - set(axes)
    return volume.permute(0, 1 + axes[1], 1 + axes[0], 1 + normal, 4).flatten(-2)
