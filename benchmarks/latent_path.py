"""A figure: what autoencoders make of a car along a camera path, and how much their latents change from view to view.

    python benchmarks/latent_path.py --spaces "standard=bundled-standard" "3D-aware=bundled"

An unseen car is rendered from neighbouring cameras on a small orbit. Each picture is encoded by itself; a row of
latents is normalised and projected to colours as a whole, so that what differs between neighbours differs in the
latents.
"""

import json
import warnings
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from common import command, named
from jaxtyping import Float
from torch import Tensor

from latent_nerfstudio.data.crops import sees_object
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace, as_float, fit_preview, over_background

Frames = Float[Tensor, "frames height width channels"]
"""Pictures or latents along the path."""

WIDTH = 1200
"""Of the figure, pixels."""

UNIT = 8
"""Pixels; a multiple of the downscale factors, so that parts of pictures are whole latent pixels."""

GREYS, COLOURS = ("#a8a8a8", "#cfcfcf"), ("#d1603d", "#2f6690", "#3f8f5f", "#8c5aa0")
"""Of the pictures and of the autoencoders."""


@dataclass
class LatentPath:
    """Draws the figure, and writes its numbers."""

    spaces: Tuple[str, ...]
    """Autoencoders, each `NAME=SOURCE`."""
    family: int = 2000
    """Family of the car, the seed of `lns demo-scenes`; take one that no autoencoder has seen."""
    car: int = 2
    """Number of the car in its family."""
    frames: int = 8
    """Cameras."""
    degrees: float = 5.0
    """Angle between neighbouring cameras."""
    azimuth: float = 25.0
    """Of the first camera, degrees from the car's front."""
    elevation: float = 25.0
    """Of all cameras, degrees above the horizon."""
    resolution: int = 128
    """Width and height of the pictures, pixels."""
    output: Path = Path("docs/images/latents_along_a_path.png")
    """The figure."""
    numbers: Path = Path("benchmarks")
    """Folder of its numbers, a JSON file of the same name."""

    def main(self) -> None:
        """Renders, encodes and draws.

        Raises:
            ValueError: fewer than two frames, or a flag of another form.
        """
        if self.frames < 2:
            raise ValueError(f"frames: expected at least 2, got {self.frames}; neighbours are compared")
        photos = self.render()
        whole = torch.stack([object_mask(photo, 1) for photo in photos])
        rows, changes = {"picture": photos}, {"picture": change(photos, whole)}
        for space in map(named, self.spaces):
            latents = encode(photos, space.source)
            mask = torch.stack([object_mask(photo, photos.shape[1] // latents.shape[1]) for photo in photos])
            rows[space.name], changes[space.name] = preview(latents, mask), change(latents, mask)
            small = F.adaptive_avg_pool2d(photos.permute(0, 3, 1, 2), (latents.shape[1], latents.shape[2]))
            name = f"picture at {latents.shape[1]} × {latents.shape[2]}"
            changes[name] = change(small.permute(0, 2, 3, 1), mask)
        rows = {name: zoomed(frames, box_around(whole), len(whole[0])) for name, frames in rows.items()}
        self.output.parent.mkdir(parents=True, exist_ok=True)
        drawn = sorted((name for name in changes if name != "picture"), key=lambda name: name in rows)
        draw(rows, {name: changes[name] for name in drawn}, self.degrees, self.output)
        self.numbers.mkdir(parents=True, exist_ok=True)
        content = {"command": command(), "change": changes}
        path = self.numbers / f"{self.output.stem}.json"
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"{self.output}: {self.output.stat().st_size // 1000} kB; numbers: {path}")

    def render(self) -> Frames:
        """The car from all cameras, on white, RGB in [0, 1]."""
        from latent_nerfstudio.meshes.cars import car
        from latent_nerfstudio.meshes.jobs import scene_seed
        from latent_nerfstudio.meshes.raycast import Raycaster
        from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, RADIUS, poses_towards

        around = np.radians(self.azimuth + self.degrees * np.arange(self.frames))
        up = np.radians(self.elevation)
        level = np.cos(up)
        eyes = RADIUS * np.stack([level * np.cos(around), level * np.sin(around), np.full_like(around, np.sin(up))], -1)
        surface = car(scene_seed(self.family, self.car)).normalized()
        caster = Raycaster(surface, samples_per_unit=3 * FOCAL_PER_WIDTH * self.resolution / RADIUS)
        pictures = [torch.from_numpy(caster.render(pose, self.resolution)) for pose in poses_towards(eyes)]
        return torch.stack([as_float(over_background(picture, torch.ones(3))) for picture in pictures])


@torch.no_grad()
def encode(photos: Frames, source: str) -> Frames:
    """Latents, each channel normalised over all of them; pictures are encoded one by one."""
    space = LatentSpace(AutoencoderConfig(source=source), "mean-std").eval()
    raw = torch.cat([space.autoencoder.encode(photo[None]) for photo in photos])
    space.fit(raw.reshape(-1, space.num_channels))
    return space.normalizer(raw)


def preview(latents: Frames, mask: Tensor) -> Frames:
    """Latents of the object as colours, one projection for all of them, onto their principal components; the rest is
    left white."""
    weight, bias = fit_preview(latents[mask])
    return torch.where(mask[..., None], (latents @ weight + bias).clamp(0, 1), 1.0)


def object_mask(photo: Float[Tensor, "height width 3"], factor: int) -> Tensor:
    """Latent pixels that show some of the car."""
    return sees_object(photo[None], torch.ones(3), factor)[0]


def change(values: Frames, mask: Tensor) -> List[float]:
    """How much neighbours differ, over the pixels that show the object in either: sum of squared differences over
    twice the squared deviations from the mean of each channel; 0 for equal pictures, 1 for unrelated ones."""
    result = []
    for i in range(len(values) - 1):
        either = mask[i] | mask[i + 1]
        first, second = values[i][either], values[i + 1][either]
        both = torch.cat([first, second])
        deviations = (both - both.mean(dim=0)).square().sum()
        result.append(float((first - second).square().sum() / deviations))
    return result


def box_around(masks: Tensor) -> Tuple[int, int, int, int]:
    """Top, bottom, left and right of the smallest box of whole `UNIT`s that holds the object in all pictures."""
    seen = masks.any(dim=0)
    spans = [seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()]
    (top, bottom), (left, right) = ((int(span.min()) // UNIT, int(span.max()) // UNIT + 1) for span in spans)
    return UNIT * top, UNIT * bottom, UNIT * left, UNIT * right


def zoomed(frames: Frames, box: Tuple[int, int, int, int], size: int) -> Frames:
    """The part of pictures, or of previews of their latents, that shows the object; `size` is that of the pictures."""
    factor = size // frames.shape[1]
    top, bottom, left, right = (value // factor for value in box)
    return frames[:, top:bottom, left:right]


def draw(rows: Dict[str, Frames], changes: Dict[str, List[float]], degrees: float, path: Path) -> None:
    """Rows of pictures, and below them the changes between neighbours.

    Args:
        rows: pictures and previews, by what stands beside them.
        changes: one number for each pair of neighbours, by name.
        degrees: between cameras.
        path: of the PNG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    count, (tall, wide) = len(rows["picture"]), rows["picture"].shape[1:3]
    margin, gap, head, plot = 122, 6, 34, 150
    width = (WIDTH - margin - 14 - gap * (count - 1)) // count
    high = round(width * tall / wide)
    height = head + len(rows) * (high + gap) + plot + 56
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=100)

    def place(left: float, top: float, width: float, tall: float) -> Any:
        return figure.add_axes((left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height))

    for column in range(count):
        middle = (margin + column * (width + gap) + width / 2) / WIDTH
        figure.text(middle, 1 - 22 / height, f"{column * degrees:g}°", ha="center", fontsize=11, color="#444")
    for index, (name, frames) in enumerate(rows.items()):
        top = head + index * (high + gap)
        label = name if name == "picture" else f"{name}\nlatent"
        figure.text(0.009, 1 - (top + high / 2) / height, label, va="center", fontsize=11, color="#222")
        for column, frame in enumerate(frames):
            axes = place(margin + column * (width + gap), top, width, high)
            smooth = "lanczos" if name == "picture" else "nearest"
            axes.imshow(frame.clamp(0, 1).numpy(), interpolation=smooth, aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color("#cccccc")
    top = head + len(rows) * (high + gap) + 22
    draw_changes(place(margin, top, count * (width + gap) - gap, plot), changes, width, gap)
    figure.savefig(path, dpi=100, facecolor="white")
    smaller(path)


def draw_changes(axes: Any, changes: Dict[str, List[float]], width: int, gap: int) -> None:
    """Bars below the gaps between pictures, of the given sizes: a group for each pair of neighbours."""
    colours = bar_colours(list(changes))
    pairs = len(next(iter(changes.values())))
    bar = 0.72 * (width + gap) / len(changes)
    for index, (name, values) in enumerate(changes.items()):
        aside = (index - (len(changes) - 1) / 2) * bar
        centres = [(pair + 1) * (width + gap) - gap / 2 + aside for pair in range(pairs)]
        label = f"{name}, mean {np.mean(values):.2f}"
        axes.bar(centres, values, 0.9 * bar, color=colours[index], label=label)
    axes.set_xlim(0, (pairs + 1) * (width + gap) - gap)
    axes.set_ylim(0, 1.28 * max(max(values) for values in changes.values()))
    axes.set_xticks([])
    axes.set_ylabel("change to the\nnext view", fontsize=11, color="#222")
    axes.tick_params(axis="y", labelsize=9, colors="#444")
    axes.grid(axis="y", color="#e5e5e5")
    axes.set_axisbelow(True)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
    note = "0: equal, 1: unrelated; over the car's pixels, latents normalised"
    axes.set_xlabel(note, fontsize=10, color="#444", labelpad=6)
    axes.legend(loc="upper center", ncols=len(changes), fontsize=10, frameon=False, borderaxespad=0.0)


def bar_colours(names: Sequence[str]) -> List[str]:
    """Greys for pictures, colours for autoencoders."""
    greys, others = cycle(GREYS), cycle(COLOURS)
    return [next(greys) if name.startswith("picture") else next(others) for name in names]


def smaller(path: Path) -> None:
    """Stores a PNG with 256 colours."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(LatentPath).main()
