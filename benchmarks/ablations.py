"""What each choice of `latent-triplane` is worth: one flag changed at a time, same scenes, same number of steps.

    lns demo-scenes data/demo
    python benchmarks/ablations.py --data data/demo --study supervision
    python benchmarks/ablations.py --data data/demo --study alignment

Each variant is trained in a process of its own by Nerfstudio's parser and trainer, then measured on the held-out views.
Seconds are the process's CPU seconds of the training loop, which a busy machine disturbs less than wall-clock.
"""

import datetime
import json
import tempfile
import time
import warnings
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Dict, List, Literal, Tuple

import tyro

FIELD = "--pipeline.model.nerf.field."
NERF = "--pipeline.model.nerf."
ALIGNMENT = ["--max-num-iterations", "300", "--pipeline.rgb-alignment-start", "100"]

STUDIES: Dict[str, Tuple[List[str], Dict[str, List[str]]]] = {
    "supervision": (
        ["--max-num-iterations", "150", "--pipeline.rgb-alignment-start", "None"],
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
        ALIGNMENT,
        {
            "default": [],
            "decoder frozen": ["--pipeline.train-decoder", "False"],
            "decoder lr 1e-3": ["--optimizers.decoder.optimizer.lr", "1e-3"],
            "with latent loss 0.03": ["--pipeline.alignment-latent-weight", "0.03"],
            "mixed supervision, t = 0.5": ["--pipeline.mixed-supervision", "0.5"],
        },
    ),
}


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
        common, variants = STUDIES[self.study]
        jobs = [(name, [*common, *flags], self.data) for name, flags in variants.items()]
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:  # Nerfstudio's loggers are global
            rows = pool.starmap(measure, jobs, chunksize=1)
        path = self.output / f"ablations_{self.study}.md"
        path.write_text(page(self.study, common, rows, self.data))
        path.with_suffix(".json").write_text(json.dumps(rows, indent=2))
        print(path.read_text())


def measure(name: str, flags: List[str], data: Path) -> Dict[str, Any]:
    """Trains a variant and evaluates it on the held-out views."""
    from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion

    with tempfile.TemporaryDirectory() as folder:
        arguments = ["latent-triplane", "--data", str(data), "--output-dir", folder, "--vis", "tensorboard", *flags]
        config: Any = tyro.cli(AnnotatedBaseConfigUnion, args=[*arguments, "--contact-sheet", "False"])  # type: ignore[arg-type]
        config.pipeline.datamanager.data = config.data
        config.set_timestamp()
        trainer = config.setup(local_rank=0, world_size=1)
        trainer.setup()
        started = time.process_time()
        trainer.train()
        seconds = time.process_time() - started
        metrics = trainer.pipeline.get_average_eval_image_metrics()
    row = {"variant": name, "flags": " ".join(flags), "cpu_seconds": seconds, **metrics}
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
