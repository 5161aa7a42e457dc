"""Seconds of a step, and memory, for more and more scenes of which a step sees 16.

    python benchmarks/scene_count.py --output benchmarks/scene_count.json

Every number of scenes is trained from the same generated pictures, by turns with the row optimizer that the method has
and with torch's Adam on dense gradients. `--large N` adds a run of N scenes whose pictures and latents are streamed,
with its peak memory.
"""

import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import tyro
from common import (
    Named,
    Numbers,
    Results,
    Training,
    after_each_step,
    in_own_process,
    make_trainer,
    preamble,
    table,
    temporary_folder,
)

SIDE = 32
"""Height and width of the pictures, pixels."""

VIEWS = 4
"""Of each scene; the first is held out."""

GROUPS = ("planes", "shared_planes")
"""Parameter groups that hold scenes."""

FLAGS = ("--pipeline.datamanager.scenes-per-batch", "16", "--pipeline.crop", "None")
"""Of all runs."""

STREAMED = ("--pipeline.datamanager.latent-storage", "stream")
"""Of the large run."""

OPTIMIZERS = ("rows", "dense")
"""The method's own, and torch's Adam on dense gradients."""


@dataclass
class SceneCount:
    """Measures latent-triplane on growing numbers of scenes."""

    output: Path = Path("benchmarks/scene_count.json")
    """JSON file of all numbers; a page in Markdown is written beside it."""
    scenes: Tuple[int, ...] = (4, 32, 256, 2048)
    """Numbers of scenes."""
    steps: int = 60
    """Steps of a run, one half in each stage; the first third of each is not timed."""
    rounds: int = 3
    """How often the runs of a number of scenes are repeated, in turn."""
    large: int = 0
    """Scenes of one streamed run with its peak memory; 0 for none."""
    resume: bool = False
    """Keep what an interrupted run of the same settings has written."""

    def main(self) -> None:
        results = Results(self.output, page, self.resume)
        with temporary_folder() as folder:
            data = write_scenes(Path(folder) / "scenes", max((*self.scenes, self.large)))
            for count in self.scenes:
                settings = {"scenes": count, "steps": self.steps, "rounds": self.rounds}
                results.record(settings, lambda s=settings: in_own_process(by_turns, str(data), s))
            if self.large:
                settings = {"streamed": True, "scenes": self.large, "steps": self.steps}
                results.record(settings, lambda: in_own_process(time_steps, str(data), settings, "rows", STREAMED))
        results.write()


def by_turns(data: str, settings: Dict[str, Any]) -> Dict[str, List[Numbers]]:
    """The numbers of all rounds of each optimizer."""
    found: Dict[str, List[Numbers]] = {name: [] for name in OPTIMIZERS}
    for _ in range(settings["rounds"]):
        for name in OPTIMIZERS:
            found[name].append(time_steps(data, settings, name))
    return found


