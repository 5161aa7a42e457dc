"""Draws the pictures of the README and of the documentation's first page from real scenes.

    lns demo-scenes --output cars --num-scenes 12 --views 40 --seed 77
    lns fit-scenes cars --output fitted --latent-cache memory
    python scripts/draw_pictures.py --scenes fitted/scenes

writes `scenes.png` (learned scenes from one camera each), `latent_beside_rgb.png` (rendered latents above what the
decoder makes of them) and `cost.png` (cost over the number of scenes, of benchmarks/numerous_scenes.json).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Sequence

import numpy as np
import tyro
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

COLUMNS = 6
"""Pictures in a row."""

GAP = 6
"""Pixels between pictures."""

ENTRY_SECONDS = 60.0 * (36 + 34 + 56)
"""CPU seconds of what the bundle shares: standard autoencoder, joint training, decoder of rendered latents."""

ROWS = {"latent, frozen bundle, small steps": 3.0, "RGB, together": 3.0}
"""Rows of benchmarks/numerous_scenes.json that are drawn: kind, and seconds a scene that were asked for."""


@dataclass
class DrawPictures:
    """Draws the pictures of the README."""

    scenes: Path
    """Scene files, from `lns fit-scenes`."""
    bundle: str = "bundled"
    """Their shared bundle."""
    output: Path = ROOT / "docs" / "images"
    """Folder of the pictures."""

    def main(self) -> None:
        """Writes the three pictures."""
        import latent_nerfstudio as lns

        scenes = lns.load(self.scenes, bundle=self.bundle)
        camera = scenes.orbit(scenes.names[0], views=12, size=128)[1:2]
        renders = [scenes.render(name, camera) for name in scenes.names[: 2 * COLUMNS]]
        sheet([render.rgb[0] for render in renders]).save(self.output / "scenes.png", optimize=True)
        views = scenes.render(scenes.names[0], scenes.orbit(scenes.names[0], views=COLUMNS, size=128))
        sheet([*views.latent, *views.rgb]).save(self.output / "latent_beside_rgb.png", optimize=True)
        draw_costs(self.output / "cost.png")
        print(f"Wrote scenes.png, latent_beside_rgb.png and cost.png to {self.output}")


def sheet(pictures: Sequence[Any]) -> Image.Image:
    """Pictures in [0, 1], [height, width, 3] each, in rows of `COLUMNS`, with white gaps."""
    drawn = [(picture.clamp(0, 1) * 255).round().byte().numpy() for picture in pictures]
    height, width = drawn[0].shape[:2]
    rows = -(-len(drawn) // COLUMNS)
    canvas = np.full((rows * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 3), 255, np.uint8)
    for index, picture in enumerate(drawn):
        top, left = (index // COLUMNS) * (height + GAP), (index % COLUMNS) * (width + GAP)
        canvas[top : top + height, left : left + width] = picture
    return Image.fromarray(canvas)


def draw_costs(path: Path) -> None:
    """Seconds and bytes over the number of scenes, of what the benchmark measured."""
    from latent_nerfstudio.reports.costs import Cost, Costs
    from latent_nerfstudio.reports.figures import plot_costs

    records = json.loads((ROOT / "benchmarks" / "numerous_scenes.json").read_text(encoding="utf-8"))["records"]
    costs: Dict[str, Costs] = {}
    for record in records:
        settings, numbers = record["settings"], record["numbers"]
        if settings["kind"] in ROWS and settings["seconds"] == ROWS[settings["kind"]]:
            entry = ENTRY_SECONDS if settings["kind"].startswith("latent") else 0.0
            seconds = Cost(entry, numbers["a_scene"])
            name = f"{settings['kind']}: {numbers['psnr']:.1f} dB"
            costs[name] = Costs(seconds, Cost(numbers["bytes_shared"], numbers["bytes_per_scene"]))
    plot_costs(costs, path)


if __name__ == "__main__":
    tyro.cli(DrawPictures).main()
