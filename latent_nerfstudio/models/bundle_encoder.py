"""The scene encoder of a shared bundle: built, read, and written beside what the bundle holds."""

import dataclasses
from pathlib import Path
from typing import Any, Dict, Optional

import torch

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import FILES, copy_files
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.latent_space.checks import check_finite
from latent_nerfstudio.models.bundle_checks import AGAIN
from latent_nerfstudio.models.bundle_folder import ENCODER_FILE, FOLDER, SETTINGS_FILE, stored_tensors, written_bundle
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.scene_encoder.network import SceneEncoder, SceneEncoderConfig


def new_scene_encoder(bundle: SharedBundle, config: SceneEncoderConfig) -> SceneEncoder:
    """An untrained scene encoder for a bundle of micro planes XY, XZ and YZ in a box; it predicts the mean scene."""
    field = bundle.field
    if field["micro_features"] == 0 or field.get("eg3d_axes", False) or bundle.scene_contraction:
        expected = "micro planes XY, XZ and YZ within a box"
        raise ValueError(problem(f"scene encoder for {bundle.folder}", expected, "others", "learn another bundle"))
    return config.setup(
        channels=bundle.autoencoder["channels"],
        box=bundle.box,
        features=field["micro_features"],
        all_features=field["micro_features"] + (field["macro_features"] if bundle.has_base_planes else 0),
        resolution=field["resolution"],
        mean_weights=bundle.tensors.get("mean_scene_weights", torch.zeros(0)),
    )


def read_scene_encoder(bundle: SharedBundle) -> Optional[SceneEncoder]:
    """The scene encoder of a bundle, for evaluation; None where it has none."""
    if bundle.scene_encoder is None:
        return None
    sizes = {"knows_box": False, "looks": 0, **bundle.scene_encoder}  # older ones are not told it, nor look again
    encoder = new_scene_encoder(bundle, SceneEncoderConfig(**sizes))
    path = bundle.folder / ENCODER_FILE
    state = dict(stored_tensors(path)) if path.is_file() else {}
    check_finite(state, path, AGAIN)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(problem(path, "the scene encoder of this bundle", f"another: {error}", AGAIN)) from error
    return encoder.eval().requires_grad_(False)


def write_scene_encoder(bundle: SharedBundle, encoder: SceneEncoder, run_folder: Path, facts: Dict[str, Any]) -> Path:
    """Writes a copy of a bundle with a scene encoder, in half precision and in the place of one that it has, as
    RUN/shared_bundle; `facts` are added to the bundle's own."""
    from safetensors.torch import save_file

    settings = read_json(bundle.folder / SETTINGS_FILE)
    settings["facts"] = {**bundle.facts, "scene_encoder": facts}
    settings["scene_encoder"] = sizes_of(encoder.config)
    state = {name: value.detach().half().cpu().contiguous() for name, value in encoder.state_dict().items()}
    with written_bundle(run_folder, settings) as folder:
        copy_files(bundle.folder, folder, FILES["bundle"])
        save_file(state, folder / ENCODER_FILE)
    return run_folder / FOLDER


def sizes_of(config: SceneEncoderConfig) -> Dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name != "_target"}
