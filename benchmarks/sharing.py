"""What sharing is worth: the parts of `ig-ae` and of its shared bundle, left out one at a time.

    lns demo-scenes --output data/first --num-scenes 32 --seed 10
    lns demo-scenes --output data/second --num-scenes 8 --seed 11
    python benchmarks/sharing.py --first data/first --second data/second

Stage 1 trains an autoencoder jointly with the first scenes (`ig-ae`), stage 2 fits the second scenes to what stage 1
shares (`latent-triplane` with its shared bundle), and is measured on their held-out views. Joint training takes hours
on a CPU, so that it is done twice at most: as it is, and with scenes that it does not update. Rows with another field
keep the autoencoder of the former, and learn planes and MLP of the first scenes anew, by latent supervision.

Joint trainings that are there already are named with `--reuse FOLDER`: FOLDER/joint and FOLDER/joint-scenes-kept, each
a finished run of `ig-ae` or a link to one.
"""

import json
import shlex
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Tuple

import tyro
from common import (
    Named,
    Numbers,
    Results,
    Training,
    clock_name,
    encoder_hashes,
    in_own_process,
    measure,
    measure_for,
    named,
    number,
    preamble,
    table,
    temporary_folder,
)

FIELD = "--pipeline.model.nerf.field."
BUNDLE = "--pipeline.model.shared-bundle"
SOURCE = "--pipeline.model.autoencoder.source"
IG_AE_BATCH = ("--pipeline.datamanager.rays-per-batch", "4096", "--pipeline.datamanager.scenes-per-batch", "8")
"""Of the warm-up of `ig-ae`, for planes that are learned anew."""

RGB_BATCH = ("--pipeline.datamanager.rays-per-batch", "4096", "--pipeline.rgb-alignment-start", "None")
"""Of `triplane`."""


def planes(micro: int, macro: int, bases: int, resolution: int = 32) -> Tuple[str, ...]:
    """Flags of a field."""
    sizes = {"micro-features": micro, "macro-features": macro, "num-base-planes": bases, "resolution": resolution}
    return tuple(text for name, size in sizes.items() for text in (f"{FIELD}{name}", str(size)))


Start = Literal["joint", "joint-scenes-kept", "standard"]
"""Where a row's autoencoder is from: joint training, joint training that leaves its scenes as they are, or neither."""


@dataclass(frozen=True)
class Row:
    """A row in latent space."""

    name: str
    """In the table."""
    start: Start = "joint"
    """Its autoencoder."""
    field: Optional[Tuple[str, ...]] = None
    """Flags of the field whose shared parts are learned anew; None takes the bundle of joint training as it is."""
    second: Tuple[str, ...] = ()
    """Flags of stage 2."""


DEFAULT_FIELD = planes(10, 22, 8)
"""That of `ig-ae`."""

ROWS = (
    Row("full"),
    Row("shared parts trained on", second=("--pipeline.train-base-planes", "True", "--pipeline.train-mlp", "True")),
    Row("planes anew", field=DEFAULT_FIELD),
    Row("planes anew, micro only", field=planes(32, 0, 0)),
    Row("planes anew, macro only", field=planes(0, 32, 8)),
    Row("planes anew, M = 1", field=planes(10, 22, 1)),
    Row("planes anew, scenes not updated", "joint-scenes-kept", DEFAULT_FIELD),
    Row("planes anew, standard autoencoder", "standard", DEFAULT_FIELD),
)
"""In latent space; the first one's seconds are those that RGB gets."""

RGB_ROWS = ("RGB", "RGB + macro")

QUALITY = (("psnr", "{:.2f}"), ("ssim", "{:.3f}"))
"""Metrics of the table, and their formats."""

TEXT = """\
Stage 1 learns what scenes share from {first} first scenes, stage 2 fits {second} other scenes: {supervision} steps of
latent supervision, then {alignment} of RGB alignment. PSNR and SSIM are means over the held-out views of the second
scenes, after either stage of stage 2. Seconds of stage 1 are wall-clock, joint training and planes anew; those of stage
2 are CPU seconds of the training loop, after either stage, without encoding. Bytes are of float32: what one more scene
takes, and what all share without the encoder.

What rows have in common:

- `full`, `no prior` and `shared parts trained on` start from one and the same shared bundle, that of joint training,
  and differ in stage 2 alone. Shared parts that a bundle brings are kept as they are but in the last one.
- `planes anew` have the autoencoder of that joint training (`scenes not updated`: of a joint training that leaves the
  scenes as the warm-up made them, which is what the published code does; `standard`: one without joint training), and
  learn planes and MLP of the first scenes anew, {planes} steps of latent supervision in each row. They are to be
  compared with the row `planes anew`, not with `full`: the autoencoder has been trained with micro and macro planes,
  M = 8, in all of them.
- RGB has no autoencoder: `RGB` is `triplane`, without stage 1; `RGB + macro` learns base planes and MLP from the first
  scenes as `planes anew` do, in as many steps, T = 64. In stage 2 both have the CPU seconds of `full` (on a GPU: the
  seconds), by the rate of a short run just before: one run for those of its latent supervision, which stands under
  supervision, and one for those of both stages, which stands under alignment."""


