"""Makes an autoencoder consistent between views by exact correspondence, without scenes, rays or warm-up.

    python scripts/warp_autoencoder.py --scenes data/objects/scenes --meshes data/objects/meshes --photos PHOTOS \\
        --source bundled-cars --out outputs/warped --minutes 9

SCENES are folders `SET/NAME` that `lns render-meshes MESHES/SET --output SCENES/SET` wrote. The mesh of a scene gives
the depth d of every latent pixel of a view b, and so the place w_a(p) in another view a of the same surface point.
With E(x_a)(w_a), bilinear, averaged over two views a that see the point,

    L = |D(E(x_a)(w_a)) - x_b|^2 + 0.5 |D(E(x_b)) - x_b|^2 + 4 |D(E(y)) - y|^2 + 0.02 |z_b - E(x_a)(w_a)|^2 / var z_b,

the first on the pixels that both see, y a photo. Matching latents alone would let them collapse, so that most is asked
of what is decoded (cf. LRF, 2025; EQ-VAE, arXiv 2502.09509). `benchmarks/choices.md` has what it brought.
"""

import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, NamedTuple, Tuple

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.meshes.jobs import usual_up_axis
from latent_nerfstudio.meshes.raycast import Raycaster
from latent_nerfstudio.meshes.surface import load_surface

FACTOR = 4
"""Downscale factor f of the autoencoder."""
CROP, SOURCE_CROP = 64, 96
"""Sides of the crops of the view that is predicted, and of the views that predict it, pixels."""
NEAR = 0.02
"""A point is seen where the depth of a view is within this of its own distance (objects have the longest side 1)."""
SMALLEST_COSINE = 0.35
"""Of the angle between two cameras of a pair, seen from the object."""
HELD_OUT_PHOTOS = 74


class Views(NamedTuple):
    """Training views of one scene, square and of one camera; depth is along -z, 0 for none; focal length and centre are
    in latent pixels."""

    images: UInt8[Tensor, "views height width 4"]
    depth: Float[Tensor, "views h w"]
    pose: Float[Tensor, "views 4 4"]
    focal: float
    centre: float


class Pair(NamedTuple):
    """A crop, and for its latent pixels where two other crops see the same points."""

    target: Float[Tensor, "side side 3"]
    sources: Float[Tensor, "2 source_side source_side 3"]
    places: Float[Tensor, "2 h w 2"]
    seen: Bool[Tensor, "2 h w"]


