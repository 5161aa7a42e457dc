"""What the tests of shared bundles share: models that make one, models that start from one, and another NeRF."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Type

import torch
from nerfstudio.models.base_model import Model, ModelConfig
from scene_folders import edited
from tiny import SHARED, cube, disturb, latent_model_of, small_nerf

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.bundle_folder import hash_folder
from latent_nerfstudio.models.latent_model import LatentModel, LatentModelConfig

MICRO = {"micro_features": 4, "macro_features": 0, "num_base_planes": 0}
MACRO = {"micro_features": 0, **SHARED}
BOTH = {"micro_features": 4, **SHARED}

WHITE = (1.0, 1.0, 1.0)


def bundle_model(source: Any, names: Any = ("a", "b"), normalizer: Any = "mean-std", **nerf: Any) -> LatentModel:
    """A latent model whose autoencoder is no longer the one it came from, encoder and decoder."""
    model = latent_model_of(source, list(names), nerf=small_nerf(**{**BOTH, **nerf}), normalizer=normalizer)
    disturb(model.latent_space.autoencoder.parameters())
    return model


def started(
    bundle: Any,
    names: Any = ("new", "newer"),
    source: Optional[Any] = None,
    box: float = 1.0,
    color: Any = WHITE,
    nerf: Optional[ModelConfig] = None,
    **settings: Any,
) -> LatentModel:
    """A latent model that starts from a bundle, with the field settings that a user would have left alone."""
    autoencoder = AutoencoderConfig() if source is None else AutoencoderConfig(source=str(source))
    config = LatentModelConfig(autoencoder=autoencoder, nerf=nerf or small_nerf(resolution=5), **settings)
    config.shared_bundle = str(bundle)
    metadata = {"scene_names": list(names), "background_color": color}
    return config.setup(scene_box=cube(box), num_train_data=1, metadata=metadata).eval()


def reseal(folder: Path, change: Callable[[Dict[str, Any]], Any] = lambda settings: None) -> None:
    """Changes the settings in bundle.json, and the hash with them, as a stranger could."""
    with edited(folder / "bundle.json") as settings:
        change(settings)
        settings["hash"] = hash_folder(folder, settings)


@dataclass
class PlainConfig(ModelConfig):
    """A NeRF of another kind."""

    _target: Type = field(default_factory=lambda: Plain)
    enable_collider: bool = False


class Plain(Model):
    """Renders one colour everywhere."""

    def populate_modules(self):
        super().populate_modules()
        self.color = torch.nn.Parameter(torch.zeros(self.kwargs["num_channels"]))

    def get_param_groups(self):
        return {"mlp": [self.color]}

    def get_outputs(self, ray_bundle):
        ones = torch.ones_like(ray_bundle.origins[:, :1])
        return {"latent": ones * self.color, "accumulation": ones, "depth": ones}

    def get_loss_dict(self, outputs, batch, metrics_dict=None):
        return {"latent_loss": (outputs["latent"] - batch["latent"]).square().mean()}

    def get_regularization_dict(self, outputs):
        return {}
