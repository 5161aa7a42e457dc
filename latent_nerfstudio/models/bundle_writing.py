"""Writes what a model's scenes share as a shared bundle, see `shared_bundle`."""

import copy
import json
from pathlib import Path
from typing import Any, Dict, Tuple

import torch
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.latent_space.autoencoder import Autoencoder, AutoencoderConfig, check_not_retired, save_vae
from latent_nerfstudio.latent_space.latent_space import LatentSpace, Normalizer
from latent_nerfstudio.models.bundle_folder import AUTOENCODER, FOLDER, TENSORS_FILE, written_bundle
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.shared_bundle import BUNDLE_FORMAT, DECODER, latent_space_tensors
from latent_nerfstudio.models.triplane import TriplaneModel


def write_shared_bundle(
    run_folder: Path, model: LatentModel, step: int, facts: Dict[str, Any], dtype: torch.dtype = torch.float32
) -> Path:
    """Writes what the scenes of a latent model around a TriplaneModel share, its latent space fitted, as
    RUN/shared_bundle, in one piece, and links RUN/autoencoder to it. `facts` are what else bundle.json should say, JSON
    values; `dtype` is that of autoencoder and base planes."""
    nerf, space = checked_nerf(model), model.latent_space
    settings = {**settings_of(space, nerf), "num_scenes": len(model.scene_names), "step": step, "facts": facts}
    with written_bundle(run_folder, settings) as folder:
        encoder_hash = space.autoencoder.encoder_hash()
        autoencoder, decoder = autoencoder_and_decoder(model)
        if not space.is_identity:
            encoder_hash = write_autoencoder(folder / AUTOENCODER, autoencoder, space.normalizer, dtype)
        settings["autoencoder"] = {**settings["autoencoder"], "encoder_hash": encoder_hash}
        write_tensors(folder / TENSORS_FILE, space, nerf, decoder, dtype)
    return run_folder / FOLDER


def checked_nerf(model: LatentModel) -> TriplaneModel:
    """The NeRF within a model; refuses models that make no bundle."""
    if not isinstance(model.nerf, TriplaneModel):
        got, do = f"a {type(model.nerf).__name__}, which has no base planes", "train with latent-triplane or ig-ae"
        raise ValueError(problem("shared bundle", "a TriplaneModel within the latent model", got, do))
    check_not_retired(model.latent_space.autoencoder.retired)
    if not bool(model.latent_space.fitted):
        do = "call the pipeline's prepare() first"
        raise ValueError(problem("shared bundle", "a latent space that is fitted to pictures", "a fresh one", do))
    return model.nerf


def settings_of(space: LatentSpace, nerf: TriplaneModel) -> Dict[str, Any]:
    """What decides the meaning of a bundle's tensors."""
    return {
        "format": BUNDLE_FORMAT,
        "normalizer": space.normalizer.kind,
        "background_color": space.background_color.tolist(),
        "field": nerf.field.shared_settings(),
        "scene_contraction": nerf.config.scene_contraction,
        "aabb": nerf.aabb.tolist(),
        "autoencoder": {
            "is_identity": space.is_identity,
            "downscale_factor": space.autoencoder.factor,
            "channels": space.num_channels,
        },
    }


def autoencoder_and_decoder(model: LatentModel) -> Tuple[Autoencoder, Dict[str, Tensor]]:
    """The autoencoder of a model's bundle, and the decoder of rendered latents where it is another one. RGB alignment
    turns a run's decoder towards what scenes can render, and away from what the encoder makes of pictures: so the
    autoencoder keeps the decoder of pictures."""
    ours = model.latent_space.autoencoder
    others = model.decoder_of_pictures()
    if others is ours or not (model.picture_decoder or others.encoder_hash() == ours.encoder_hash()):
        return ours, {}
    before, after = ({n: v.detach().cpu() for n, v in own.decoder_state().items()} for own in (others, ours))
    is_same = all(torch.equal(value, before[name]) for name, value in after.items())
    of_pictures = copy.deepcopy(ours)
    of_pictures.load_decoder(before)
    return of_pictures, {} if is_same else after


def write_tensors(
    path: Path, space: LatentSpace, nerf: TriplaneModel, decoder: Dict[str, Tensor], dtype: torch.dtype
) -> None:
    """Writes what scenes share apart from the autoencoder; of it, base planes and decoder in another type."""
    from safetensors.torch import save_file

    tensors = {f"field.{name}": value for name, value in nerf.field.shared_state().items()}
    if nerf.field.scene_weights is not None:
        tensors["mean_scene_weights"] = nerf.field.scene_weights.mean(dim=0)
    if "field.base_planes" in tensors:
        tensors["field.base_planes"] = tensors["field.base_planes"].to(dtype)
    tensors.update({f"{DECODER}{name}": value.to(dtype) for name, value in decoder.items()})
    tensors.update(latent_space_tensors(space))
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)


def write_autoencoder(folder: Path, autoencoder: Autoencoder, normalizer: Normalizer, dtype: torch.dtype) -> str:
    """Writes the autoencoder in diffusers format with a latent_space.json, and returns the hash of its stored encoder.
    Diffusers notes in config.json where the weights were loaded from; a path of this machine says nothing elsewhere."""
    save_vae(autoencoder.vae, folder, dtype)
    config = read_json(folder / "config.json")
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    numbers = {
        "downscale_factor": autoencoder.factor,
        "channels": autoencoder.num_channels,
        "mean": normalizer.mean.tolist(),
        "std": normalizer.std.tolist(),
    }
    (folder / "latent_space.json").write_text(json.dumps(numbers, indent=2), encoding="utf-8")
    return AutoencoderConfig(source=str(folder)).setup().encoder_hash()
