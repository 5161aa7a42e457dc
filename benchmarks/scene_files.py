"""What a scene file costs: PSNR and bytes of scenes of each precision, and of scene weights alone.

    lns demo-scenes --output data/demo
    python benchmarks/scene_files.py --data data/demo

Scenes are fitted once against a shared bundle, of which nothing is trained, and measured on their held-out photos; then
they are written as scene files, read again into the same model, and measured again.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, List

import tyro
from common import Numbers, Results, Training, in_own_process, measure, named, number, preamble, table, temporary_folder

FORMS = ("in memory", "float32", "float16", "int8", "scene weights alone")
"""Rows of the table."""

FROZEN = ("--pipeline.train-decoder", "False", "--pipeline.rgb-alignment-start", "None")
"""Flags of ns-train that leave all shared parts as they are."""


@dataclass
class SceneFiles:
    """Fits, writes, reads and measures."""

    data: str = "data/demo"
    """Scenes, with flags of ns-train after them if need be."""
    bundle: str = "bundled"
    """Shared bundle."""
    steps: int = 300
    """Steps of latent supervision."""
    output: Path = Path("benchmarks/scene_files.json")
    """Numbers; the page is written beside them."""

    def main(self) -> None:
        flags = ("--pipeline.model.shared-bundle", self.bundle, *FROZEN)
        training = Training("latent-triplane", named(f"scenes={self.data}"), flags)
        settings = {"data": self.data, "bundle": self.bundle, "steps": self.steps}
        results = Results(self.output, page)
        results.record(settings, lambda: in_own_process(measure_forms, training, self.steps, self.bundle))
        print(self.output.with_suffix(".md").read_text(encoding="utf-8"))


def measure_forms(training: Training, steps: int, bundle: str) -> List[Numbers]:
    """Numbers of each of `FORMS`; they end with those of the training itself."""
    rows: List[Numbers] = []

    def also(pipeline: Any) -> Numbers:
        rows.extend(measure_files(pipeline, bundle))
        return {}

    trained = measure(training, [steps], also=also)[0]
    return [{**trained, "form": FORMS[0], "bytes": trained["bytes_per_scene"]}, *rows]


def measure_files(pipeline: Any, bundle: str) -> List[Numbers]:
    """PSNR, SSIM, bytes and milliseconds a scene of a pipeline's scenes after writing and reading."""
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle
    from latent_nerfstudio.scene_files.model_scenes import holds_bundle, put_scenes, scene_files_of
    from latent_nerfstudio.scene_files.scene_file import read_scene_file, write_scene_file

    model, shared = pipeline.model, read_shared_bundle(bundle)
    if not holds_bundle(model, shared):
        raise ValueError(
            f"{bundle}: expected all shared parts as they were, got a model that changed them; freeze them"
        )
    scenes = list(scene_files_of(model, shared.hash))
    rows: List[Numbers] = []
    for form in FORMS[1:]:
        alone = form == FORMS[-1]
        chosen = [replace(scene, micro_planes=None) for scene in scenes] if alone else scenes
        with temporary_folder() as folder:
            paths = {Path(folder) / f"{scene.name}.safetensors": scene for scene in chosen}
            precision: Any = "float32" if alone else form
            sizes, writing = timed(lambda p=paths, q=precision: [write_scene_file(*item, q) for item in p.items()])
            read, reading = timed(lambda p=paths: [read_scene_file(path, shared) for path in p])
        put_scenes(model, read)
        costs = {"bytes": max(sizes), "write_ms": 1000 * writing / len(read), "read_ms": 1000 * reading / len(read)}
        rows.append({"form": form, **costs, **pipeline.get_average_eval_image_metrics()})
    put_scenes(model, scenes)
    return rows


def timed(function: Callable[[], Any]) -> Any:
    """What a function returns, and the CPU seconds that it took."""
    started = time.process_time()
    result = function()
    return result, time.process_time() - started


def page(results: Results) -> str:
    """The page of all records."""
    lines = preamble("Scene files")
    for record in results.records:
        settings, rows = record["settings"], record["numbers"]
        lines += [*introduction(settings, rows), "", *table(HEAD, [cells(row, rows[0]) for row in rows]), ""]
    return "\n".join(lines)


HEAD = ("form", "PSNR", "against memory, dB", "SSIM", "bytes a scene", "writing, CPU ms", "reading, CPU ms")


def introduction(settings: Dict[str, Any], rows: List[Numbers]) -> List[str]:
    """What was measured on."""
    count, bundle, steps = len(rows[0]["scenes"]), settings["bundle"], settings["steps"]
    return [
        f"{count} scenes of `{settings['data']}`, fitted against the bundle `{bundle}` in {steps} steps of latent",
        "supervision, with everything frozen that it holds. PSNR and SSIM are means over held-out photos. Planes in",
        "memory are float32. Beside the scene weights alone, the micro planes are zero.",
    ]


def cells(row: Numbers, memory: Numbers) -> List[str]:
    """A row of the table."""
    difference = "-" if row is memory else f"{row['psnr'] - memory['psnr']:+.4f}"
    numbers = [number(row, "psnr", "{:.3f}"), difference, number(row, "ssim", "{:.4f}"), number(row, "bytes", "{:,}")]
    return [row["form"], *numbers, number(row, "write_ms", "{:.1f}"), number(row, "read_ms", "{:.1f}")]


if __name__ == "__main__":
    tyro.cli(SceneFiles).main()
