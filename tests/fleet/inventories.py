"""What the tests of the fleet share: tiny bundles, inventories of balls, and a `fit_chunk` whose worker is killed once.

Other processes find that function by its name, so it is here and not in a test.
"""

import os
import signal
from pathlib import Path
from typing import Any, List

import torch
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.fleet.fit_chunk import fit_chunk
from latent_nerfstudio.fleet.settings import ChunkJob, FitSettings, Inventory
from latent_nerfstudio.fleet.status import SceneStatus
from latent_nerfstudio.method_configs.triplane import latent_triplane
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle


def write_bundle(folder: Path, source: Any = "identity", seed: int = 0, **nerf: Any) -> Path:
    """Writes a run with a tiny bundle, without training."""
    field = {"micro_features": 4, "macro_features": 3, "num_base_planes": 2, **nerf}
    model = latent_model_of(source, nerf=small_nerf(**field))
    with torch.no_grad():
        torch.manual_seed(seed)
        model.nerf.field.base_planes.normal_(std=0.1)
    write_shared_bundle(folder, model, 1, {})
    return folder


def inventory_of(data: Path, output: Path, bundle: Path, **settings: Any) -> Inventory:
    """An inventory with few steps."""
    values = {"steps": 4, "rays_per_scene": 64, **settings}
    kept = FitSettings(bundle=read_shared_bundle(str(bundle)).hash, **values)
    return Inventory(data, output, str(bundle), kept, latent_triplane.config, latent_cache="memory")


def has_happened(job: ChunkJob, what: str) -> bool:
    """Whether this was asked before, by any process."""
    mark = job.inventory.output / what
    if mark.exists():
        return True
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return False


def fit_and_die_once(job: ChunkJob, *on_progress: Any) -> List[SceneStatus]:
    """Fits a chunk, but the first worker that has one is killed when its first scene is there."""
    if not has_happened(job, "killed"):
        fit_chunk(ChunkJob(job.inventory, job.names[:1]))
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_chunk(job, *on_progress)
