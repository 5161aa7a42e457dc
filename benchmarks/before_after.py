"""CPU milliseconds of a step of each stage, of two checkouts that take turns: ratios, whatever else the machine does.

python benchmarks/before_after.py --before CHECKOUT --data data/demo --images PHOTOS
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Dict, List

import tyro
from common import make_trainer, table

HERE = Path(__file__).parent

STAGES: Dict[str, Dict[str, Any]] = {
    "latent supervision": {"rgb_alignment_start": None},
    "RGB alignment, whole pictures": {"rgb_alignment_start": 0, "crop": None},
    "RGB alignment, crops": {"rgb_alignment_start": 0, "crop": 64},
    "joint training, whole pictures": {"joint_training_start": 0, "crop": None},
    "joint training, crops": {"joint_training_start": 0, "crop": 64},
}
"""Settings of the pipeline by stage, the method of which is ig-ae where joint training is set."""


@dataclass
class BeforeAfter:
    """Has the checkouts take turns, with one thread each."""

    before: Path
    """Checkout of an earlier commit."""
    data: Path
    """Scenes."""
    images: Path
    """Folder of real images, for joint training."""
    after: Path = HERE.parent
    """Checkout of a later one."""
    rounds: int = 4
    """Turns of each."""
    steps: int = 4
    """Of a stage in a turn."""

    def main(self) -> None:
        spent: Dict[str, List[List[float]]] = {stage: [[], []] for stage in STAGES}
        workers = [self.worker(self.before), self.worker(self.after)]
        for turn in range(self.rounds + 1):
            for stage, both in spent.items():
                for worker, times in zip(workers, both, strict=True):
                    worker.stdin.write(f"{stage}\n")
                    worker.stdin.flush()
                    taken = json.loads(worker.stdout.readline())
                    times += taken if turn else []  # the first turn warms up
                print(turn, stage, *(f"{median(times or [0]):.1f}" for times in both), file=sys.stderr, flush=True)
        for worker in workers:
            worker.communicate()
        rows = [(stage, *map(median, both)) for stage, both in spent.items()]
        shown = [[stage, f"{old:.1f}", f"{new:.1f}", f"{new / old:.2f}"] for stage, old, new in rows]
        print("\n".join(table(("step", "before, ms", "after, ms", "ratio"), shown)))

    def worker(self, checkout: Path) -> Any:
        """A process that measures steps of a checkout, when a line with a stage comes."""
        words = ["-W", "ignore", str(Path(__file__).resolve()), "--work"]
        words += [str(self.data.resolve()), str(self.images.resolve()), str(self.steps)]
        variables = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, *words], env=variables, **pipes)


def work(data: str, images: str, steps: int) -> None:
    """Measures what it is asked for, line by line."""
    import latent_nerfstudio

    out, sys.stdout = sys.stdout, sys.stderr
    cars = Path(latent_nerfstudio.__file__).parent / "latent_space" / "bundled_cars"
    bundle = "bundled-cars" if cars.exists() else "bundled"
    trainers: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        quiet = ("--vis", "tensorboard", "--pipeline.datamanager.latent-cache", "memory", "--data", data)
        for method, flags in (
            ("latent-triplane", ("--pipeline.model.shared-bundle", bundle)),
            ("ig-ae", ("--pipeline.model.autoencoder.source", bundle, "--pipeline.real-images", images,
                       "--pipeline.datamanager.scenes-per-batch", "4",
                       "--pipeline.datamanager.images-per-batch", "4")),
        ):  # fmt: skip
            trainers[method] = make_trainer([method, *quiet, *flags], Path(folder))
            trainers[method].setup()
            trainers[method].pipeline.train()
        count = 0
        for line in sys.stdin:
            settings = STAGES[line.strip()]
            trainer = trainers["ig-ae" if "joint_training_start" in settings else "latent-triplane"]
            for name, value in settings.items():
                setattr(trainer.pipeline.config, name, value)
            times = []
            while len(times) < steps:
                count += 1
                if count % 8 and count % 20:  # neither whole pictures between crops nor the normaliser's turn
                    began = time.process_time()
                    trainer.train_iteration(count)
                    times.append(1e3 * (time.process_time() - began))
            print(json.dumps(times), file=out, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        tyro.cli(BeforeAfter).main()
