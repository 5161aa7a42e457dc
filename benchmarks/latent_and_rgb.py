"""`latent-triplane` beside `triplane` (RGB) on the same scenes, at the same wall-clock.

    lns demo-scenes --output data/demo
    python benchmarks/latent_and_rgb.py --data data/demo

The latent method runs first with its defaults; RGB then gets as many steps as fit into the same seconds, at the rate of
a short run of it just before. Latent supervision alone is a third row. The table is written as Markdown, the numbers as
JSON beside it.
"""

import datetime
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import tyro
from common import machine

TRIAL_STEPS = 100
"""Steps of the short run that measures the rate of the RGB method."""


@dataclass
class LatentAndRgb:
    """Trains, evaluates and compares the two methods."""

    data: Path
    """Scenes to learn."""
    output: Path = Path("benchmarks/latent_and_rgb.md")
    """Table; the numbers are written beside it as JSON."""
    runs: Path = Path("outputs/benchmarks")
    """Folder of the runs."""
    extra: str = ""
    """Further arguments of both runs, as one string."""

    def main(self) -> None:
        latent = self.run("latent-triplane", "latent-triplane", [])
        start = int(latent["alignment_start"])
        rows = [
            latent,
            self.run(
                "latent-triplane",
                "latent-supervision-only",
                ["--max-num-iterations", str(start), "--pipeline.rgb-alignment-start", "None"],
            ),
        ]
        trial = self.run("triplane", "triplane-trial", ["--max-num-iterations", str(TRIAL_STEPS)])
        steps = int(latent["seconds"] / trial["seconds"] * TRIAL_STEPS)
        rows.append(self.run("triplane", "triplane", ["--max-num-iterations", str(steps)]))
        self.output.write_text(page(rows, self.data))
        self.output.with_suffix(".json").write_text(json.dumps(rows, indent=2))
        print(self.output.read_text())

    def run(self, method: str, name: str, arguments: List[str]) -> Dict[str, Any]:
        """Trains and evaluates; returns the numbers."""
        folder = self.runs / name / method / "run"
        common = ["--data", str(self.data), "--output-dir", str(self.runs), "--experiment-name", name]
        common += ["--timestamp", "run", "--vis", "tensorboard", *self.extra.split()]
        call("ns-train", method, *common, *arguments)
        call("ns-eval", "--load-config", str(folder / "config.yml"), "--output-path", str(folder / "eval.json"))
        training = json.loads((folder / "training.json").read_text())
        results = json.loads((folder / "eval.json").read_text())["results"]
        return {**training, **results, "name": name, "arguments": " ".join(arguments)}


def call(program: str, *arguments: str) -> None:
    """Runs a program of this environment; its output is shown only if it fails."""
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    command = [str(bin_folder / program), *arguments]
    print(" ".join([program, *arguments]), flush=True)
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(
            f"{program}: expected it to succeed, got exit code {done.returncode}:\n{done.stdout[-4000:]}"
        )


def page(rows: List[Dict[str, Any]], data: Path) -> str:
    """The table as Markdown, with what it was measured on."""
    head = ["run", "steps", "seconds", "PSNR", "SSIM", "autoencoder PSNR", "gap to it", "KB a scene", "KB shared"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for row in rows:
        ceiling = row["autoencoder_psnr"]
        is_rgb = ceiling >= 99
        cells = [
            row["name"],
            row["steps"],
            f"{row['seconds']:.0f}",
            f"{row['psnr']:.2f}",
            f"{row['ssim']:.3f}",
            "-" if is_rgb else f"{ceiling:.2f}",
            "-" if is_rgb else f"{ceiling - row['psnr']:.2f}",
            f"{row['bytes_per_scene'] / 1000:.0f}",
            f"{row['bytes_shared'] / 1000:.0f}",
        ]
        lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    return "\n".join(
        [
            "# Latent and RGB tri-planes at the same wall-clock",
            "",
            f"{datetime.date.today()}, {machine()}; scenes: `{data}` ({len(rows[0]['scenes'])}), held-out views.",
            f"`python benchmarks/latent_and_rgb.py --data {data}`",
            "",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    tyro.cli(LatentAndRgb).main()
