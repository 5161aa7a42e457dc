"""Few photos a scene: what a bundle's scene encoder predicts, what fitting makes of it, and RGB without a prior.

    lns demo-scenes --output data/unseen --num-scenes 4 --views 60 --seed 9100
    python benchmarks/few_photos.py --data data/unseen --bundle bundled-cars --resume

Of the views of a scene every third is held out, and k of the others, shuffled with seed 5, are the photos. Scenes of a
bundle are learned together; seconds are of the processor, of one thread, for each scene, without reading and encoding.
RGB is a tri-plane of each scene alone, in its own box, for each k with those steps and that weight of the total
variation that are best on the held-out views: more than anybody could choose without them. With `--rgb-bundle` RGB has
base planes and an MLP of its own, learned in RGB from the scenes that the bundle's were learned from. `--figure` draws
rows of one, two and four photos; the curves of PSNR over seconds are drawn beside the page.
"""

import copy
import json
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import mean
from typing import Any, Dict, List, Optional, Tuple
from unittest.mock import patch

import numpy as np
import torch
import tyro
from common import Numbers, Results, number, preamble, table
from PIL import Image, ImageDraw

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.camera_file import split_of

HELD_OUT_EVERY = 3
SHUFFLED_WITH = 5

RAYS, RGB_RAYS = 256, 1024
"""Of each scene a step, latent pixels (times `enlarge`, as in lns fit-scenes) and pixels."""

RGB_TRIALS = ((300, 1.0), (300, 0.3), (600, 0.01))
"""Steps and weight of the total variation of RGB: of the first two up to four photos, of the last two from there on."""

RGB_BUNDLE_TRIALS = ((150, 0.1), (400, 0.01))
"""The same against the bundle of RGB."""

CURVE_OF = 4
"""Photos of the curves of PSNR over seconds."""

CURVE_STEPS = (10, 30, 100, 600)
"""Steps of their points, beside those of the tables."""

SEEN_VIEW = 4
"""Which held-out view of its scene the figure shows."""

RGB_BUNDLE = "RGB against base planes of RGB"

LATENT_ROWS: Dict[str, Dict[str, Any]] = {
    "prediction": {"steps": 0},
    "prediction and fit": {"steps": 300},
    "fit from the mean": {"steps": 300, "encoder": False},
}


