"""Nerfstudio's own nerfacto on this machine, for the same seconds as the rows of `nerfs.py`.

    python benchmarks/nerfacto.py --data "fox=FOX --pipeline.datamanager.camera-res-scale-factor 0.5 nerfstudio-data"

Defaults but for what a CPU cannot take: torch instead of tiny-cuda-nn, and fewer rays a step; of two such numbers both
are measured. An object takes further flags: `--pipeline.model.background-color white
--pipeline.model.disable-scene-contraction True`. The command for a GPU is `ns-train nerfacto --data FOLDER`. PSNR is
that of every third row and column of the held-out views, at which its rendering takes minutes here instead of an hour;
there is no SSIM and no LPIPS of such.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Tuple
from unittest.mock import patch

import torch
import tyro
from common import (
    NEVER,
    Numbers,
    Results,
    Stopwatch,
    Training,
    after_each_step,
    in_own_process,
    make_trainer,
    named,
    number,
    preamble,
    seconds_a_step,
    table,
    temporary_folder,
)

ON_A_CPU = (
    *("--machine.device-type", "cpu", "--mixed-precision", "False", "--pipeline.model.implementation", "torch"),
    *("--vis", "tensorboard", "--steps-per-save", NEVER, "--steps-per-eval-batch", NEVER),
    *("--steps-per-eval-image", NEVER, "--steps-per-eval-all-images", NEVER),
)

EVERY = 3
"""Which rows and columns of a held-out view are rendered."""

TRIAL_STEPS = 10
"""Steps that the rate is measured on, after as many others."""


@dataclass
class MeasureNerfacto:
    """Trains nerfacto for some CPU seconds on each scene, and measures it on the held-out views."""

    data: Tuple[str, ...]
    """Scenes, one each: `NAME=FOLDER FLAGS... DATAPARSER`, in quotes."""
    rays: Tuple[int, ...] = (1024, 4096)
    """Rays a step, each a row; 4096 is Nerfstudio's number."""
    seconds: float = 200.0
    """CPU seconds of each row."""
    output: Path = Path("benchmarks/nerfacto.json")
    """JSON file; a page is written beside it."""
    resume: bool = False
    """Keep what an earlier run has measured."""

    def main(self) -> None:
        """Measures and writes as the numbers come."""
        results = Results(self.output, page, self.resume)
        for text in self.data:
            scene = named(text)
            for rays in self.rays:
                flags = ("--pipeline.datamanager.train-num-rays-per-batch", str(rays))
                training = Training("nerfacto", scene, flags, ON_A_CPU)
                settings = {"scene": scene.name, "rays": rays, "seconds": self.seconds, "flags": scene.flags}
                results.record(settings, lambda training=training: in_own_process(measure, training, self.seconds))


def measure(training: Training, seconds: float) -> Numbers:
    """Steps, CPU seconds and PSNR of a training of some CPU seconds."""
    with patch("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", no_network):
        [rate] = seconds_a_step(training, [2 * TRIAL_STEPS], TRIAL_STEPS)
        steps, watch = max(1, round(seconds / rate)), Stopwatch()
        with temporary_folder() as folder:
            trainer = make_trainer(training.arguments(steps), Path(folder))
            trainer.setup()
            after_each_step(trainer, lambda step: watch.pause() if step + 1 == steps else None)
            watch.go()
            trainer.train()
            return {"steps": steps, "cpu_seconds": watch.cpu, "psnr": held_out_psnr(trainer.pipeline)}


@torch.no_grad()
def held_out_psnr(pipeline: Any) -> float:
    """Mean PSNR over held-out views, of every third row and column, dB."""
    model, manager = pipeline.model.eval(), pipeline.datamanager
    values = []
    for camera, batch in manager.fixed_indices_eval_dataloader:
        rays = camera.to(model.device).generate_rays(0, keep_shape=True)[::EVERY, ::EVERY]
        truth = model.renderer_rgb.blend_background(batch["image"][::EVERY, ::EVERY].to(model.device))
        render = model.get_outputs_for_camera_ray_bundle(rays)["rgb"]
        values.append(-10 * torch.log10((render - truth).square().mean()).item())
    return mean(values)


def no_network(**_: Any) -> Any:
    """Stands for LPIPS, whose weights Nerfstudio would download."""
    return lambda *pictures: 0.0


def page(results: Results) -> str:
    """The table as Markdown."""
    rows = [
        [own["scene"], str(own["rays"]), str(numbers["steps"])]
        + [number(numbers, "cpu_seconds", "{:.0f}"), number(numbers, "psnr")]
        for own, numbers in results.find()
    ]
    head = ["scene", "rays a step", "steps", "CPU seconds", "PSNR"]
    return "\n".join([*preamble("Nerfstudio's own nerfacto"), *table(head, rows), ""])


if __name__ == "__main__":
    tyro.cli(MeasureNerfacto).main()
