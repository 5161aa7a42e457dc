"""What each choice of `latent-triplane` is worth: one flag changed at a time, same scenes, same number of steps.

    lns demo-scenes --output data/demo
    python benchmarks/ablations.py --data data/demo --study supervision
    python benchmarks/ablations.py --data data/demo --study alignment
    python benchmarks/ablations.py --data data/demo --study size

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


def planes(micro: int, macro: int, bases: int, resolution: int = 32) -> List[str]:
    """Flags of F_mic, F_mac, M and T."""
    sizes = {"micro-features": micro, "macro-features": macro, "num-base-planes": bases, "resolution": resolution}
    return [word for name, size in sizes.items() for word in (f"{FIELD}{name}", str(size))]


def samples(stratified: int, importance: int = 0) -> List[str]:
    """Flags of samples a ray."""
    return [f"{NERF}num-samples", str(stratified), f"{NERF}num-importance-samples", str(importance)]


STUDIES: Dict[str, Tuple[int, List[str], Dict[str, List[str]]]] = {
    "supervision": (
        150,
        ["--pipeline.rgb-alignment-start", "None"],
        {
            "default": [],
            "T = 24": [f"{FIELD}resolution", "24"],
            "T = 48": [f"{FIELD}resolution", "48"],
            "F_mic 32": [f"{FIELD}micro-features", "32"],
            "F_mic 10, F_mac 22, M 50 (papers)": planes(10, 22, 50),
            "F_mic 10, F_mac 22, M 8": planes(10, 22, 8),
            "macro only, F_mac 16, M 4": planes(0, 16, 4),
            "16 samples": samples(16),
            "40 samples": samples(40),
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
            "mixed supervision, t = 0.5": ["--pipeline.mixed-supervision", "0.5"],
        },
    ),
    "size": (
        500,
        ["--pipeline.rgb-alignment-start", "200"],
        {
            "default: T 32, F_mic 10, F_mac 22, M 8, 24 samples": [],
            "T 16": planes(10, 22, 8, 16),
            "T 24": planes(10, 22, 8, 24),
            "T 48": planes(10, 22, 8, 48),
            "T 64": planes(10, 22, 8, 64),
            "F_mic 4, F_mac 28": planes(4, 28, 8),
            "F_mic 16, F_mac 16": planes(16, 16, 8),
            "F_mic 24, F_mac 8": planes(24, 8, 8),
            "F_mic 5, F_mac 11": planes(5, 11, 8),
            "F_mic 20, F_mac 44": planes(20, 44, 8),
            "F_mic 10, M 0": planes(10, 0, 0),
            "F_mic 32, M 0": planes(32, 0, 0),
            "M 2": planes(10, 22, 2),
            "M 32": planes(10, 22, 32),
            "12 samples": samples(12),
            "16 samples": samples(16),
            "48 samples": samples(48),
            "24 + 24 samples": samples(24, 24),
            "the papers': T 64, M 50, 48 + 48 samples": [*planes(10, 22, 50, 64), *samples(48, 48)],
        },
    ),
}
"""Steps, flags of all variants, and those of each."""


@dataclass
class Ablations:
    """Trains and measures the variants of a study."""

    data: Path
    """Scenes to learn."""
    study: Literal["supervision", "alignment", "size"] = "supervision"
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
        "| variant | PSNR | SSIM | latent PSNR | autoencoder PSNR | CPU seconds | KB a scene, float16 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        numbers = [f"{row[key]:.2f}" for key in ("psnr", "ssim", "latent_psnr", "autoencoder_psnr")]
        sizes = f"{row['cpu_seconds']:.0f} | {row['bytes_per_scene'] / 2000:.1f}"
        lines.append(f"| {row['variant']} | {' | '.join(numbers)} | {sizes} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(Ablations).main()