@dataclass
class FewPhotos:
    """Measures predictions, fits and RGB at a few photos a scene."""

    data: Path
    """Folder of scenes that no bundle has seen."""
    bundle: str = "bundled"
    """A bundle with a scene encoder."""
    photos: Tuple[int, ...] = (1, 2, 4, 8, 16, 40)
    """Photos of each scene."""
    max_scenes: int = 4
    """Scenes, the first by name."""
    pulls: Tuple[float, ...] = ()
    """Weights of the pull at one photo to try beside the default."""
    rgb: bool = True
    """Whether RGB is measured."""
    enlarge: int = 2
    """Times that photos are enlarged before they are encoded."""
    latents: bool = True
    """Whether predictions and fits in latents are measured."""
    rgb_bundle: Optional[str] = None
    """A shared bundle of the identity latent space, written by `ns-train triplane --write-bundle True`."""
    output: Path = Path("benchmarks/few_photos.json")
    """JSON file; a page is written beside it."""
    figure: Optional[Path] = None
    """Picture to draw, .png."""
    shown: Optional[str] = None
    """Scene of the figure, by default the first by name."""
    resume: bool = False
    """Keep what an earlier run has measured."""

    def main(self) -> None:
        """Measures and writes as the numbers come."""
        torch.set_num_threads(1)
        if self.figure is not None and self.figure.resolve() == self.output.with_suffix(".png").resolve():
            raise ValueError(problem("figure", "another file than that of the curves", self.figure, "name another"))
        results = Results(self.output, page, self.resume)
        with tempfile.TemporaryDirectory() as folder:
            for count in self.photos:
                data = split(self.data, Path(folder) / str(count), count, self.max_scenes)
                for row, settings in self.rows(count):
                    own = {"photos": count, "row": row, **settings}
                    results.record(own, partial(self.measured, data, settings, count, row))
        if self.figure is not None:
            draw(self.figure, self.pictures)

    def rows(self, count: int) -> List[Tuple[str, Dict[str, Any]]]:
        """Rows of the table, and what each is learned with."""
        rows: List[Tuple[str, Dict[str, Any]]] = []
        if self.latents:
            latents = {name: {**LATENT_ROWS[name], "enlarge": self.enlarge} for name in self.latent_rows}
            rows += list(latents.items())
            rows += [("prediction and fit", {**latents["prediction and fit"], "pull": pull}) for pull in self.pulls]
            if count == CURVE_OF:
                fitted = [(name, own) for name, own in latents.items() if own["steps"]]
                rows += [(name, {**own, "steps": steps}) for name, own in fitted for steps in CURVE_STEPS]
        trials = RGB_TRIALS[:2] if count <= CURVE_OF else RGB_TRIALS[1:]
        if self.rgb:
            rows += [("RGB", {"steps": s, "total_variation": tv}) for s, tv in trials]
        if self.rgb and count == CURVE_OF:
            rows += [("RGB", {"steps": s, "total_variation": 0.1}) for s in CURVE_STEPS[:-1]]
        if self.rgb_bundle is not None:
            rows += [(RGB_BUNDLE, {"steps": s, "total_variation": tv}) for s, tv in RGB_BUNDLE_TRIALS]
        return rows

    @cached_property
    def latent_rows(self) -> List[str]:
        """Names of the rows of latents: predictions only where the bundle has a scene encoder."""
        from latent_nerfstudio.models.bundle_encoder import read_scene_encoder
        from latent_nerfstudio.models.shared_bundle import read_shared_bundle

        has_encoder = read_scene_encoder(read_shared_bundle(self.bundle)) is not None
        return [name for name, settings in LATENT_ROWS.items() if has_encoder or "encoder" in settings]

    @property
    def pictures(self) -> Path:
        """Where the pictures of the figure lie."""
        return self.output.with_suffix("")

    def measured(self, data: Path, settings: Dict[str, Any], count: int, row: str) -> Numbers:
        """Learns the scenes and measures them, RGB without a bundle one by one; keeps a picture for the figure."""
        bundle = {"RGB": None, RGB_BUNDLE: self.rgb_bundle}.get(row, self.bundle)
        folders, together = [data], self.max_scenes
        if row == "RGB":  # alone, a scene has its own box
            folders, together = sorted(data.iterdir()), 1
        scenes, seconds = [], 0.0
        for folder in folders:
            trainer, own = learn(folder, bundle, together, **settings)
            names, seconds = trainer.pipeline.model.scene_names, seconds + own
            if self.figure is not None and (self.shown is None or self.shown in names):
                keep_pictures(trainer.pipeline, self.shown, self.pictures, f"{count}-{row}-{settings.get('steps')}")
            scenes += [held_out_quality(trainer.pipeline, i) for i in range(len(names))]
        numbers = {name: mean(scene[name] for scene in scenes) for name in scenes[0]}
        return {**numbers, "seconds": seconds / len(scenes)}


def split(data: Path, folder: Path, count: int, scenes: int) -> Path:
    """Scenes with `count` photos and their held-out views, as links."""
    for source in sorted(path.parent for path in data.glob("*/transforms.json"))[:scenes]:
        meta = json.loads((source / "transforms.json").read_text(encoding="utf-8"))
        frames = sorted(meta["frames"], key=lambda frame: frame["file_path"])
        held_out, rest = frames[::HELD_OUT_EVERY], [f for i, f in enumerate(frames) if i % HELD_OUT_EVERY]
        photos = [rest[i] for i in np.random.default_rng(SHUFFLED_WITH).permutation(len(rest))[:count]]
        meta["frames"] = photos + held_out
        names = ([frame["file_path"] for frame in part] for part in (photos, held_out))
        meta.update(split_of(*names))
        (folder / source.name).mkdir(parents=True)
        (folder / source.name / "transforms.json").write_text(json.dumps(meta), encoding="utf-8")
        (folder / source.name / "images").symlink_to((source / "images").resolve())
    return folder