@dataclass
class Sharing:
    """Trains and measures the rows."""

    first: Path
    """Scenes that the shared parts are learned from."""
    second: Path
    """New scenes."""
    reuse: Optional[Path] = None
    """Folder of finished joint trainings: `joint` and `joint-scenes-kept`; what it lacks is trained."""
    runs: Path = Path("outputs/benchmarks/sharing")
    """Folder of the joint trainings that are made here, which a later run can reuse."""
    rows: Tuple[str, ...] = (*(row.name for row in ROWS), *RGB_ROWS)
    """Rows to measure, by their names; RGB needs `full`."""
    standard: str = "bundled-standard"
    """Autoencoder without joint training."""
    joint_steps: int = 7500
    """Steps of joint training, the warm-up included."""
    warm_up_steps: int = 1500
    """Steps of the warm-up."""
    joint_flags: str = ""
    """Further flags of `ig-ae`, as one string: --joint-flags="--pipeline.real-images PHOTOS"."""
    planes_steps: int = 1000
    """Steps of latent supervision for planes anew, and for those of RGB + macro."""
    supervision_steps: int = 300
    """Steps of latent supervision in stage 2."""
    alignment_steps: int = 700
    """Steps of RGB alignment in stage 2."""
    output: Path = Path("benchmarks")
    """Folder of the table and the numbers."""
    resume: bool = False
    """Keep the rows that an interrupted run with the same settings has measured."""

    def main(self) -> None:
        """Measures, and writes sharing.md and sharing.json.

        Raises:
            ValueError: a row that is not known, or RGB without `full`.
            FileNotFoundError: a run to reuse that is not finished, or an autoencoder that is not there.
        """
        known = (*(row.name for row in ROWS), *RGB_ROWS)
        unknown = [name for name in self.rows if name not in known]
        if unknown:
            raise ValueError(f"rows: expected some of {'; '.join(known)}, got {unknown[0]!r}; use these names")
        if ROWS[0].name not in self.rows and set(self.rows) & set(RGB_ROWS):
            raise ValueError("rows: expected `full` beside RGB, whose seconds it gets, got none; add it")
        starts = {row.start for row in ROWS if row.name in self.rows}
        if "standard" in starts:
            in_own_process(encoder_hashes, [self.standard])
        for start in starts - {"standard"}:
            if self.reuse is not None and (self.reuse / start).exists():
                finished_run(self.reuse / start)
        results = Results(self.output / "sharing.json", self.page, self.resume)
        for row in ROWS:
            if row.name in self.rows:
                results.record(self.settings(row), lambda row=row: self.measure_row(row))
        for name in RGB_ROWS:
            if name in self.rows:
                seconds = [numbers[clock_name()] for numbers in self.numbers_of(results, ROWS[0].name)["second"]]
                settings = {"row": name, "seconds": seconds, "steps": self.steps(), "data": self.data()}
                results.record(settings, lambda name=name, seconds=seconds: self.measure_rgb(name, seconds))
        print(results.path.with_suffix(".md").read_text(encoding="utf-8"))

    def steps(self) -> Dict[str, int]:
        """Budgets of all rows."""
        names = ("joint_steps", "warm_up_steps", "planes_steps", "supervision_steps", "alignment_steps")
        return {name: getattr(self, name) for name in names}

    def data(self) -> List[str]:
        """Both sets of scenes."""
        return [str(self.first), str(self.second)]

    def settings(self, row: Row) -> Dict[str, Any]:
        """What decides a row's numbers."""
        autoencoder = self.standard if row.start == "standard" else [str(self.reuse or self.runs), self.joint_flags]
        own = {"row": row.name, "field": row.field, "flags": row.second, "autoencoder": autoencoder}
        return {**own, "steps": self.steps(), "data": self.data()}

    def numbers_of(self, results: Results, row: str) -> Dict[str, Any]:
        """Numbers of a row with this run's settings."""
        return results.find(row=row, steps=self.steps())[-1][1]

    def measure_row(self, row: Row) -> Dict[str, Any]:
        """Stage 1, or what of it is the row's own, and stage 2."""
        run = None if row.start == "standard" else self.joint(row.start)
        first: Numbers = {} if run is None else {"joint": joint_summary(run)}
        if row.field is None:
            assert run is not None
            return {"first": first, "second": self.second_stage(run, row.second)}
        with temporary_folder() as folder:
            source = self.standard if run is None else str(run)
            first["planes"] = self.learn_planes(source, row.field, Path(folder))
            return {"first": first, "second": self.second_stage(Path(folder), row.second)}

    def joint(self, name: str) -> Path:
        """A finished joint training: one to reuse, one that was made here with the same settings, or a new one."""
        if self.reuse is not None and (self.reuse / name).exists():
            return finished_run(self.reuse / name)
        whole = self.joint_steps - (self.joint_steps - self.warm_up_steps) // 5  # as ig-ae: 6300 of 7500
        flags = [
            *("--pipeline.joint-training-start", str(self.warm_up_steps)),
            *("--pipeline.whole-pictures-start", str(whole)),
            *("--pipeline.update-scenes", str(name == "joint")),
            *("--steps-per-save", "500", *shlex.split(self.joint_flags)),
        ]
        training, folder = Training("ig-ae", scenes(self.first), tuple(flags)), self.runs / name
        arguments, note = json.dumps(training.arguments(self.joint_steps)), folder / "arguments.json"
        if not note.is_file() or note.read_text(encoding="utf-8") != arguments:
            shutil.rmtree(folder, ignore_errors=True)
            in_own_process(measure, training, [self.joint_steps], folder)
            note.write_text(arguments, encoding="utf-8")
        return finished_run(folder)

    def learn_planes(self, source: str, field: Tuple[str, ...], folder: Path) -> Numbers:
        """Planes and MLP of the first scenes in a given latent space, by latent supervision; writes their bundle."""
        flags = (
            *IG_AE_BATCH,
            *field,
            SOURCE,
            source,
            "--pipeline.rgb-alignment-start",
            "None",
            "--write-bundle",
            "True",
        )
        training = Training("latent-triplane", scenes(self.first), flags)
        return in_own_process(measure, training, [self.planes_steps], folder)[-1]

    def second_stage(self, bundle: Path, flags: Tuple[str, ...]) -> List[Numbers]:
        """The second scenes with a shared bundle: numbers after latent supervision, and after RGB alignment."""
        start = self.supervision_steps
        own = (BUNDLE, str(bundle_of(bundle)), "--pipeline.rgb-alignment-start", str(start), *flags)
        training = Training("latent-triplane", scenes(self.second), own)
        return in_own_process(measure, training, [start, start + self.alignment_steps])

    def measure_rgb(self, name: str, seconds: List[float]) -> Dict[str, Any]:
        """RGB, once for each number of seconds."""
        if name == "RGB":
            training = Training("triplane", scenes(self.second))
            return {"first": {}, "second": [in_own_process(measure_for, training, s) for s in seconds]}
        with temporary_folder() as folder:
            first = {"planes": self.learn_planes("identity", planes(10, 22, 8, resolution=64), Path(folder))}
            flags = (BUNDLE, str(bundle_of(Path(folder))), *RGB_BATCH)
            training = Training("latent-triplane", scenes(self.second), flags)
            return {"first": first, "second": [in_own_process(measure_for, training, s) for s in seconds]}

    def page(self, results: Results) -> str:
        """The table as Markdown."""
        latest = {own["row"]: numbers for own, numbers in results.find(steps=self.steps())}
        counts = {"first": count_scenes(self.first), "second": count_scenes(self.second)}
        steps = {name.removesuffix("_steps"): value for name, value in self.steps().items()}
        head = ["row", "stage 1, s", "stage 2, CPU s", "PSNR, supervision", "SSIM", "PSNR, alignment", "SSIM"]
        head += ["bytes a scene", "bytes shared"]
        rows = [table_row(name, numbers) for name, numbers in latest.items()]
        return "\n".join(
            [*preamble("What sharing is worth"), TEXT.format(**counts, **steps), "", *table(head, rows), ""]
        )