@dataclass
class WarpAutoencoder:
    """Trains an autoencoder by warping, and writes its averaged weights in diffusers' format."""

    scenes: Path
    """Folder of folders of scenes."""
    meshes: Path
    """Folder of folders of the scenes' meshes."""
    photos: Path
    """Folder of photos; the last by name are left out."""
    source: str
    """Autoencoder that it begins with."""
    out: Path
    """Folder of the result."""
    minutes: float = 9.0
    """CPU minutes."""
    pairs: int = 6
    """Pairs of views, and photos, a step."""
    lr: float = 4e-4
    """Learning rate of AdamW, which falls to zero as a cosine."""
    latent_weight: float = 0.02
    """Weight of the latents' own difference."""
    seed: int = 0

    def main(self) -> None:
        torch.manual_seed(self.seed)
        randomness = random.Random(self.seed)
        views = [read_views(scene, self.meshes) for scene in sorted(self.scenes.glob("*/*/transforms.json"))]
        photos = [read_picture(path, "RGB") for path in sorted(self.photos.glob("*.jpg"))[:-HELD_OUT_PHOTOS]]
        model, averaged = (AutoencoderConfig(source=self.source).setup().vae for _ in range(2))
        model.requires_grad_(True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, betas=(0.9, 0.99), weight_decay=1e-4)
        started, step = time.process_time(), 0
        while (progress := (time.process_time() - started) / (60 * self.minutes)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * min(1, step / 50) * (0.5 + 0.5 * math.cos(math.pi * progress))
            pairs = [draw_pair(views, randomness) for _ in range(self.pairs)]
            crops = torch.stack([draw_crop(photos, randomness) for _ in range(self.pairs)])
            loss = self.loss(model, pairs, crops)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            with torch.no_grad():
                decay = min(0.998, (step + 1) / (step + 10))
                torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
            if step % 50 == 0:
                print(f"step {step}, {100 * progress:.0f} %, loss {loss.item():.4f}", flush=True)
        averaged.save_pretrained(self.out)

    def loss(self, model: Any, pairs: List[Pair], photos: Float[Tensor, "n side side 3"]) -> Tensor:
        """The loss above, of a step."""
        count = len(pairs)
        target, photo = channels_first(torch.stack([pair.target for pair in pairs])), channels_first(photos)
        sources = channels_first(torch.cat([pair.sources for pair in pairs]))
        places, seen = torch.cat([p.places for p in pairs]), torch.cat([p.seen for p in pairs])[:, None].float()
        with torch.autocast("cpu", torch.bfloat16):
            z_a = model.encode(sources).latent_dist.mean.float()
            z = model.encode(torch.cat([target, photo])).latent_dist.mean.float()
        z_b = z[:count]
        warped = F.grid_sample(z_a, places, align_corners=False, padding_mode="border") * seen
        views = seen.view(count, 2, *seen.shape[1:]).sum(1)
        mixed = warped.view(count, 2, *warped.shape[1:]).sum(1) / views.clamp(min=1)
        both = (views > 0).float()
        with torch.autocast("cpu", torch.bfloat16):
            output = model.decode(torch.cat([mixed * both + z_b * (1 - both), z])).sample.float()
        errors = (output - torch.cat([target, target, photo])).square() / 4  # of pictures in [0, 1]
        shown = F.interpolate(both, scale_factor=FACTOR)
        warp = (errors[:count] * shown).sum() / (3 * shown.sum()).clamp(min=1)
        rows, mixed_rows = (value.movedim(1, -1)[both[:, 0] > 0] for value in (z_b, mixed))
        latent = ((rows - mixed_rows).square() / rows.var(0).clamp(min=1e-8)).mean() if len(rows) > 1 else 0.0
        reconstruction = 0.5 * errors[count : 2 * count].mean() + 4 * errors[2 * count :].mean()
        return warp + reconstruction + self.latent_weight * latent


def channels_first(pictures: Float[Tensor, "n height width 3"]) -> Float[Tensor, "n 3 height width"]:
    """Pictures in [0, 1] as diffusers takes them, in [-1, 1]."""
    return pictures.movedim(-1, 1) * 2 - 1


def read_picture(path: Path, mode: str) -> UInt8[Tensor, "height width channels"]:
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image.convert(mode)))


def read_views(file: Path, meshes: Path) -> Views:
    """The training views of a scene, with the depths that its mesh has there."""
    scene, content = file.parent, json.loads(file.read_text(encoding="utf-8"))
    mesh = next(iter(sorted((meshes / scene.parent.name).glob(f"{scene.name}.*"))))
    caster = Raycaster(load_surface(mesh).normalized(usual_up_axis(mesh)))
    kept = [frame for frame in content["frames"] if frame["file_path"] in set(content["train_filenames"])]
    poses = np.array([frame["transform_matrix"] for frame in kept])
    focal, centre, side = content["fl_x"] / FACTOR, content["cx"] / FACTOR, content["h"] // FACTOR
    depth = np.stack([depth_of(caster, pose, focal, centre, side) for pose in poses])
    images = torch.stack([read_picture(scene / frame["file_path"], "RGBA") for frame in kept])
    return Views(images, torch.from_numpy(depth), torch.from_numpy(poses).float(), focal, centre)


def depth_of(
    caster: Raycaster, pose: Float[np.ndarray, "4 4"], focal: float, centre: float, side: int
) -> Float[np.ndarray, "side side"]:
    """Depth along -z at the middles of the latent pixels of a view; 0 where nothing is."""
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    directions = np.stack([(x - centre) / focal, (centre - y) / focal, -np.ones_like(x)], -1).reshape(-1, 3)
    directions = directions @ pose[:3, :3].T
    faces, distance, _ = caster.cast(np.broadcast_to(pose[:3, 3], directions.shape).copy(), directions)
    return np.where(faces >= 0, distance, 0).reshape(side, side).astype(np.float32)