def write_scenes(folder: Path, count: int) -> Path:
    """Scenes of small pictures of a ball, each of another colour, in the layout of `transforms.json`."""
    import numpy as np
    from PIL import Image

    from latent_nerfstudio.meshes.viewpoints import poses_towards

    rng = np.random.default_rng(0)
    directions = rng.normal(size=(VIEWS, 3))
    poses = poses_towards(3.0 * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    balls = [ball(pose) for pose in poses]
    intrinsics = {"fl_x": SIDE, "fl_y": SIDE, "cx": SIDE / 2, "cy": SIDE / 2, "w": SIDE, "h": SIDE}
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose.tolist()} for i, pose in enumerate(poses)]
    meta = {"camera_model": "OPENCV", **intrinsics, "aabb": [[-0.7] * 3, [0.7] * 3], "frames": frames}
    for scene in range(count):
        place = folder / f"{scene:06d}"
        place.mkdir(parents=True)
        tint = rng.uniform(0.2, 1.0, 3)
        for index, (shade, inside) in enumerate(balls):
            picture = np.concatenate([shade[..., None] * tint, inside[..., None]], axis=-1)
            Image.fromarray((picture * 255).astype(np.uint8)).save(place / f"{index}.png", compress_level=1)
        (place / "transforms.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def ball(pose: Any) -> Tuple[Any, Any]:
    """Shade and silhouette [SIDE, SIDE], in [0, 1], of a ball of radius 0.6 about the origin that is lit from above."""
    import numpy as np

    v, u = np.mgrid[:SIDE, :SIDE] + 0.5
    local = np.stack([(u - SIDE / 2) / SIDE, -(v - SIDE / 2) / SIDE, -np.ones_like(u)], axis=-1)
    rays = local @ pose[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = rays @ pose[:3, 3]
    under = along**2 - (pose[:3, 3] @ pose[:3, 3] - 0.36)
    height = (pose[2, 3] + rays[..., 2] * (-along - np.sqrt(under.clip(0)))) / 0.6
    return 0.7 + 0.3 * height.clip(-1, 1), (under > 0).astype(float)


def time_steps(data: str, settings: Dict[str, Any], optimizer: str, flags: Tuple[str, ...] = ()) -> Numbers:
    """Trains with latent supervision, then RGB alignment, and times the steps of both.

    Returns:
        `supervision_ms` and `alignment_ms`, medians of the CPU time of a step; `preparation_seconds` of CPU time;
        `peak_gb`, the largest resident memory of the process so far, and `base_gb`, that before anything was built.
    """
    from statistics import median

    from nerfstudio.engine.optimizers import AdamOptimizerConfig

    count, steps = settings["scenes"], settings["steps"]
    half = ("--pipeline.rgb-alignment-start", str(steps // 2))
    half += ("--pipeline.datamanager.latent-cache", str(Path(data).parent / "latents"))
    training = Training("latent-triplane", Named("scenes", data), (*FLAGS, *half, *flags))
    arguments = [*training.arguments(steps), "scenes", "--max-scenes", str(count)]
    base = peak_gb()
    times: List[float] = []
    with temporary_folder() as folder:
        started = time.process_time()
        trainer = make_trainer(arguments, Path(folder))
        for group, settings_of_group in trainer.config.optimizers.items():
            if optimizer == "dense" and group in GROUPS:
                settings_of_group["optimizer"] = AdamOptimizerConfig(eps=1e-15)
            settings_of_group["optimizer"].lr = 0.0  # the time of a step depends on what the planes show
        trainer.setup()
        preparation = time.process_time() - started
        after_each_step(trainer, lambda step: times.append(time.process_time()))
        trainer.save_checkpoint = lambda step: None
        trainer.train()
    spans = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    first, second = spans[steps // 6 : steps // 2 - 2], spans[steps // 2 + steps // 6 :]
    return {
        "supervision_ms": 1000 * median(first),
        "alignment_ms": 1000 * median(second),
        "preparation_seconds": preparation,
        "base_gb": base,
        "peak_gb": peak_gb(),
    }


def peak_gb() -> float:
    """Largest resident memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def page(results: Results) -> str:
    """The table of what has been measured so far."""
    from statistics import median

    rows = []
    for settings, numbers in results.find():
        if "streamed" in settings:
            continue
        cells = [str(settings["scenes"])]
        for optimizer in OPTIMIZERS[::-1]:
            for name in ("supervision_ms", "alignment_ms"):
                cells.append(f"{median(one[name] for one in numbers[optimizer]):.1f}")
        rows.append(cells)
    head = ["scenes"] + [f"{stage}, {kind}" for kind in OPTIMIZERS[::-1] for stage in ("supervision", "alignment")]
    lines = [*preamble("Steps and memory of many scenes"), *EXPLANATION, *table(head, rows), ""]
    for settings, numbers in results.find(streamed=True):
        lines += [LARGE.format(settings["scenes"], settings["steps"], **numbers), ""]
    return "\n".join(lines)


EXPLANATION = (
    f"`latent-triplane`: {VIEWS - 1} training views of {SIDE} x {SIDE} pixels a scene, 16 scenes a step (4 where there",
    "are no more). CPU milliseconds of a step, the median of a run and then of the rounds, of latent supervision and",
    "of RGB alignment on whole pictures. Learning rates are 0: the time of a step depends on what the planes show.",
    "`dense` is torch's Adam on dense gradients, `rows` the method's own optimizer; they ran by turns in one process.",
    "",
)

LARGE = (
    "{} scenes, `--pipeline.datamanager.latent-storage stream`, {} steps: {supervision_ms:.1f} and {alignment_ms:.1f} "
    "ms a step, {preparation_seconds:.0f} CPU seconds of preparation (reading, encoding), peak {peak_gb:.2f} GB of "
    "memory, of which {base_gb:.2f} GB before anything was built."
)


if __name__ == "__main__":
    tyro.cli(SceneCount).main()
