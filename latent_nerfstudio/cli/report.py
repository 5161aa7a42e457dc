"""`lns report` and `lns contact-sheet`: what runs reached and what they took, side by side, and what they show."""

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional, Tuple

import tyro

from latent_nerfstudio.cli.words import RunFolder
from latent_nerfstudio.errors import check_least, problem
from latent_nerfstudio.files.places import check_file, check_writable


@dataclass
class Report:
    """Prints and writes what runs reached and what they took: a table of scenes, costs of many scenes, and figures.

    Seconds and bytes are counted as the papers do: t_eff = entry / scenes + t_scene, likewise of memory."""

    source: Annotated[Tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE [SOURCE ...]")]
    """Runs (folder or config.yml) and folders of `lns fit-scenes`; several stand side by side."""
    eval: Tuple[Path, ...] = ()
    """Files that ns-eval wrote for each run, in the same order; without it the runs are evaluated now."""
    entry_seconds: Tuple[float, ...] = ()
    """Seconds that the shared parts took to learn, in the order of the runs; by default what their bundles say."""
    output: Optional[Path] = None
    """Markdown file to write, by default `report.md` in the first run's folder; numbers (.json), figures (.png) and a
    page that holds everything (.html) are written beside it."""
    video: Tuple[Path, ...] = ()
    """Videos to show on the page and to name at the end."""

    def main(self) -> None:
        if not self.source:
            raise ValueError(problem("source", "the config.yml of at least one run", "none", "name one"))
        first = self.source[0]
        output = self.output or (first if first.is_dir() else first.parent) / "report.md"
        check_file(output, ".md")
        for name, given in (("eval", self.eval), ("entry_seconds", self.entry_seconds)):
            if given and len(given) != len(self.source):
                expected, do = f"one for each of {len(self.source)} runs", "name them in the order of the runs, or none"
                raise ValueError(problem(name, expected, len(given), do))
        for seconds in self.entry_seconds:
            if not 0 <= seconds < math.inf:
                raise ValueError(problem("entry_seconds", "seconds from 0 on", seconds, "correct --entry-seconds"))
        for video in self.video:
            if video.suffix.lower() not in (".mp4", ".gif") or not video.is_file():
                raise FileNotFoundError(problem(video, "a video, .mp4 or .gif", "none", "check --video"))
        from latent_nerfstudio.reports.report import closing_lines, opened, print_report, write_report
        from latent_nerfstudio.reports.run_report import name_apart

        reading = [opened(path, self.eval[i] if self.eval else None) for i, path in enumerate(self.source)]
        reports = [read() for read in reading]
        for report, seconds in zip(reports, self.entry_seconds, strict=bool(self.entry_seconds)):
            report.training = {**report.training, "entry_seconds": seconds} if report.training else {}
        name_apart(reports)
        print_report(reports)
        write_report(output, reports, self.command(), self.video)
        for line in closing_lines(reports, output, self.video):
            print(line)

    def command(self) -> str:
        """What to call for the same report."""
        flags = {"eval": self.eval, "entry-seconds": self.entry_seconds, "video": self.video}
        flags["output"] = () if self.output is None else (self.output,)
        given = [word for name, values in flags.items() if values for word in (f"--{name}", *values)]
        return shlex.join(map(str, ["lns", "report", *self.source, *given]))


@dataclass
class ContactSheet:
    """Draws one held-out view a scene: photo, render, autoencoder's reconstruction, latents, error and depth."""

    source: RunFolder
    output: Optional[Path] = None
    """PNG file to write; by default contact_sheet.png beside config.yml."""
    max_scenes: int = 8
    """Number of scenes at most, the first by name."""

    def main(self) -> None:
        check_file(self.output, ".png")
        check_least(self, max_scenes=1)
        from latent_nerfstudio.engine.runs import load_pipeline, open_run
        from latent_nerfstudio.engine.summary import SHEET
        from latent_nerfstudio.pipelines.contact_sheet import write_contact_sheet

        path = self.output or open_run(self.source).folder / SHEET
        check_writable(path)
        pipeline = load_pipeline(self.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"Contact sheet: {write_contact_sheet(pipeline, path, self.max_scenes)}")
