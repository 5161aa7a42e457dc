"""What only a GPU can show, in one command of at most eight minutes on an H100, without a network: `make gpu-check`.

    python scripts/gpu_check.py

Each section compares or measures, and adds rows to the table that is printed last; a section that fails is a row, too.
"""

import copy
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch
import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "scripts")]

from common import machine, table  # noqa: E402
from docs_reference import own_methods  # noqa: E402
from kernels import Kernels, bandwidth, kernels  # noqa: E402

LNS = (sys.executable, "-W", "ignore", "-m", "latent_nerfstudio.cli.main")

NEVER = 1_000_000
"""Interval of what would disturb the clock."""

CLOSE = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 1e-2}
"""Largest difference of a kernel's values and gradients from its twin's, relative in the mean square, by planes."""

LOSSES = 1.3
"""Largest ratio of the last losses on GPU and CPU: steps jitter their samples by the random numbers of the device."""

WAITS = {"latent supervision": 4, "RGB alignment": 8, "joint training": 12}
"""Most waits of the host for the device in a step."""

STAGES = {
    "latent supervision": ("latent-triplane", {"rgb_alignment_start": None}),
    "RGB alignment": ("latent-triplane", {"rgb_alignment_start": 0}),
    "joint training": ("ig-ae", {"joint_training_start": 0}),
}
"""Method, and settings of its pipeline, of the steps that are timed."""


@dataclass
class Row:
    """A line of the table."""

    check: str
    """What was looked at."""
    measured: str
    """What was found."""
    expected: str = ""
    """What it should be; empty where there is no bound."""
    ok: bool = True
    """Whether it is."""


def late(check: str) -> Row:
    """A check that there was no time for."""
    return Row(check, "left out", "within the time", ok=False)


@dataclass
class GpuCheck:
    """Checks and measures on a GPU."""

    sections: Tuple[str, ...] = ("kernels", "steps", "frames", "inventory", "methods", "tests")
    """What to do, in this order."""
    device: str = "cuda"
    """Device that is checked."""
    methods: Optional[Tuple[str, ...]] = None
    """Methods to train; by default all that need no download."""
    steps: int = 50
    """Steps of each training, half of them of RGB alignment."""
    points: int = 1 << 20
    """Points at once that kernels are timed on."""
    cars: int = 256
    """Generated scenes that are fitted against the bundled bundle."""
    views: int = 24
    """Views of each scene."""
    sizes: Tuple[int, ...] = (128, 512)
    """Pixels a side of the frames that are timed."""
    seconds: float = 480.0
    """A section that would begin later than this is left out, and its programs end by then."""

    def main(self) -> None:
        began, rows = time.monotonic(), []
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            work = Work(self, Path(folder), began + self.seconds)
            for name in self.sections:
                for row in section(name, work):
                    print(f"{row.check}: {row.measured}", flush=True)
                    rows.append(row)
        rows.append(Row("all", f"{time.monotonic() - began:.0f} s", f"at most {self.seconds:.0f} s"))
        print("\n".join(["", machine(), "", *report(rows)]))
        if not all(row.ok for row in rows):
            raise SystemExit(1)


@dataclass
class Work:
    """What the sections share."""

    settings: GpuCheck
    folder: Path
    """Where runs and scenes are written."""
    deadline: float
    """By the monotonic clock."""
    trained: Dict[str, Any] = field(default_factory=dict)
    """Trainers by the stage that they were left in."""

    @property
    def device(self) -> torch.device:
        return torch.device(self.settings.device)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def scene(self) -> Path:
        """A folder of one car, drawn when it is first asked for."""
        folder = self.folder / "car"
        if not folder.exists():
            self.call(*LNS, "demo-scenes", "--output", folder, "--num-scenes", 1, "--views", self.settings.views)
        return folder

    def call(self, *words: object) -> str:
        """What a program prints; it ends by the deadline.

        Raises:
            RuntimeError: it fails.
        """
        command = [str(word) for word in words]
        limit = max(1.0, self.left())
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[-6:])}: {(done.stdout + done.stderr).strip()[-300:]}")
        return done.stdout


def section(name: str, work: Work) -> Iterator[Row]:
    """The rows of a section, and its peak of memory; an error is a row, too."""
    if work.left() <= 0:
        yield late(name)
        return
    try:
        yield from SECTIONS[name](work)
    except Exception as error:
        yield Row(name, f"{type(error).__name__}: {error}".replace("\n", " ")[:300], "no error", ok=False)
    yield from peak_memory(name, work.device)


