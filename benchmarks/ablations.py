"""What each choice of `latent-triplane` is worth: one flag changed at a time, same scenes, same number of steps.

    lns demo-scenes data/demo
    python benchmarks/ablations.py --data data/demo --study supervision
    python benchmarks/ablations.py --data data/demo --study alignment

Each variant is trained in a process of its own by Nerfstudio's parser and trainer, then measured on the held-out views.
Seconds are the process's CPU seconds of the training loop, which a busy machine disturbs less than wall-clock.
"""

import datetime
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Literal, Tuple

import tyro
from common import Named, Training, in_own_process, measure

FIELD = "--pipeline.model.nerf.field."
NERF = "--pipeline.model.nerf."

STUDIES: Dict[str, Tuple[int, List[str], Dict[str, List[str]]]] = {
    "supervision": (
        150,
        ["--pipeline.rgb-alignment-start", "None"],
        {
            "default": [],
            "T = 24": [f"{FIELD}resolution", "24"],
            "T = 48": [f"{FIELD}resolution", "48"],
            "F_mic 32": [f"{FIELD}micro-features", "32"],
            "F_mic 10, F_mac 22, M 50 (papers)": [
                *(f"{FIELD}micro-features", "10", f"{FIELD}macro-features", "22", f"{FIELD}num-base-planes", "50"),
            ],
            "F_mic 10, F_mac 22, M 8": [
                *(f"{FIELD}micro-features", "10", f"{FIELD}macro-features", "22", f"{FIELD}num-base-planes", "8"),
            ],
            "macro only, F_mac 16, M 4": [
                *(f"{FIELD}micro-features", "0", f"{FIELD}macro-features", "16", f"{FIELD}num-base-planes", "4"),
            ],
            "16 samples": [f"{NERF}num-samples", "16"],
            "40 samples": [f"{NERF}num-samples", "40"],
            "product of planes": [f"{FIELD}aggregation", "product"],
            "planes XY, XZ, ZX (published)": [f"{FIELD}eg3d-axes", "True"],
            "tanh normaliser (published)": ["--pipeline.model.normalizer", "tanh"],
            "total variation x 10": [f"{NERF}total-variation-weight", "0.1"],
            "no total variation": [f"{NERF}total-variation-weight", "0"],
        },
    ),
    "alignment": (
        300,
        ["--pipeline.rgb-alignment-start", "100"],
        {
            "default": [],
            "decoder frozen": ["--pipeline.train-decoder", "False"],
            "decoder lr 1e-3": ["--optimizers.decoder.optimizer.lr", "1e-3"],
            "with latent loss 0.03": ["--pipeline.alignment-latent-weight", "0.03"],
            "mixed supervision, t = 0.5": ["--pipeline.mixed-supervision", "0.5"],
        },
    ),
}
"""Steps, flags of all variants, and those of each."""


@dataclass
class Ablations:
    """Trains and measures the variants of a study."""

    data: Path
    """Scenes to learn."""
    study: Literal["supervision", "alignment"] = "supervision"
    """Which study."""
    output: Path = Path("benchmarks")
    """Folder of the table and the numbers."""

    def main(self) -> None:
        steps, common, variants = STUDIES[self.study]
        rows = [self.measure(name, steps, [*common, *flags]) for name, flags in variants.items()]
        path = self.output / f"ablations_{self.study}.md"
        path.write_text(page(self.study, ["--max-num-iterations", str(steps), *common], rows, self.data))
        path.with_suffix(".json").write_text(json.dumps(rows, indent=2))
        print(path.read_text())

    def measure(self, name: str, steps: int, flags: List[str]) -> Dict[str, Any]:
        """Trains a variant and evaluates it on the held-out views."""
        training = Training("latent-triplane", Named("scenes", str(self.data)), tuple(flags))
        numbers = in_own_process(measure, training, [steps])[0]
        row = {"variant": name, "flags": " ".join(["--max-num-iterations", str(steps), *flags]), **numbers}
        print(json.dumps({k: row[k] for k in ("variant", "cpu_seconds", "psnr", "latent_psnr")}), flush=True)
        return row


def page(study: str, common: List[str], rows: List[Dict[str, Any]], data: Path) -> str:
    """The table as Markdown."""
    lines = [
        f"# Ablations: {study}",
        "",
        f"{datetime.date.today()}, `python benchmarks/ablations.py --data {data} --study {study}`; all with",
        f"`{' '.join(common)}`, held-out views.",
        "",
        "| variant | PSNR | SSIM | latent PSNR | autoencoder PSNR | CPU seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        numbers = [f"{row[key]:.2f}" for key in ("psnr", "ssim", "latent_psnr", "autoencoder_psnr")]
        lines.append(f"| {row['variant']} | {' | '.join(numbers)} | {row['cpu_seconds']:.0f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(Ablations).main()
