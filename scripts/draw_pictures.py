"""Draws the pictures of the README and of the documentation from real scenes, at 256 pixels, by one command:

    python scripts/draw_pictures.py FOLDER

generates scenes of objects that no autoencoder has seen into FOLDER and fits them against the bundle, unless they
are there, and writes into docs/images: `scenes.png` (one view each), `latent_beside_rgb.png` (rendered latents above
what the decoder makes of them), `orbit.gif`, `blend.gif`, `gallery.png` (in Chromium) and `cost.png` (of
benchmarks/numerous_scenes.json).
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Dict, Sequence

import numpy as np
import torch
import tyro
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

COLUMNS = 6
"""Pictures in a row."""

GAP = 6
"""Pixels between pictures."""

TURNING = 4
"""Scenes of the videos."""

ENTRY_SECONDS = 60.0 * (36 + 34 + 56)
"""CPU seconds of what the bundle shares: standard autoencoder, joint training, decoder of rendered latents."""

ROWS = {"latent, frozen bundle, small steps": 3.0, "RGB, together": 3.0}
"""Rows of benchmarks/numerous_scenes.json that are drawn: kind, and seconds a scene that were asked for."""


@dataclass
class DrawPictures:
    """Draws the pictures of the README."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the scenes, `data` and `fitted`, which are made where they are not there."""
    bundle: str = "bundled"
    """Shared bundle of the scenes."""
    family: str = "mixed"
    """Family of objects, as `lns demo-scenes` has it."""
    seed: int = 77
    """Seed of the family."""
    size: int = 256
    """Side of the pictures, pixels, which the scenes are photographed and rendered at."""
    output: Path = ROOT / "docs" / "images"
    """Folder of the pictures."""

    def main(self) -> None:
        """Writes the pictures."""
        import latent_nerfstudio as lns
        from latent_nerfstudio.api.framing import framed
        from latent_nerfstudio.gallery.page import write_gallery
        from latent_nerfstudio.videos.turning import blending, turning
        from latent_nerfstudio.videos.writing import write_video

        scenes = self.learned(lns)
        rings = {name: framed(scenes, [name]).resized(self.size) for name in scenes.names}
        first, *_ = scenes.names
        shown = [scenes.render(name, rings[name].cameras(12)[1:2]) for name in scenes.names[: 2 * COLUMNS]]
        sheet([render.rgb[0] for render in shown]).save(self.output / "scenes.png", optimize=True)
        views = scenes.render(first, rings[first].cameras(COLUMNS))
        latents = torch.where(views.accumulation > 0.5, views.latent, 1.0)  # those of the object alone
        sheet([*latents, *views.rgb]).save(self.output / "latent_beside_rgb.png", optimize=True)
        small, second = self.size // 2, scenes.names[1]
        kinds = {name.rpartition("_")[0]: name for name in reversed(scenes.names)}  # the first of each
        frames = turning(scenes, sorted(kinds.values())[:TURNING], ("rgb", "latent", "depth"), 36, small)
        write_video(self.output / "orbit.gif", frames, 12)
        frames = blending(scenes, first, second, ("rgb", "latent"), 48, small)
        write_video(self.output / "blend.gif", frames, 12)
        photograph(write_gallery(self.folder / "gallery", scenes, scenes.names), self.output / "gallery.png")
        draw_costs(self.output / "cost.png")
        print(f"Wrote scenes.png, latent_beside_rgb.png, orbit.gif, blend.gif, gallery.png, cost.png to {self.output}")

    def learned(self, lns: Any) -> Any:
        """The scenes, photographed and fitted where that was not done before."""
        from latent_nerfstudio.cli.making import DemoScenes

        data = self.folder / "data"
        if not data.exists():
            count = 2 * COLUMNS
            DemoScenes(data, self.family, count, views=60, size=self.size, seed=self.seed).main()  # type: ignore[arg-type]
        return lns.fit(data, self.folder / "fitted", self.bundle)


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


def photograph(page: Path, path: Path) -> None:
    """A picture of an HTML page in Chromium."""
    sys.path.insert(0, str(ROOT / "tests"))  # where the one place is that starts it
    from chromium import chromium

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, chromium(profile, 1000, 640) as browser:
        browser.get(page.resolve().as_uri())
        time.sleep(3)  # until its pictures are there
        browser.get_screenshot_as_file(str(path))


def draw_costs(path: Path) -> None:
    """Seconds and bytes over the number of scenes, of what the benchmark measured."""
    from latent_nerfstudio.reports.figures import plot_costs
    from latent_nerfstudio.reports.run_report import Cost

    records = json.loads((ROOT / "benchmarks" / "numerous_scenes.json").read_text(encoding="utf-8"))["records"]
    costs: Dict[str, Dict[str, Cost]] = {}
    for record in records:
        settings, numbers = record["settings"], record["numbers"]
        if settings["kind"] in ROWS and settings["seconds"] == ROWS[settings["kind"]]:
            entry = ENTRY_SECONDS if settings["kind"].startswith("latent") else 0.0
            seconds = Cost(entry, numbers["a_scene"])
            name = f"{settings['kind']}: {numbers['psnr']:.1f} dB"
            costs[name] = {"seconds": seconds, "bytes": Cost(numbers["bytes_shared"], numbers["bytes_per_scene"])}
    plot_costs(costs, path)


if __name__ == "__main__":
    tyro.cli(DrawPictures).main()