def learn(
    data: Path,
    bundle: Optional[str],
    scenes: int,
    steps: int,
    encoder: bool = True,
    pull: Optional[float] = None,
    total_variation: Optional[float] = None,
    enlarge: int = 1,
) -> Tuple[Any, float]:
    """Learns scenes together, against the bundle if there is one; with a total variation in RGB.

    Returns:
        The trainer, and seconds of the processor from the first prediction or step to the last.
    """
    from nerfstudio.utils import profiler, writer

    from latent_nerfstudio.engine.trainer import seed_everything
    from latent_nerfstudio.method_configs.triplane import latent_triplane, triplane
    from latent_nerfstudio.models.latent_model import LatentModel
    from latent_nerfstudio.pipelines import scene_start

    config: Any = copy.deepcopy(latent_triplane.config if total_variation is None else triplane.config)
    pipeline = config.pipeline
    pipeline.datamanager.dataparser.data, pipeline.datamanager.latent_cache = data, "disk"
    pipeline.datamanager.scenes_per_batch = scenes
    pipeline.rgb_alignment_start, pipeline.train_decoder = None, False
    pipeline.model.shared_bundle, pipeline.model.autoencoder.enlarge = bundle, enlarge
    pipeline.datamanager.rays_per_batch = scenes * (enlarge * RAYS if total_variation is None else RGB_RAYS)
    if total_variation is not None:
        pipeline.model.nerf.total_variation_weight = total_variation
    config.max_num_iterations, config.output_dir = max(1, steps), Path(tempfile.mkdtemp())
    config.vis, config.contact_sheet, config.steps_per_pictures = "none", False, None
    config.steps_per_save = config.steps_per_eval_image = 10**9
    config.machine.device_type = "cuda" if torch.cuda.is_available() else "cpu"
    writer.EVENT_WRITERS.clear()
    profiler.PROFILER.clear()
    seed_everything(0)
    with nullcontext() if encoder else patch.object(LatentModel, "_encoder_of", lambda model, bundle: []):
        trainer = config.setup()
        trainer.setup()
    model = trainer.pipeline.model
    trainer.pipeline.datamanager.prepare(model.latent_space, model.meets_box)
    scene_start.PULL = scene_start.PULL if pull is None else pull
    begun = time.process_time()
    trainer.pipeline.start()
    if steps:
        trainer.train()
    return trainer, time.process_time() - begun


@torch.no_grad()
def held_out_quality(pipeline: Any, scene: int) -> Numbers:
    """Means over a scene's held-out views; LPIPS where its weights are."""
    from latent_nerfstudio.fleet.fit_chunk import views_of
    from latent_nerfstudio.latent_space.latent_space import as_float

    model, manager = pipeline.model.eval(), pipeline.datamanager
    cameras, views = manager.eval_dataset.cameras, []
    for view in views_of(cameras, scene):
        render = model.get_outputs_for_camera(cameras[view : view + 1].to(model.device))["rgb"]
        views.append(model.metrics(render, as_float(manager.cached_eval[view]["image"]).to(model.device)))
    return {name: mean(view[name] for view in views) for name in views[0]}


def keep_pictures(pipeline: Any, scene: Optional[str], folder: Path, name: str) -> None:
    """Writes the render of a held-out view of a scene, its photos and the truth."""
    from latent_nerfstudio.fleet.fit_chunk import views_of

    manager, model = pipeline.datamanager, pipeline.model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    index = 0 if scene is None else model.scene_names.index(scene)
    view = views_of(manager.eval_dataset.cameras, index)[SEEN_VIEW]
    camera = manager.eval_dataset.cameras[view : view + 1].to(model.device)
    save(folder / f"{name}.png", model.get_outputs_for_camera(camera)["rgb"])
    save(folder / "truth.png", manager.cached_eval[view]["image"])
    count = int(name.split("-", maxsplit=1)[0])
    for position, photo in enumerate(views_of(manager.train_dataset.cameras, index)[: min(count, 4)]):
        save(folder / f"{count}-photo-{position}.png", manager.cached_train[photo]["image"])


