"""The scene encoder of a shared bundle: built, read, and written beside what the bundle holds."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Dict, Optional

import torch

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import FILES, copy_files
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.latent_space.checks import is_finite
from latent_nerfstudio.models.bundle_checks import AGAIN
from latent_nerfstudio.models.bundle_folder import (
    ENCODER_FILE,
    FOLDER,
    SETTINGS_FILE,
    hash_folder,
    link_autoencoder,
    stored_tensors,
)
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.scene_encoder.network import SceneEncoder, SceneEncoderConfig


def new_scene_encoder(bundle: SharedBundle, config: SceneEncoderConfig) -> SceneEncoder:
    """An untrained scene encoder for a bundle: it predicts the mean scene.

    Raises:
        ValueError: a bundle without micro planes, or with other planes than XY, XZ and YZ in a box.
    """
    field = bundle.field
    if field["micro_features"] == 0 or field.get("eg3d_axes", False) or bundle.scene_contraction:
        expected = "micro planes XY, XZ and YZ within a box"
        raise ValueError(problem(f"scene encoder for {bundle.folder}", expected, "others", "learn another bundle"))
    return config.setup(
        channels=bundle.autoencoder["channels"],
        box=bundle.box,
        features=field["micro_features"],
        resolution=field["resolution"],
        mean_weights=bundle.tensors.get("mean_scene_weights", torch.zeros(0)),
    )


def read_scene_encoder(bundle: SharedBundle) -> Optional[SceneEncoder]:
    """The scene encoder of a bundle, for evaluation; None where it has none.

    Raises:
        ValueError: weights of another bundle, or damaged ones.
    """
    if bundle.scene_encoder is None:
        return None
    encoder = new_scene_encoder(bundle, SceneEncoderConfig(**bundle.scene_encoder))
    path, left = bundle.folder / ENCODER_FILE, encoder.state_dict()
    for name, value in stored_tensors(path) if path.is_file() else ():
        own = left.pop(name, None)
        if own is None or own.shape != value.shape:
            got = f"{name!r:.80} of {list(value.shape)}"
            raise ValueError(problem(path, "the scene encoder of this bundle", got, AGAIN))
        if not value.is_floating_point() or not is_finite(value):
            raise ValueError(problem(path, "finite numbers", f"others in {name}", AGAIN))
        own.copy_(value)
    if left:
        raise ValueError(problem(path, "the scene encoder of this bundle", f"no {next(iter(left))}", AGAIN))
    return encoder.eval().requires_grad_(False)


def write_scene_encoder(bundle: SharedBundle, encoder: SceneEncoder, run_folder: Path, facts: Dict[str, Any]) -> Path:
    """Writes a copy of a bundle with a scene encoder, in half precision, as RUN/shared_bundle.

    Args:
        bundle: the bundle; a scene encoder that it has is replaced in the copy.
        encoder: for this bundle.
        run_folder: folder of the run.
        facts: what bundle.json should say of it beside the bundle's own facts.

    Returns:
        The new bundle's folder.
    """
    from safetensors.torch import save_file

    settings = read_json(bundle.folder / SETTINGS_FILE)
    settings["facts"] = {**bundle.facts, "scene_encoder": facts}
    settings["scene_encoder"] = settings_of(encoder.config)
    state = {name: value.detach().half().cpu().contiguous() for name, value in encoder.state_dict().items()}
    with replacing_folder(run_folder / FOLDER, rf"README\.md|{FILES['bundle']}") as folder:
        copy_files(bundle.folder, folder, FILES["bundle"])
        save_file(state, folder / ENCODER_FILE)
        (folder / ENCODER_FILE).chmod(0o644)  # safetensors keeps its files to their owner
        settings["hash"] = hash_folder(folder, settings)
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    if not bundle.autoencoder["is_identity"]:
        link_autoencoder(run_folder)
    return run_folder / FOLDER


def settings_of(config: SceneEncoderConfig) -> Dict[str, int]:
    """The sizes of a scene encoder by name."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name != "_target"}
