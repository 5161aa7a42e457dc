"""Where a step of latent supervision and a rendered frame take their time, and what makes them faster.

    lns demo-scenes --output data/demo
    python benchmarks/step_time.py --data data/demo

Variants of a step take turns within one training, so that a busy machine disturbs all alike, and their seconds are the
process's CPU seconds. Metrics are those of trainings of their own.
"""

import time
import warnings
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple
from unittest.mock import patch

import tyro
from common import (
    Flags,
    Named,
    Numbers,
    Results,
    Training,
    in_own_process,
    make_trainer,
    preamble,
    table,
    temporary_folder,
)

NO_ALIGNMENT = ("--pipeline.rgb-alignment-start", "None")

METHODS: Dict[str, Tuple[str, Flags]] = {
    "latent-triplane, bundled shared parts": (
        "latent-triplane",
        ("--pipeline.model.shared-bundle", "bundled", *NO_ALIGNMENT),
    ),
    "triplane (RGB)": ("triplane", ()),
}
"""Name and flags of what is measured."""

SHARES = (0.0, 0.001, 0.01, 0.03, 0.1)
"""Of the mean gradient, below which a point is left out of the backward pass."""

PARTS: Dict[str, Sequence[str]] = {
    "draw": ("latent_nerfstudio.data.latent_datamanager.LatentDataManager.next_train",),
    "rays": ("latent_nerfstudio.data.latent_datamanager.pixel_rays",),
    "box clip": ("latent_nerfstudio.models.rendering.BoxedModel.clip",),
    "planes composed": ("latent_nerfstudio.fields.triplane_field.TriplaneField.scene_planes",),
    "samples": ("nerfstudio.model_components.ray_samplers.SpacedSampler.generate_ray_samples",),
    "lookup and MLP": ("latent_nerfstudio.fields.triplane_field.triplane_mlp",),
    "density and range": ("latent_nerfstudio.fields.triplane_field.TriplaneField.forward",),
    "compositing": ("latent_nerfstudio.models.triplane.ray_weights", "latent_nerfstudio.models.triplane.composite"),
    "total variation": ("latent_nerfstudio.models.triplane.total_variation",),
    "backward of lookup and MLP": ("latent_nerfstudio.kernels.triplane_torch._TriplaneMLP.backward",),
    "backward of the rest": ("torch.Tensor.backward",),
    "Adam": ("nerfstudio.engine.optimizers.Optimizers.optimizer_scaler_step_some",),
    "the rest of the model": ("latent_nerfstudio.models.latent_model.LatentModel.get_outputs",),
    "the rest of the pipeline": ("latent_nerfstudio.pipelines.latent_pipeline.LatentPipeline.get_train_loss_dict",),
    "Nerfstudio's loop": ("latent_nerfstudio.engine.trainer.LatentTrainer.train_iteration",),
}
"""Functions by part; what a part calls of another counts for the other."""


@dataclass
class StepTime:
    """Measures steps and frames."""

    data: Path = Path("data/demo")
    """Scenes to learn."""
    steps: int = 150
    """Of the training in which variants take turns."""
    output: Path = Path("benchmarks/step_time.json")
    """The numbers; the table lies beside it."""

    def main(self) -> None:
        results = Results(self.output, page, resume=True)
        for name in METHODS:
            results.record({"study": "steps", "method": name, "steps": self.steps}, partial(self.of_steps, name))
        results.record({"study": "lookup"}, partial(in_own_process, lookups))
        results.record({"study": "composition"}, partial(in_own_process, compositions))
        results.record({"study": "frames"}, partial(in_own_process, frames, self.training(next(iter(METHODS)))))
        results.write()

    def training(self, name: str) -> Training:
        """What is trained."""
        method, flags = METHODS[name]
        return Training(method, Named(self.data.name, str(self.data)), flags)

    def of_steps(self, name: str) -> Numbers:
        """See `steps_in_turn`."""
        return in_own_process(steps_in_turn, self.training(name), self.steps)