def peak_memory(name: str, device: torch.device) -> Iterator[Row]:
    """The most memory that tensors took on a GPU since this was last asked."""
    if device.type == "cuda":
        yield Row(f"{name}: peak memory", f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB")
        torch.cuda.reset_peak_memory_stats(device)


def report(rows: List[Row]) -> List[str]:
    """The table."""
    cells = [[row.check, row.measured, row.expected, "" if row.ok else "FAILED"] for row in rows]
    return table(("check", "measured", "expected", ""), cells)


# Kernels


def check_kernels(work: Work) -> Iterator[Row]:
    """Values, gradients and points a second of the lookup's kernels, at the sizes of `latent-triplane`."""
    bench = Kernels(points=work.settings.points, repeats=10)
    rate = bandwidth(work.device, bench.repeats)
    yield Row("copying memory", f"{rate / 1e9:.0f} GB/s")
    found = kernels()
    names = [name for name in ("torch", "triton") if name == "torch" or work.device.type == "cuda"]
    for planes, allowed in CLOSE.items():
        dtype = getattr(torch, planes)
        wanted = values_of(found["autograd"], bench, dtype, work.device)
        for name in names:
            pairs = zip(wanted, values_of(found[name], bench, dtype, work.device), strict=True)
            error = max(relative_error(*pair) for pair in pairs)
            what = f"{name}, {planes}: values and gradients"
            yield Row(what, f"{error:.1e}", f"at most {allowed:g}", error <= allowed)
            for direction in ("forward", "forward and backward"):
                numbers = bench.measure(found[name], dtype, direction, work.device)
                points, floor = bench.points / numbers["seconds"], numbers["floor_bytes"] / rate / numbers["seconds"]
                yield Row(f"{name}, {planes}: {direction}", f"{points / 1e6:.1f} M points/s, {floor:.1%} of the floor")


def values_of(kernel: Callable[..., Any], bench: Kernels, dtype: torch.dtype, device: torch.device) -> List[Any]:
    """Outputs of a kernel, and the gradients of planes and MLP."""
    from latent_nerfstudio.fields.planes import PLANE_AXES

    planes, positions, slots, weights, gradient = bench.inputs(dtype, device)
    outputs = kernel(planes, positions, slots, weights, PLANE_AXES)
    return [outputs.detach(), *torch.autograd.grad(outputs, (planes, *weights), gradient.to(outputs))]


def relative_error(wanted: torch.Tensor, got: torch.Tensor) -> float:
    """Root of the mean squared difference, in that of the wanted values."""
    return float((wanted - got).float().norm() / wanted.float().norm())


# Training


def check_methods(work: Work) -> Iterator[Row]:
    """Losses of each method on the device and on the CPU, from the same parameters and batches."""
    for name in work.settings.methods or local_methods():
        if work.left() <= 0:
            yield late(name)
            continue
        losses = {}
        for device in dict.fromkeys((work.settings.device, "cpu")):
            if device == "cpu" and "splatfacto" in name:
                continue
            trainer = trainer_of(name, work, device)
            losses[device] = [float(trainer.train_iteration(step)[0]) for step in range(work.settings.steps)]
            trainer.resources.close()
        yield loss_row(name, losses, work.settings.device)
        yield from peak_memory(name, work.device)


def loss_row(name: str, losses: Dict[str, List[float]], device: str) -> Row:
    """The mean loss of the last fifth of a training beside the CPU's."""
    last = {key: mean(values[-max(1, len(values) // 5) :]) for key, values in losses.items()}
    ratio = last[device] / last.get("cpu", last[device])
    text = f"loss {losses[device][0]:.4f} to {last[device]:.4f}, CPU {last.get('cpu', float('nan')):.4f}"
    return Row(f"{name}, {len(losses[device])} steps", text, f"CPU's within {LOSSES:g}x", 1 / LOSSES < ratio < LOSSES)


def local_methods() -> List[str]:
    """Our methods whose autoencoder comes with the package, last those whose kernels are compiled at first use."""
    found = {name: method.config.pipeline.model.autoencoder.source for name, method in own_methods().items()}
    local = [name for name, source in found.items() if source == "identity" or source.startswith("bundled")]
    return sorted(local, key=lambda name: name in ("latent-instant-ngp", "latent-splatfacto"))


def trainer_of(method: str, work: Work, device: str, **pipeline: Any) -> Any:
    """A trainer of one car that is set up, with ns-train's seeds."""
    from nerfstudio.utils import writer

    from latent_nerfstudio.engine.trainer import seed_everything

    config: Any = copy.deepcopy(own_methods()[method].config)
    steps = work.settings.steps
    config.output_dir = Path(tempfile.mkdtemp(dir=work.folder))
    config.experiment_name, config.timestamp = "check", "run"
    config.max_num_iterations, config.vis, config.contact_sheet = 2 * steps + 10, "tensorboard", False
    config.steps_per_pictures, config.steps_per_save, config.steps_per_eval_image = None, NEVER, NEVER
    config.machine.device_type = device
    config.data = config.pipeline.datamanager.data = work.scene()
    config.pipeline.datamanager.latent_cache = "memory"
    if config.pipeline.rgb_alignment_start is not None:
        config.pipeline.rgb_alignment_start = steps // 2
    if hasattr(config.pipeline, "joint_training_start"):
        config.pipeline.joint_training_start = steps // 2
    for name, value in pipeline.items():
        setattr(config.pipeline, name, value)
    writer.EVENT_WRITERS.clear()
    seed_everything(config.machine.seed)
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    trainer.pipeline.train()
    return trainer


def check_steps(work: Work) -> Iterator[Row]:
    """Milliseconds and waits of a step of each stage, and the ten operations that take the most time."""
    for stage, (method, settings) in STAGES.items():
        trainer = work.trained[stage] = trainer_of(method, work, work.settings.device, **settings)
        steps = work.settings.steps
        spent = [milliseconds(partial(trainer.train_iteration, step), work.device) for step in range(steps)]
        waits, top = profile(trainer, range(steps, steps + 10))
        most = WAITS[stage]
        yield Row(f"{stage}: a step", f"{median(spent[steps // 3 :]):.2f} ms")
        yield Row(f"{stage}: waits a step", f"{waits:.1f}", f"at most {most}", waits <= most)
        yield from (Row(f"{stage}: {name}", f"{value:.3f} ms a step") for name, value in top)


def profile(trainer: Any, steps: range) -> Tuple[float, List[Tuple[str, float]]]:
    """Waits a step of the host for the device, and milliseconds a step of the ten longest operations."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    on_gpu = torch.device(trainer.config.machine.device_type).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profiler(activities=activities) as found:
        for step in steps:
            trainer.train_iteration(step)
    events = found.key_averages()
    waits = sum(event.count for event in events if event.key.endswith("Synchronize"))
    clock = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    longest = sorted(events, key=lambda event: -getattr(event, clock))[:10]
    return waits / len(steps), [(event.key[:60], getattr(event, clock) / 1e3 / len(steps)) for event in longest]


def milliseconds(function: Callable[[], Any], device: torch.device) -> float:
    """Of a call, with what it has the device do."""
    began = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


# What people wait for


def check_frames(work: Work) -> Iterator[Row]:
    """Frames a second of a scene of `latent-triplane`, decoded."""
    stage = "latent supervision"
    trainer = work.trained.get(stage) or trainer_of(STAGES[stage][0], work, work.settings.device)
    model = trainer.pipeline.model.eval()
    for size in work.settings.sizes:
        camera = trainer.pipeline.datamanager.eval_dataset.cameras[:1].to(work.device)
        camera.rescale_output_resolution(size / int(camera.height[0]))
        draw = partial(model.get_outputs_for_camera, camera)
        spent = [milliseconds(draw, work.device) for _ in range(15)]
        yield Row(f"frames of {size} x {size}", f"{1e3 / median(spent[5:]):.1f} a second")


def check_inventory(work: Work) -> Iterator[Row]:
    """Scenes a second of `lns fit-scenes` on generated cars."""
    data, output, count = work.folder / "cars", work.folder / "fitted", work.settings.cars
    size = ("--views", work.settings.views, "--size", 64)
    began = time.monotonic()
    work.call(*LNS, "demo-scenes", "--output", data, "--num-scenes", count, "--seed", 7, *size)
    drawn = time.monotonic()
    work.call(*LNS, "fit-scenes", data, "--output", output)
    fitted = time.monotonic()
    done = len(list((output / "scenes").glob("*.safetensors")))
    yield Row("drawing cars", f"{count / (drawn - began):.2f} scenes/s")
    yield Row("lns fit-scenes", f"{done / (fitted - drawn):.2f} scenes/s", f"{count} scenes", done == count)


def check_tests(work: Work) -> Iterator[Row]:
    """The tests that need a GPU."""
    last = work.call(sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests").strip().splitlines()[-1]
    yield Row("tests marked gpu", last.strip("= "), "passed", " passed" in last)


SECTIONS: Dict[str, Callable[[Work], Iterator[Row]]] = {
    "kernels": check_kernels,
    "methods": check_methods,
    "steps": check_steps,
    "frames": check_frames,
    "inventory": check_inventory,
    "tests": check_tests,
}


if __name__ == "__main__":
    tyro.cli(GpuCheck).main()
