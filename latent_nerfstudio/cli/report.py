"""`lns report`: what runs reached and what they took, one row a scene."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Dict, List, Mapping, Optional, Sequence, Tuple

import tyro

if TYPE_CHECKING:
    from latent_nerfstudio.cli.runs import Run

METRICS = {"psnr": "{:.2f}", "ssim": "{:.3f}", "lpips": "{:.3f}", "autoencoder_psnr": "{:.2f}"}
"""Metrics of the table and how they are written."""

COSTS = {"seconds": "{:.1f}", "bytes": "{:,.0f}"}
"""What a scene took, likewise: seconds of training, and bytes of what belongs to the scene alone."""

TITLES = {"autoencoder_psnr": "autoencoder psnr"}
"""Titles of columns that are not the number's name."""

MEAN = "mean"
"""Name of the last row."""

EXACT_PSNR = 99.9
"""From here on, dB, a reconstruction is called exact: that of the identity latent space, which is RGB itself."""

Rows = Dict[str, Dict[str, float]]
"""Numbers of each scene, and of `MEAN`."""


@dataclass
class Report:
    """Prints a table of runs: metrics of the held-out views, seconds of training and bytes, one row a scene."""

    configs: Annotated[Tuple[Path, ...], tyro.conf.Positional]
    """config.yml of each run; several runs stand side by side."""
    eval: Tuple[Path, ...] = ()
    """What ns-eval wrote for each run, in the same order; without it the runs are evaluated now."""
    output: Optional[Path] = None
    """Markdown file to write; the numbers go into a JSON file beside it."""
    video: Tuple[Path, ...] = ()
    """Videos to name at the end."""

    def main(self) -> None:
        """Prints the table.

        Raises:
            FileNotFoundError: a run, its data or its checkpoint, or an evaluation are not there.
            ValueError: a file holds something else, or there are more or fewer evaluations than runs.
        """
        from latent_nerfstudio.cli.runs import open_run

        self._check()
        runs = [open_run(path) for path in self.configs]
        results = [read_results(path) for path in self.eval] if self.eval else [evaluate(run) for run in runs]
        reports = [run_report(run, result) for run, result in zip(runs, results, strict=True)]
        name_apart(reports)
        print_table(reports)
        if self.output is not None:
            write_report(self.output, reports)
        for line in closing_lines(runs, self.output, self.video):
            print(line)

    def _check(self) -> None:
        if not self.configs:
            raise ValueError("configs: expected the config.yml of at least one run, got none; name one")
        if self.eval and len(self.eval) != len(self.configs):
            raise ValueError(
                f"eval: expected one file for each of {len(self.configs)} runs, got {len(self.eval)}; "
                "name them in the order of the runs, or none"
            )
        if self.output is not None and self.output.suffix != ".md":
            raise ValueError(f"output: expected a .md file, got {self.output}; change its ending")


@dataclass
class RunReport:
    """One run of the table."""

    name: str
    """Title of its columns."""
    method: str
    """The method."""
    config: str
    """Its config.yml."""
    scenes: Rows
    """Numbers of each scene."""
    mean: Dict[str, float]
    """Numbers over all held-out views, and of a scene."""
    training: Dict[str, Any] = field(default_factory=dict)
    """What training.json holds."""

    def columns(self) -> List[str]:
        """The numbers that it has, in the table's order."""
        return [name for name in (*METRICS, *COSTS) if name in self.mean]


