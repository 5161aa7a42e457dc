"""What the benchmarks share: trainings that are measured on their way, in processes of their own, and tables that are
written as the numbers come."""

import datetime
import json
import os
import platform
import re
import shlex
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

NEVER = "1000000"
"""Interval of what would disturb the clock: evaluations and checkpoints on the way."""

QUIET = (
    *("--vis", "tensorboard", "--contact-sheet", "False", "--steps-per-pictures", "None"),
    *("--steps-per-save", NEVER, "--steps-per-eval-image", NEVER, "--pipeline.datamanager.latent-cache", "memory"),
)
"""Flags of all trainings; every training encodes its pictures itself."""

TRIAL_STEPS = (10, 40)
"""Steps before the rate of a method is measured, and steps that it is measured on."""

WHOLE_SHARE = 0.2
"""Share of the steps of RGB alignment, the last ones, that see whole pictures, as in the methods' own schedules."""

ABSOLUTE_PATH = re.compile(r"(?<![\w./~-])/(?:[^/\s\"']+/)*([^/\s\"']+)/?")

Numbers = Dict[str, Any]
"""Numbers of a measurement by name; JSON values."""

Flags = Tuple[str, ...]
"""Of ns-train."""


@dataclass(frozen=True)
class Named:
    """What a flag `NAME=SOURCE FLAGS` says."""

    name: str
    """In tables."""
    source: str
    """Folder, or whatever the flag takes."""
    flags: Tuple[str, ...] = ()
    """Of ns-train."""
    dataparser: Tuple[str, ...] = ()
    """Name and flags of Nerfstudio's dataparser, which stand last on the line; none for `scenes`."""


def named(text: str) -> Named:
    """Reads `NAME=SOURCE`, `NAME=SOURCE --flag value ...` or `NAME=SOURCE --flag value ... nerfstudio-data ...`.

    Raises:
        ValueError: another form.
    """
    from nerfstudio.configs.dataparser_configs import all_dataparsers

    name, equals, rest = text.partition("=")
    source, *flags = shlex.split(rest) or [""]
    if not (name and equals and source) or source.startswith("--"):
        raise ValueError(f'NAME=SOURCE: expected a name and what it stands for, got {text!r}; write "cars=data/cars"')
    end = next((i for i, flag in enumerate(flags) if flag in all_dataparsers), len(flags))
    return Named(name, source, tuple(flags[:end]), tuple(flags[end:]))


def flags_by_name(texts: Sequence[str]) -> Dict[str, Tuple[str, ...]]:
    """Reads `NAME=--flag value ...`, each in one string."""
    parts = (text.partition("=") for text in texts)
    return {name: tuple(shlex.split(flags)) for name, _, flags in parts}


@dataclass(frozen=True)
class Training:
    """What stands on a command line of ns-train, without the number of steps."""

    method: str
    """Name of the method."""
    data: Named
    """Scenes, with the flags that they need."""
    flags: Tuple[str, ...] = ()
    """Of the method; those of the data come later, and win."""
    quiet: Flags = QUIET
    """Of all trainings of its kind, first."""

    def arguments(self, steps: int) -> List[str]:
        """Of ns-train."""
        data = self.data
        own = ["--data", data.source, *self.flags, *data.flags, "--max-num-iterations", str(steps)]
        return [self.method, *self.quiet, *own, *data.dataparser]


@dataclass(frozen=True)
class Stages:
    """Steps of a run by stage; RGB has supervision alone, which is of pixels then."""

    supervision: int
    """Of latent supervision."""
    crops: int = 0
    """Of RGB alignment on crops, with whole pictures between them."""
    whole: int = 0
    """Of RGB alignment on whole pictures, at the end."""

    @property
    def total(self) -> int:
        """All steps."""
        return self.supervision + self.crops + self.whole

    def flags(self) -> Flags:
        """What tells ns-train of the stages, but for the number of all steps."""
        if self.total == self.supervision:
            return ("--pipeline.rgb-alignment-start", "None")
        whole = self.supervision + self.crops
        return ("--pipeline.rgb-alignment-start", str(self.supervision), "--pipeline.whole-pictures-start", str(whole))

    def scaled(self, factor: float) -> "Stages":
        """More or fewer steps of each stage, at least one of those that there are."""
        counts = (self.supervision, self.crops, self.whole)
        return Stages(*(max(1, round(count * factor)) if count else 0 for count in counts))


