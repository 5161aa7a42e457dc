"""What a run reached and what it took, and how it compares with others. Nothing here loads a model."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from statistics import fmean
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from latent_nerfstudio.engine.runs import Run
from latent_nerfstudio.engine.summary import SHEET
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.reading import read_rows
from latent_nerfstudio.fleet.status import FILE, StatusTable
from latent_nerfstudio.models.metrics import PICTURE_METRICS

METRICS = {name: "{:.2f}" if name.endswith("psnr") else "{:.3f}" for name in PICTURE_METRICS}
"""Metrics of the table and how they are written."""

COSTS = {"seconds": "{:.1f}", "bytes": "{:,.0f}"}
"""What a scene took, likewise: seconds of training, and bytes of what belongs to the scene alone."""

NEEDED = ("steps", "seconds", "seconds_per_scene", "bytes_per_scene", "bytes_shared", "device")
"""Entries of training.json without which it counts as none."""

EXACT_PSNR = 99.9
"""From here on, dB, a reconstruction is called exact: that of the identity latent space, which is RGB itself."""

MANY = 1000.0
"""Scenes that effective costs are given for, beside the run's own number."""

Rows = Dict[str, Dict[str, float]]
"""Numbers of each scene."""

Table = Tuple[List[str], List[List[str]]]
"""Head and rows."""


@dataclass(frozen=True)
class Cost:
    """Seconds or bytes of many scenes, as 3Da-AE (arXiv 2403.11678, section 4) and Fused-Planes (arXiv 2410.23742) have
    it: t_tot = t_EC + N t_scene, t_eff = t_EC / N + t_scene, and the same of memory."""

    entry: float
    """Once, for what the scenes share (t_EC, m_EC)."""
    scene: float
    """For each scene (t_scene, m_scene)."""

    def total(self, scenes: float) -> float:
        return self.entry + scenes * self.scene

    def effective(self, scenes: float) -> float:
        """For each of so many scenes, with its part of the entry cost (t_eff, m_eff)."""
        return self.entry / scenes + self.scene


def break_even(one: Cost, other: Cost) -> Optional[float]:
    """Number of scenes from which on `one` costs less in all than `other`; 0 for always, None for never."""
    saved, ahead = other.scene - one.scene, one.entry - other.entry
    if saved <= 0:
        return 0.0 if ahead < 0 and saved == 0 else None
    return max(0.0, ahead / saved)


@dataclass
class RunReport:
    """One run of the table."""

    name: str
    method: str
    config: str
    """Its config.yml."""
    scenes: Rows
    mean: Dict[str, float]
    """Numbers over all held-out views, and of a scene."""
    training: Dict[str, Any] = field(default_factory=dict)
    history: List[Dict[str, float]] = field(default_factory=list)
    """What metrics.jsonl holds: step, seconds and metrics of the pictured views."""
    data: str = ""
    """Where its scenes come from, if that is known."""

    @property
    def contact_sheet(self) -> Path:
        return Path(self.config).with_name(SHEET)

    @property
    def costs(self) -> Optional[Dict[str, Cost]]:
        """`seconds` of training and `bytes` in float32 of its scenes; None where training has not said it of all."""
        if not self.training or not {"seconds", "bytes"} <= set(self.mean):
            return None
        seconds = Cost(float(self.training.get("entry_seconds", 0.0)), self.mean["seconds"])
        return {"seconds": seconds, "bytes": Cost(float(self.training["bytes_shared"]), self.mean["bytes"])}


def run_report(run: Run, results: Mapping[str, float]) -> RunReport:
    """The numbers of a run, by metrics as ns-eval writes them: `psnr`, and `SCENE/psnr` of several scenes."""
    training = run.training if all(name in run.training for name in NEEDED) else {}
    costs = {name: float(training[f"{name}_per_scene"]) for name in COSTS if training}
    mean = {name: float(results[name]) for name in METRICS if name in results}
    scenes = scenes_of(results) or {(run.scene_names() or ["scene"])[0]: mean}
    rows = {scene: {**numbers, **costs} for scene, numbers in scenes.items()}
    history = read_history(run.folder / "metrics.jsonl")
    means = {**mean, **costs}
    return RunReport(run.method, run.method, str(run.config_path), rows, means, training, history, str(run.data()))


def inventory_report(folder: Path) -> RunReport:
    """The numbers of the scenes that `lns fit-scenes` has finished in a folder; bytes are those of its files."""
    table = StatusTable.read(folder / FILE)
    done = table.done()
    if not done:
        raise ValueError(problem(table.path, "at least one scene that is done", "none", "call lns fit-scenes again"))
    rows = {
        row.name: {n: float(v) for n, v in vars(row).items() if n in (*METRICS, *COSTS) and v is not None}
        for row in done
    }
    training = {
        "steps": max(row.steps or 0 for row in done),
        "seconds": sum(row.seconds or 0.0 for row in done),
        "device": "its workers",
        "bytes_per_scene": round(sum(row.bytes or 0 for row in done) / len(done)),
        "bytes_shared": round(table.shared.get("bytes", 0.0)),
        "entry_seconds": table.shared.get("seconds", 0.0),
        "not done": [name for name, row in table.rows.items() if row.state != "done"],
    }
    mean = {name: fmean(values) for name in (*METRICS, *COSTS) if (values := of_rows(rows, name))}
    return RunReport("fit-scenes", "fit-scenes", str(table.path), rows, mean, training, data=table.data)


def of_rows(rows: Rows, name: str) -> List[float]:
    """A number of all scenes that have it: those without held-out views have no metrics."""
    return [row[name] for row in rows.values() if name in row]


