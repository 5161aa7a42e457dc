"""A thousand scenes of few photos each as files, in one call: CPU seconds and bytes a scene, and what takes them.

    lns demo-scenes --output data/thousand --family mixed --num-scenes 1000 --views 6 --seed 40000
    python benchmarks/thousand_scenes.py --data data/thousand

Four of the six views of a scene are its photos, two are held out. `lns fit-scenes --steps 0` writes what the bundle's
scene encoder predicts; with `--steps 30` and more, fits from there. A part's time is without that of parts inside it.
"""

import importlib
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Dict, Tuple
from unittest.mock import patch

import torch
import tyro
from common import Numbers, Results, preamble, table

from latent_nerfstudio.files.camera_file import split_of

PARTS = {
    "reading the scenes": ("fleet.fit_chunk", "examine"),
    "building the model": ("fleet.fit_chunk", "LatentTrainer.setup"),
    "encoding": ("data.latent_cache", "encode_images"),
    "predicting": ("pipelines.latent_pipeline", "predict_scenes"),
    "measuring": ("fleet.fit_chunk", "measure_scene"),
    "writing": ("fleet.fit_chunk", "write_scene_file"),
}
"""Functions whose time is counted, by what they do: module of the package, and name there."""

PHOTOS = 4


@dataclass
class ThousandScenes:
    """Writes scene files of a folder of scenes, and counts what takes the time."""

    data: Path
    """Folder of scenes."""
    steps: Tuple[int, ...] = (0,)
    """Steps of fitting, each a row."""
    bundle: str = "bundled"
    """Shared bundle."""
    output: Path = Path("benchmarks/thousand_scenes.json")
    """JSON file; a page is written beside it."""
    resume: bool = False
    """Keep what an earlier run has measured."""

    def main(self) -> None:
        """Measures and writes as the numbers come."""
        torch.set_num_threads(1)
        for file in self.data.glob("*/transforms.json"):
            split(file)
        results = Results(self.output, page, self.resume)
        for steps in self.steps:
            results.record({"steps": steps}, lambda steps=steps: measure(self.data, self.bundle, steps))


def split(file: Path) -> None:
    """Makes the first views of a scene its photos, and holds out the others."""
    meta = json.loads(file.read_text(encoding="utf-8"))
    names = [frame["file_path"] for frame in meta["frames"]]
    meta.update(split_of(names[:PHOTOS], names[PHOTOS:]))
    file.write_text(json.dumps(meta), encoding="utf-8")


def measure(data: Path, bundle: str, steps: int) -> Numbers:
    """CPU seconds, bytes and quality a scene, and CPU seconds of each part."""
    from latent_nerfstudio.cli.fit_scenes import FitScenes

    seconds: Dict[str, float] = dict.fromkeys(PARTS, 0.0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for part, (module, name) in PARTS.items():
            *owner, function = name.split(".")
            place: Any = importlib.import_module(f"latent_nerfstudio.{module}")
            place = getattr(place, owner[0]) if owner else place
            stack.enter_context(patch.object(place, function, timed(getattr(place, function), part, seconds)))
        started = time.process_time()
        FitScenes(data, output=Path(folder), bundle=bundle, steps=steps, latent_cache="memory").main()
        total = time.process_time() - started
        status = json.loads((Path(folder) / "status.json").read_text(encoding="utf-8"))
    rows = [row for row in status["scenes"] if row["state"] == "done"]
    means = {name: mean(row[name] for row in rows) for name in ("bytes", "psnr", "ssim")}
    shares = {part: value / len(rows) for part, value in seconds.items()}
    return {"scenes": len(rows), "seconds": total / len(rows), **means, **shares}


def timed(function: Any, part: str, seconds: Dict[str, float]) -> Any:
    """A function whose CPU seconds are added to those of its part, but for those that parts inside it have counted."""

    def run(*args: Any, **kwargs: Any) -> Any:
        started, inside = time.process_time(), sum(seconds.values())
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.process_time() - started - (sum(seconds.values()) - inside)

    return run


def page(results: Results) -> str:
    """The table as Markdown: milliseconds of each part, the rest being fitting and all else."""
    rows = []
    for own, numbers in results.find():
        rest = numbers["seconds"] - sum(numbers[part] for part in PARTS)
        cells = [str(own["steps"]), f"{numbers['scenes']:,}", f"{numbers['seconds']:.3f}", f"{numbers['bytes']:,.0f}"]
        cells += [f"{numbers['psnr']:.2f}", *(f"{1000 * numbers[part]:.0f}" for part in PARTS), f"{1000 * rest:.0f}"]
        rows.append(cells)
    head = ["steps", "scenes", "CPU seconds a scene", "bytes a scene", "PSNR", *(f"{part}, ms" for part in PARTS)]
    return "\n".join(
        [*preamble("A thousand scenes in one call"), *table([*head, "fitting and the rest, ms"], rows), ""]
    )


if __name__ == "__main__":
    tyro.cli(ThousandScenes).main()
