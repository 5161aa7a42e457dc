"""Small runs, on the CPU unless they are told otherwise."""

from pathlib import Path
from typing import Any

from nerfstudio.engine.optimizers import AdamOptimizerConfig

from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

GROUPS = ("planes", "shared_planes", "mlp", "decoder")


def run_config(
    pipeline: LatentPipelineConfig, out: Path, steps: int, device: str = "cpu", **settings: Any
) -> LatentTrainerConfig:
    """The config of a run in OUT/balls/tiny/now, which saves at its end alone."""
    each = {"optimizer": AdamOptimizerConfig(lr=0.01), "scheduler": StagedSchedulerConfig()}
    own = {"optimizers": dict.fromkeys(GROUPS, each), "steps_per_save": 1000, "steps_per_eval_batch": 3, **settings}
    place = {"method_name": "tiny", "experiment_name": "balls", "timestamp": "now", "output_dir": out}
    config = LatentTrainerConfig(max_num_iterations=steps, pipeline=pipeline, vis="tensorboard", **place, **own)
    config.machine.device_type = device  # type: ignore[assignment]
    return config