def read_results(path: Path) -> Dict[str, float]:
    """The metrics in a file of ns-eval.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of ns-eval.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected what ns-eval wrote, got nothing there; check the path")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["results"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: expected JSON of ns-eval with 'results', got {got}; run ns-eval again") from error


def evaluate(run: "Run") -> Dict[str, float]:
    """Evaluates a run on its held-out views."""
    from latent_nerfstudio.cli.runs import load_pipeline

    return load_pipeline(run.config_path).get_average_eval_image_metrics()


def run_report(run: "Run", results: Mapping[str, float]) -> RunReport:
    """The numbers of a run.

    Args:
        run: the run.
        results: metrics as ns-eval writes them: `psnr`, and `SCENE/psnr` where there are several scenes.
    """
    training = run.training
    costs = {"seconds": training.get("seconds_per_scene"), "bytes": training.get("bytes_per_scene")}
    costs = {name: float(value) for name, value in costs.items() if value is not None}
    mean = {name: float(results[name]) for name in METRICS if name in results}
    scenes = scenes_of(results) or {(run.scene_names() or ["scene"])[0]: mean}
    rows = {scene: {**numbers, **costs} for scene, numbers in scenes.items()}
    return RunReport(run.method, run.method, str(run.config_path), rows, {**mean, **costs}, training)


def scenes_of(results: Mapping[str, float]) -> Rows:
    """The metrics of each scene, from the keys `SCENE/METRIC`; empty if there are none."""
    rows: Rows = {}
    for key, value in results.items():
        scene, _, metric = key.rpartition("/")
        if scene and metric in METRICS:
            rows.setdefault(scene, {})[metric] = float(value)
    return rows


def name_apart(reports: Sequence[RunReport]) -> None:
    """Numbers the names of runs of one method."""
    for method in {report.method for report in reports}:
        alike = [report for report in reports if report.method == method]
        if len(alike) > 1:
            for number, report in enumerate(alike, start=1):
                report.name = f"{method} {number}"


def table_cells(reports: Sequence[RunReport]) -> Tuple[List[Tuple[str, str]], List[List[str]]]:
    """The table as text.

    Returns:
        Columns after the first as pairs of run and number, and rows that begin with the scene; the last is the mean.
    """
    columns = [(report, column) for report in reports for column in report.columns()]
    scenes = list(dict.fromkeys(scene for report in reports for scene in report.scenes))
    rows = [[scene, *(_cell(report.scenes.get(scene, {}), column) for report, column in columns)] for scene in scenes]
    rows.append([MEAN, *(_cell(report.mean, column) for report, column in columns)])
    return [(report.name, TITLES.get(column, column)) for report, column in columns], rows


def _cell(numbers: Mapping[str, float], column: str) -> str:
    if column not in numbers:
        return "-"
    if column == "autoencoder_psnr" and numbers[column] >= EXACT_PSNR:
        return "exact"
    return {**METRICS, **COSTS}[column].format(numbers[column])


def print_table(reports: Sequence[RunReport]) -> None:
    """Prints the table and a line a run."""
    from rich.console import Console
    from rich.table import Table

    columns, rows = table_cells(reports)
    table = Table(title="Held-out views")
    table.add_column("scene")
    for run, column in columns:
        table.add_column(f"{run}\n{column}" if len(reports) > 1 else column, justify="right")
    for index, row in enumerate(rows):
        table.add_row(*row, end_section=index == len(rows) - 2)
    console = Console()
    natural = Console(width=10_000).measure(table).maximum
    console.print(table, width=natural, crop=False, no_wrap=True)
    for report in reports:
        console.print(summary_line(report), highlight=False, soft_wrap=True)


def summary_line(report: RunReport) -> str:
    """What a run took in all."""
    training = report.training
    if not training:
        return f"{report.name}: no training.json beside config.yml, so no seconds and bytes"
    scenes = len(report.scenes)
    return (
        f"{report.name}: {scenes} scene{'s' if scenes != 1 else ''}, {training['steps']} steps in "
        f"{training['seconds']:.1f} s of training on {training['device']}, {training['bytes_per_scene']:,} bytes "
        f"a scene and {training['bytes_shared']:,} bytes shared"
    )


def markdown(reports: Sequence[RunReport]) -> str:
    """The table and the lines of `print_table` as Markdown."""
    columns, rows = table_cells(reports)
    titles = ["scene", *(f"{run} {column}" if len(reports) > 1 else column for run, column in columns)]
    table = [titles, ["---", *("---:" for _ in columns)], *rows]
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([*lines, "", *(f"- {summary_line(report)}" for report in reports), ""])


def write_report(path: Path, reports: Sequence[RunReport]) -> None:
    """Writes Markdown, and JSON with the same name beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"runs": [asdict(report) for report in reports]}
    for file, text in ((path, markdown(reports)), (path.with_suffix(".json"), json.dumps(content, indent=2))):
        temporary = file.with_name(f".{file.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, file)


def closing_lines(runs: Sequence["Run"], output: Optional[Path], videos: Sequence[Path]) -> List[str]:
    """Where everything lies; what is not there is left out."""
    places = []
    for run in runs:
        places.append(("Config", run.config_path))
        places.append(("Contact sheet", run.contact_sheet))
    places += [("Video", video) for video in videos]
    places += [("Table", output), ("Numbers", output.with_suffix(".json"))] if output else []
    return [f"{title + ':':15}{path}" for title, path in places if path.exists()]