def scenes_of(results: Mapping[str, float]) -> Rows:
    """The metrics of each scene, from the keys `SCENE/METRIC`; empty if there are none."""
    rows: Rows = {}
    for key, value in results.items():
        scene, _, metric = key.rpartition("/")
        if scene and metric in METRICS:
            rows.setdefault(scene, {})[metric] = float(value)
    return rows


def read_history(path: Path) -> List[Dict[str, float]]:
    """The lines of metrics.jsonl in the order of their steps, of those of one step the last; empty without the file."""
    if not path.is_file():
        return []
    read = read_rows(path, "remove the file")
    try:
        lines = [{name: float(value) for name, value in line.items()} for line in read]
        by_step = {line["step"]: line for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise ValueError(problem(path, "lines of JSON that training wrote", got, "remove the file")) from error
    return [by_step[step] for step in sorted(by_step)]


def name_apart(reports: Sequence[RunReport]) -> None:
    """Numbers the names of runs of one method."""
    for method, count in Counter(report.method for report in reports).items():
        for number, report in enumerate((r for r in reports if r.method == method and count > 1), start=1):
            report.name = f"{method} {number}"


def quality_table(reports: Sequence[RunReport], between: str = " ") -> Table:
    """The table of scenes; the last row is the mean, and columns of several runs carry the run's name in front."""
    columns = [(report, name) for report in reports for name in (*METRICS, *COSTS) if name in report.mean]
    scenes = list(dict.fromkeys(scene for report in reports for scene in report.scenes))
    rows = [[scene, *(cell(report.scenes.get(scene, {}), column) for report, column in columns)] for scene in scenes]
    rows.append(["mean", *(cell(report.mean, column) for report, column in columns)])
    runs = [report.name + between if len(reports) > 1 else "" for report, _ in columns]
    titles = [run + column.replace("_", " ") for run, (_, column) in zip(runs, columns, strict=True)]
    return ["scene", *titles], rows


def cell(numbers: Mapping[str, float], column: str) -> str:
    if column not in numbers:
        return "-"
    if column == "autoencoder_psnr" and numbers[column] >= EXACT_PSNR:
        return "exact"
    return {**METRICS, **COSTS}[column].format(numbers[column])


def cost_table(reports: Sequence[RunReport]) -> Table:
    """Entry costs, costs of a scene, and effective costs for the run's scenes and for many."""
    head = ["run", "scenes", "entry, s", "a scene, s", "effective, s", f"effective of {MANY:,.0f}, s"]
    head += ["shared, bytes", "a scene, bytes", "effective, bytes", f"effective of {MANY:,.0f}, bytes"]
    rows = []
    for report in reports:
        row, count = [report.name, str(len(report.scenes))], float(len(report.scenes))
        for name, cost in (report.costs or {}).items():
            numbers = cost.entry, cost.scene, cost.effective(count), cost.effective(MANY)
            row += map({"seconds": "{:,.1f}", "bytes": "{:,.0f}"}[name].format, numbers)
        rows += [row] if report.costs else []
    return head, rows


def summary_line(report: RunReport) -> str:
    training = report.training
    if not training:
        return f"{report.name}: no training.json beside config.yml, so no seconds and bytes"
    scenes = len(report.scenes)
    lost = ((kind, training.get(kind)) for kind in ("not done", "failed"))
    lost = ((kind, list(names)) for kind, names in lost if isinstance(names, (list, dict)) and names)
    others = "".join(f"; {len(names)} {kind}: {few_of(names)}" for kind, names in lost)
    return (
        f"{report.name}: {scenes} scene{'s' if scenes != 1 else ''}, {training['steps']} steps in "
        f"{training['seconds']:.1f} s of training on {training['device']}, {training['bytes_per_scene']:,} bytes "
        f"a scene and {training['bytes_shared']:,} bytes shared{others}"
    )


def comparisons(reports: Sequence[RunReport]) -> List[str]:
    """Which run to use when: quality, seconds and bytes of each pair of runs, and where they break even."""
    pairs = [(one, other) for i, one in enumerate(reports) for other in reports[i + 1 :]]
    return [comparison(one, other, one.costs, other.costs) for one, other in pairs if one.costs and other.costs]


def comparison(one: RunReport, other: RunReport, own: Dict[str, Cost], theirs: Dict[str, Cost]) -> str:
    """PSNR on the scenes of both, where there are any, and costs."""
    parts = []
    both = [scene for scene, row in one.scenes.items() if "psnr" in row and "psnr" in other.scenes.get(scene, {})]
    if both and len(both) == len(one.scenes) == len(other.scenes):
        parts.append(f"{one.mean['psnr'] - other.mean['psnr']:+.2f} dB")
    elif both:
        gain = fmean(one.scenes[scene]["psnr"] - other.scenes[scene]["psnr"] for scene in both)
        parts.append(f"{gain:+.2f} dB on the {len(both)} of their scenes that are the same")
    for name, verb in (("seconds", "takes"), ("bytes", "fills")):
        if theirs[name].scene > 0:
            times = own[name].scene / theirs[name].scene
            parts.append(f"{verb} {times:.2f} times the {name} a scene, {when(own[name], theirs[name])}")
    return f"{one.name} beside {other.name}: " + "; ".join(parts)


def when(one: Cost, other: Cost) -> str:
    """For how many scenes a cost is the smaller one in all."""
    first, last = break_even(one, other), break_even(other, one)
    if first is not None:
        return "less in all for any number" if first < 1 else f"less in all from {ceil(round(first, 6)):,} scenes on"
    if last is not None and last >= 1:
        return f"less in all up to {floor(round(last, 6)):,} scenes"
    return "more in all for any number"