def fitting_stages(
    plan: Callable[[Stages], Training], seconds: float, supervision: float, trial: Tuple[int, int] = TRIAL_STEPS
) -> Stages:
    """As many steps as fit into some seconds of `clock_name`, at the rates of a short run of the same process.

    Args:
        plan: the training of given stages.
        seconds: to be spent.
        supervision: share of them for latent supervision; 1 leaves out RGB alignment. Of the alignment's steps, the
            last fifth is of whole pictures.
        trial: steps of each stage before its rate is measured, and steps that it is measured on.
    """
    each = sum(trial)
    if supervision >= 1:
        [rate] = seconds_a_step(plan(Stages(each)), [each], trial[1])
        return Stages(max(1, round(seconds / rate)))
    rates = seconds_a_step(plan(Stages(each, each, each)), [each, 2 * each, 3 * each], trial[1])
    alignment = (1 - supervision) * seconds / ((1 - WHOLE_SHARE) * rates[1] + WHOLE_SHARE * rates[2])
    steps = (supervision * seconds / rates[0], (1 - WHOLE_SHARE) * alignment, WHOLE_SHARE * alignment)
    return Stages(*(max(1, round(count)) for count in steps))


def encoder_hashes(sources: Sequence[str]) -> List[str]:
    """Loads autoencoders, so that a wrong one is found before hours of work, and returns their encoders' hashes."""
    from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

    return [AutoencoderConfig(source=source).setup().encoder_hash() for source in sources]


class Stopwatch:
    """Wall-clock and CPU seconds of this process between `go` and `pause`."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.since = (0.0, 0.0)

    def go(self) -> None:
        """Starts it again."""
        self.since = (time.monotonic(), time.process_time())

    def pause(self) -> None:
        """Stops it, when the device has done what it was given."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.wall += time.monotonic() - self.since[0]
        self.cpu += time.process_time() - self.since[1]

    def spent(self) -> float:
        """The seconds of `clock_name`."""
        return self.wall if clock_name() == "seconds" else self.cpu


def clock_name() -> str:
    """The seconds by which budgets are compared: CPU seconds, which a busy machine disturbs less, except on a GPU."""
    import torch

    return "seconds" if torch.cuda.is_available() else "cpu_seconds"


def measure(
    training: Training,
    at: Sequence[int],
    folder: Optional[Path] = None,
    also: Optional[Callable[[Any], Numbers]] = None,
) -> List[Numbers]:
    """Trains, and measures on the held-out views on the way.

    Schedules end with the stages, so that the numbers at the end of latent supervision are those of a run that ends
    there.

    Args:
        training: what to train.
        at: numbers of steps to measure after; the last one ends the training.
        folder: where the run is written, as FOLDER/run/METHOD/run; it is not kept by default.
        also: further numbers of the trained pipeline, which are measured at the end.

    Returns:
        For each of `at`: `steps`, `seconds` and `cpu_seconds` of the training so far, `preparation_seconds`
        (building, reading and encoding), `bytes_per_scene`, `bytes_shared`, and the metrics.
    """
    if folder is None:
        with temporary_folder() as temporary:
            return measure(training, at, Path(temporary), also)
    rows: List[Numbers] = []
    watch = Stopwatch()
    started = time.monotonic()
    trainer = make_trainer(training.arguments(at[-1]), folder)
    trainer.setup()
    preparation = time.monotonic() - started
    model = trainer.pipeline.model
    watch.wall = watch.cpu = trainer.pipeline.start_seconds  # of the scenes' start from a bundle, which is training too

    def after(step: int) -> None:
        if step + 1 not in at:
            return
        watch.pause()
        seconds = {"seconds": watch.wall, "cpu_seconds": watch.cpu, "preparation_seconds": preparation}
        sizes = {"bytes_per_scene": model.scene_bytes(), "bytes_shared": model.shared_bytes()}
        metrics = trainer.pipeline.get_average_eval_image_metrics()
        more = also(trainer.pipeline) if also is not None and step + 1 == at[-1] else {}
        rows.append({"steps": step + 1, **seconds, **sizes, **metrics, **more, "scenes": model.scene_names})
        watch.go()

    after_each_step(trainer, after)
    watch.go()
    trainer.train()
    return rows


def measure_for(training: Training, seconds: float) -> Numbers:
    """Trains for as many steps as fit into some seconds of `clock_name`, and measures; the rate is that of a short run
    of the same process just before."""
    warm_up, trial = TRIAL_STEPS
    [rate] = seconds_a_step(training, [warm_up + trial], trial)
    steps = max(1, round(seconds / rate))
    return {**measure(training, [steps])[0], "seconds_wanted": seconds}