def save(path: Path, picture: torch.Tensor) -> None:
    """Writes a picture."""
    values = picture if picture.dtype == torch.uint8 else (picture.clamp(0, 1) * 255).round().byte()
    Image.fromarray(values.cpu().numpy()).save(path)


def draw(path: Path, pictures: Path) -> None:
    """Rows of one, two and four photos: the photos, the prediction, the fit, RGB, the truth."""
    size, gap, top = 192, 6, 18
    columns = ("photos", "prediction, no fitting", "prediction and fit", "RGB", "truth")
    counts = [count for count in (1, 2, 4) if (pictures / f"{count}-photo-0.png").is_file()]
    sheet = Image.new("RGB", (len(columns) * (size + gap), top + len(counts) * (size + gap)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(columns):
        pen.text((column * (size + gap) + 4, 3), title, fill="black")
    for row, count in enumerate(counts):
        y, half = top + row * (size + gap), size // 2
        for index in range(count):
            photo = enlarged(pictures / f"{count}-photo-{index}.png", size if count == 1 else half)
            sheet.paste(photo, (half * (index % 2) if count > 1 else 0, y + half * (index // 2)))
        names = (f"{count}-prediction-0", f"{count}-prediction and fit-300", f"{count}-RGB-300", "truth")
        for column, name in enumerate(names, start=1):
            picture = pictures / f"{name}.png"
            if picture.is_file():
                sheet.paste(enlarged(picture, size), (column * (size + gap), y))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def enlarged(path: Path, side: int) -> Image.Image:
    """A square picture of another size."""
    return Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def page(results: Results) -> str:
    """The page: PSNR, SSIM, LPIPS and seconds by the number of photos, and the curves."""
    counts = sorted({record["settings"]["photos"] for record in results.records})
    lines = [*preamble("Few photos a scene"), (__doc__ or "").split("\n\n")[2], ""]
    for name, form in (("psnr", "{:.1f}"), ("ssim", "{:.3f}"), ("lpips_squeeze", "{:.3f}"), ("seconds", "{:.2f}")):
        rows = [[row, *(number(best(results, row, count), name, form) for count in counts)] for row in rows_of(results)]
        if any(cell != "" for row in rows for cell in row[1:]):
            lines += [f"## {name}", "", *table(["photos", *map(str, counts)], rows), ""]
    picture = draw_curves(results)
    if picture is not None:
        lines += [f"## PSNR over seconds, {CURVE_OF} photos", "", f"![PSNR over seconds a scene]({picture.name})", ""]
    return "\n".join(lines)


def draw_curves(results: Results) -> Optional[Path]:
    """Draws PSNR over seconds a scene beside the page; None where no row has two points."""
    from latent_nerfstudio.reports.figures import plot_quality

    curves = {}
    for row in rows_of(results):
        own = [numbers for settings, numbers in results.find(photos=CURVE_OF) if row_name(settings) == row]
        points = sorted((numbers["seconds"], numbers["psnr"]) for numbers in own)
        if len(points) > 1:
            curves[row] = points
    if not curves:
        return None
    plot_quality(curves, results.path.with_suffix(".png"))
    return results.path.with_suffix(".png")


def rows_of(results: Results) -> List[str]:
    """Names of rows, those with another pull by themselves."""
    return list(dict.fromkeys(row_name(record["settings"]) for record in results.records))


def row_name(settings: Dict[str, Any]) -> str:
    """Name of a record's row."""
    return settings["row"] + (f", pull {settings['pull']:g}" if "pull" in settings else "")


def best(results: Results, row: str, count: int) -> Optional[Numbers]:
    """The record of a row: of latents with the steps of the tables, of RGB with the highest PSNR."""
    steps = LATENT_ROWS.get(row, {}).get("steps")
    own = [n for s, n in results.find(photos=count) if row_name(s) == row and steps in (None, s["steps"])]
    return max(own, key=lambda numbers: numbers["psnr"], default=None)


if __name__ == "__main__":
    tyro.cli(FewPhotos).main()