def scenes(folder: Path) -> Named:
    """Scenes of the dataparser `scenes`."""
    return named(f"scenes={shlex.quote(str(folder))}")


def count_scenes(folder: Path) -> int:
    """Scenes of a folder."""
    from latent_nerfstudio.data.scenes_dataparser import read_scenes

    return len(read_scenes(folder, (), None))


def finished_run(folder: Path) -> Path:
    """The folder of a run that lies in a folder or below.

    Raises:
        FileNotFoundError: there is none that has ended.
    """
    found = [path.parent for path in (folder / "training.json", *folder.rglob("training.json")) if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f"{folder}: expected a finished run of ig-ae, got none with a training.json; let it end, or leave it out"
        )
    return found[0]


def bundle_of(folder: Path) -> Path:
    """The shared bundle of the run that lies in a folder or below."""
    return finished_run(folder) / "shared_bundle"


def joint_summary(run: Path) -> Numbers:
    """Seconds and steps of a joint training."""
    summary = json.loads((run / "training.json").read_text(encoding="utf-8"))
    return {name: summary[name] for name in ("method", "steps", "alignment_start", "seconds", "scenes")}


def table_row(name: str, numbers: Dict[str, Any]) -> List[str]:
    """Cells of a row."""
    first, (supervision, alignment) = numbers["first"], numbers["second"]
    stage_1 = " + ".join(f"{first[part]['seconds']:.0f}" for part in ("joint", "planes") if part in first)
    stage_2 = " / ".join(number(row, "cpu_seconds", "{:.0f}") for row in (supervision, alignment))
    quality = [number(row, key, form) for row in (supervision, alignment) for key, form in QUALITY]
    sizes = [number(alignment, key, "{:,}") for key in ("bytes_per_scene", "bytes_shared")]
    return [name, stage_1 or "-", stage_2, *quality, *sizes]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(Sharing).main()