def steps_in_turn(training: Training, steps: int) -> Numbers:
    """Median milliseconds of a step of each variant, which take turns; then the parts of the default's steps."""
    with temporary_folder() as folder:
        trainer = make_trainer(training.arguments(10_000), Path(folder))
        trainer.setup()
        trainer.pipeline.train()
        spent: Dict[str, List[float]] = defaultdict(list)
        for step in range(steps):
            share = SHARES[step % len(SHARES)]
            with patch("latent_nerfstudio.fields.triplane_field.NEGLIGIBLE_GRADIENT", share):
                spent[str(share)].append(milliseconds(partial(trainer.train_iteration, step)))
        with timed_parts() as parts:
            for step in range(steps, steps + 30):
                trainer.train_iteration(step)
    late = {name: median(values[len(values) // 3 :]) for name, values in spent.items()}
    return {"milliseconds": late, "parts": {name: value / 30 for name, value in parts.items()}}


def milliseconds(function: Callable[[], Any]) -> float:
    """CPU milliseconds of a call."""
    began = time.process_time()
    function()
    return 1e3 * (time.process_time() - began)


@contextmanager
def timed_parts() -> Iterator[Dict[str, float]]:
    """CPU milliseconds of each of `PARTS` while this is open, without those of the parts that it calls."""
    spent: Dict[str, float] = dict.fromkeys(PARTS, 0.0)
    inner: List[float] = []

    def timed(original: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            inner.append(0.0)
            try:
                return original(*args, **kwargs)
            finally:
                whole = 1e3 * (time.process_time() - began)
                spent[part] += whole - inner.pop()
                if inner:
                    inner[-1] += whole

        return call

    with ExitStack() as stack:
        for part, targets in PARTS.items():
            for target in targets:
                replacement: Any = timed(resolve_name(target), part)
                stack.enter_context(patch(target, staticmethod(replacement) if is_static(target) else replacement))
        yield spent


def is_static(target: str) -> bool:
    """Whether a function of a class is called without an object: the backward pass of an autograd function is."""
    return target.endswith("._TriplaneMLP.backward")


def lookups() -> Numbers:
    """Milliseconds of ways to sum up three planes at 36,000 points of 4 scenes (planes 32 x 32 x 32), each way."""
    import torch

    from latent_nerfstudio.fields.planes import PLANE_AXES, sample_planes
    from latent_nerfstudio.kernels.triplane_torch import spread, texels_of

    torch.manual_seed(0)
    scenes, points = 4, 9000
    planes = torch.randn(scenes, 3, 32, 32, 32)
    positions, slots = torch.rand(scenes, points, 3) * 2 - 1, torch.arange(scenes).repeat_interleave(points)
    gradient = torch.randn(scenes, points, 32)

    def sampled(last: bool) -> Tuple[float, float]:
        own = planes.clone()
        if last:
            own = own.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        own.requires_grad_()
        made: List[Any] = []
        forward = milliseconds(lambda: made.append(sample_planes(own, positions).sum(dim=1)))
        return forward, milliseconds(lambda: made[0].backward(gradient))

    def bagged() -> Tuple[float, float]:
        made: List[Any] = []

        def forward() -> None:
            made.extend(texels_of(positions.flatten(0, 1), slots, 32, 32, PLANE_AXES))
            flat = planes.permute(0, 1, 3, 4, 2).contiguous().flatten(0, 3)
            torch.nn.functional.embedding_bag(made[0], flat, mode="sum", per_sample_weights=made[1])

        spent = milliseconds(forward)
        return spent, milliseconds(lambda: spread(gradient.flatten(0, 1), made[0], made[1], scenes * 3 * 32 * 32))

    ways: Dict[str, Callable[[], Tuple[float, float]]] = {
        "grid_sample": partial(sampled, False),
        "grid_sample, channels-last planes": partial(sampled, True),
        "embedding bags": bagged,
    }
    runs = {name: [way() for _ in range(15)][3:] for name, way in ways.items()}
    return {
        name: {"forward": median(f for f, _ in pairs), "backward": median(b for _, b in pairs)}
        for name, pairs in runs.items()
    }


def compositions() -> Numbers:
    """Milliseconds of composing the planes of one scene, of the default size and of the papers'."""
    import torch

    from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig

    spent = {}
    for bases, side in ((8, 32), (50, 64)):
        config = TriplaneFieldConfig(
            micro_features=10, macro_features=22, num_base_planes=bases, resolution=side, implementation="torch"
        )
        field = config.setup(num_scenes=1, num_channels=16)
        with torch.no_grad():
            runs = [milliseconds(partial(field.scene_planes, torch.tensor([0]))) for _ in range(15)]
        spent[f"{bases} base planes, {side} x {side}"] = median(runs[3:])
    return spent


def frames(training: Training) -> Numbers:
    """Median milliseconds of a held-out frame, of its decoder, and of scenes in one call, with and without each idea.

    `psnr` is that of a decoded frame against the one in float32.
    """
    import torch

    with temporary_folder() as folder:
        trainer = make_trainer(training.arguments(10_000), Path(folder))
        trainer.setup()
        for step in range(20):
            trainer.train_iteration(step)
        model = trainer.pipeline.model.eval()
        cameras = trainer.pipeline.datamanager.eval_dataset.cameras
        scenes = torch.arange(len(model.scene_names)).tolist()
        camera = cameras[:1]
        latents = model.get_outputs_for_camera(camera, with_latents=True)["latent_channels"][None]
        height, width = int(camera.height[0]), int(camera.width[0])

        def composed_anew() -> None:
            model.nerf.kept_planes = None
            model.get_outputs_for_camera(camera)

        def in_bfloat16() -> Any:
            with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16):
                return model.latent_space.decode(latents, height, width).float()

        def in_float32() -> Any:
            with torch.no_grad():
                return model.latent_space.decode(latents, height, width)

        ways: Dict[str, Callable[[], Any]] = {
            "frame, planes composed anew": composed_anew,
            "frame, planes kept": lambda: model.get_outputs_for_camera(camera),
            "all scenes, one by one": lambda: [model.renderer.render_scenes(camera, [scene]) for scene in scenes],
            "all scenes in one call": lambda: model.renderer.render_scenes(camera, scenes),
            "decoder in float32": in_float32,
            "decoder in bfloat16": in_bfloat16,
        }
        spent: Dict[str, List[float]] = defaultdict(list)
        for _ in range(15):
            for name, way in ways.items():
                spent[name].append(milliseconds(way))
        error = (in_bfloat16().clamp(0, 1) - in_float32().clamp(0, 1)).square().mean()
        times = {name: median(values[3:]) for name, values in spent.items()}
        return {"milliseconds": times, "scenes": len(scenes), "psnr": float(-10 * error.log10())}


def page(results: Results) -> str:
    """The tables."""
    lines = preamble("Time of a step")
    for settings, numbers in results.find(study="steps"):
        lines += ["", f"## Steps of {settings['method']}", "", *steps_table(numbers)]
        lines += ["", "Parts of such a step, with the default:", "", *parts_table(numbers["parts"])]
    for _, numbers in results.find(study="lookup"):
        rows = [[name, f"{n['forward']:.1f}", f"{n['backward']:.1f}"] for name, n in numbers.items()]
        lines += ["", "## Lookup alone", "", f"{lookups.__doc__}", ""]
        lines += table(("way", "forwards", "backwards"), rows)
    for _, numbers in results.find(study="frames"):
        lines += ["", "## Frames", "", *frames_table(numbers)]
    for _, numbers in results.find(study="composition"):
        spent = "; ".join(f"{name}: {value:.1f} ms" for name, value in numbers.items())
        lines += ["", f"Of a frame, composing its scene's planes takes, where they are not kept, {spent}."]
    return "\n".join([*lines, ""])


def steps_table(numbers: Numbers) -> List[str]:
    """Milliseconds of each variant, and how much faster it is than a backward pass that visits all points."""
    spent = numbers["milliseconds"]
    rows = [[f"negligible below {n}", f"{ms:.1f}", f"{spent['0.0'] / ms:.2f}"] for n, ms in spent.items()]
    return table(("backward pass", "ms a step", "times as fast"), rows)


def parts_table(parts: Dict[str, float]) -> List[str]:
    """Milliseconds of each part, and its share."""
    whole = sum(parts.values())
    rows = [[name, f"{value:.2f}", f"{100 * value / whole:.0f} %"] for name, value in parts.items()]
    return table(("part", "ms", "share"), [*rows, ["all", f"{whole:.2f}", "100 %"]])


def frames_table(numbers: Numbers) -> List[str]:
    """Milliseconds of each way, in pairs of before and after."""
    names = list(numbers["milliseconds"])
    rows = []
    for before, after in zip(names[::2], names[1::2], strict=True):
        old, new = numbers["milliseconds"][before], numbers["milliseconds"][after]
        rows.append([before, f"{old:.1f}", after, f"{new:.1f}", f"{old / new:.2f}"])
    note = f"The decoded picture in bfloat16 has a PSNR of {numbers['psnr']:.1f} dB against that in float32."
    return [*table(("before", "ms", "after", "ms", "times as fast"), rows), "", note]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(StepTime).main()
