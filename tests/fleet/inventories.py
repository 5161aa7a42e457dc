"""What the tests of the fleet share: tiny bundles, inventories of balls."""

from pathlib import Path
from typing import Any

import torch
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.fleet.request import FitRequest
from latent_nerfstudio.fleet.settings import Inventory, resolved
from latent_nerfstudio.method_configs.triplane import latent_triplane
from latent_nerfstudio.models.bundle_writing import write_shared_bundle


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
    """An inventory with few steps, in which views of few photos are held out."""
    values = {"steps": 4, "rays_per_scene": 64, "eval_interval": 10, "latent_cache": "memory", **settings}
    return resolved(FitRequest(data, output, str(bundle), **values), latent_triplane.config)  # type: ignore[arg-type]


def unread_inventory(output: Path) -> Inventory:
    """An inventory that nothing is read of."""
    return Inventory(Path(), output, "bundle", steps=10, bundle_hash="abc", method=None)  # type: ignore[arg-type]