def seconds_a_step(training: Training, ends: Sequence[int], trial: int) -> List[float]:
    """Seconds of `clock_name` that a step takes, on average over the last steps before each of some steps.

    Args:
        training: what to train.
        ends: numbers of steps; the last one ends the training.
        trial: over how many steps.
    """
    watches = [Stopwatch() for _ in ends]
    with temporary_folder() as folder:
        trainer = make_trainer(training.arguments(ends[-1]), Path(folder))
        trainer.setup()

        def after(step: int) -> None:
            for watch, end in zip(watches, ends, strict=True):
                if step + 1 == end - trial:
                    watch.go()
                elif step + 1 == end:
                    watch.pause()

        after_each_step(trainer, after)
        trainer.train()
    return [watch.spent() / trial for watch in watches]


def make_trainer(arguments: Sequence[str], folder: Path) -> Any:
    """A fresh trainer of what ns-train would run, with ns-train's seeds."""
    import random

    import numpy as np
    import torch
    import tyro
    from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion
    from nerfstudio.utils import writer

    place = ["--output-dir", str(folder), "--experiment-name", "run", "--timestamp", "run"]
    config: Any = tyro.cli(AnnotatedBaseConfigUnion, args=[arguments[0], *place, *arguments[1:]])  # type: ignore[arg-type]
    config.pipeline.datamanager.data = config.data
    writer.EVENT_WRITERS.clear()  # those of a run before in the same process
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(config.machine.seed)
    return config.setup(local_rank=0, world_size=1)


def after_each_step(trainer: Any, function: Callable[[int], None]) -> None:
    """Has a trainer that is set up call a function with the number of each step."""
    from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation

    trainer.callbacks.append(TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], function))


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder that is removed in the end, whatever happens: Tensorboard's thread may write while it is."""
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a fresh process: Nerfstudio's loggers are global, and memory is given back."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Results:
    """Records of a benchmark: a JSON file with all numbers and a page in Markdown beside it, written as they come.

    Args:
        path: of the JSON file.
        page: makes the page of the records.
        resume: whether to keep the records that an earlier, interrupted run of the same settings left.
    """

    def __init__(self, path: Path, page: Callable[["Results"], str], resume: bool = False):
        self.path, self.page = path, page
        self.records: List[Dict[str, Any]] = []
        if resume and path.is_file():
            self.records = json.loads(path.read_text(encoding="utf-8"))["records"]

    def record(self, settings: Dict[str, Any], make: Callable[[], Any]) -> Any:
        """The numbers that belong to some settings: those of an earlier record, or new ones, which are written."""
        settings = json.loads(shown(json.dumps(settings)))
        for earlier in self.records:
            if earlier["settings"] == settings:
                return earlier["numbers"]
        print(shown(f"{self.path.stem}: {settings}"), flush=True)
        self.records.append({"settings": settings, "numbers": make()})
        self.write()
        return self.records[-1]["numbers"]

    def find(self, **settings: Any) -> List[Tuple[Dict[str, Any], Any]]:
        """Settings and numbers of all records with the given settings among theirs."""
        pairs = [(record["settings"], record["numbers"]) for record in self.records]
        return [(own, numbers) for own, numbers in pairs if settings.items() <= own.items()]

    def write(self) -> None:
        """Writes both files."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"date": str(datetime.date.today()), "command": command(), "machine": machine()}
        self.path.write_text(json.dumps({**content, "records": self.records}, indent=2) + "\n", encoding="utf-8")
        self.path.with_suffix(".md").write_text(self.page(self), encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def number(numbers: Optional[Numbers], name: str, form: str = "{:.2f}") -> str:
    """A cell: a number of a record, or a dash where there is none."""
    value = None if numbers is None else numbers.get(name)
    return "-" if value is None else form.format(value)


def command() -> str:
    """The command that this process was started with."""
    return shown(shlex.join(["python", *sys.argv]))


def shown(text: str) -> str:
    """A text with absolute paths cut to their last name: where things lie says nothing on another machine."""
    return ABSOLUTE_PATH.sub(r"\1", text)


def machine() -> str:
    """Processor, cores and versions."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in ("latent-nerfstudio", "nerfstudio", "torch"))
    return f"{device}, {os.cpu_count()} cores, {versions}"


def preamble(title: str) -> List[str]:
    """First lines of a page."""
    return [f"# {title}", "", f"{datetime.date.today()}, {machine()}.", "", "```", command(), "```", ""]