def over_white(image: UInt8[Tensor, "height width 4"]) -> Float[Tensor, "height width 3"]:
    rgb, alpha = image[..., :3].float() / 255, image[..., 3:].float() / 255
    return rgb * alpha + 1 - alpha


def draw_crop(photos: List[Tensor], randomness: random.Random) -> Float[Tensor, "side side 3"]:
    """A random crop of a random photo."""
    photo = randomness.choice(photos)
    top, left = (randomness.randrange(extent - CROP + 1) for extent in photo.shape[:2])
    return photo[top : top + CROP, left : left + CROP].float() / 255


def draw_pair(scenes: List[Views], randomness: random.Random) -> Pair:
    """A crop around a random point of an object, and two views from not too far aside."""
    while True:
        views = randomness.choice(scenes)
        b = randomness.randrange(len(views.images))
        places = (views.depth[b] > 0).nonzero()
        towards = F.normalize(views.pose[:, :3, 3], dim=1)
        others = [a for a in (towards @ towards[b] > SMALLEST_COSINE).nonzero()[:, 0].tolist() if a != b]
        if len(places) >= 4 and len(others) >= 2:
            break
    size, side = views.depth.shape[1], CROP // FACTOR
    place = places[randomness.randrange(len(places))].tolist()
    top, left = (min(max(0, at - side // 2), size - side) for at in place)
    points = points_of(views, b, top, left, side)
    known = views.depth[b, top : top + side, left : left + side] > 0
    sources = [source_of(views, a, points, known) for a in randomness.sample(others, 2)]
    crop = views.images[b, top * FACTOR : top * FACTOR + CROP, left * FACTOR : left * FACTOR + CROP]
    return Pair(over_white(crop), *(torch.stack(values) for values in zip(*sources, strict=True)))


def points_of(views: Views, b: int, top: int, left: int, side: int) -> Float[Tensor, "side side 3"]:
    """The points of space that latent pixels of a crop see."""
    y, x = torch.meshgrid(torch.arange(top, top + side) + 0.5, torch.arange(left, left + side) + 0.5, indexing="ij")
    depth = views.depth[b, top : top + side, left : left + side]
    local = torch.stack(
        [(x - views.centre) / views.focal * depth, (views.centre - y) / views.focal * depth, -depth], -1
    )
    return local @ views.pose[b, :3, :3].T + views.pose[b, :3, 3]


def source_of(
    views: Views, a: int, points: Float[Tensor, "h w 3"], known: Bool[Tensor, "h w"]
) -> Tuple[Tensor, Tensor, Tensor]:
    """A crop of view a around where points are seen in it, their places there in [-1, 1], and which it sees."""
    size, side = views.depth.shape[1], SOURCE_CROP // FACTOR
    local = (points - views.pose[a, :3, 3]) @ views.pose[a, :3, :3]
    distance = -local[..., 2]
    x = local[..., 0] / distance * views.focal + views.centre
    y = -local[..., 1] / distance * views.focal + views.centre
    inside = known & (x > 0) & (x < size) & (y > 0) & (y < size)
    columns, rows = x.long().clamp(0, size - 1), y.long().clamp(0, size - 1)
    around = F.pad(views.depth[a][None, None], (1, 1, 1, 1), mode="replicate")[0, 0].unfold(0, 3, 1).unfold(1, 3, 1)
    seen = inside & ((around[rows, columns].flatten(-2) - distance[..., None]).abs().amin(-1) < NEAR)
    middle = (y[seen].median(), x[seen].median()) if bool(seen.any()) else (size / 2, size / 2)
    top, left = (min(max(0, round(float(at) - side / 2)), size - side) for at in middle)
    places = torch.stack([(x - left) / side * 2 - 1, (y - top) / side * 2 - 1], -1)
    seen = seen & (places.abs() < 0.94).all(-1)
    crop = views.images[a, top * FACTOR : top * FACTOR + SOURCE_CROP, left * FACTOR : left * FACTOR + SOURCE_CROP]
    return over_white(crop), places.clamp(-2, 2), seen


if __name__ == "__main__":
    tyro.cli(WarpAutoencoder).main()
