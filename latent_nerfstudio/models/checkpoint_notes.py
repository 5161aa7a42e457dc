"""What the checkpoint of a latent model says beside its weights, and what of it is refused."""

import warnings
from dataclasses import replace
from typing import Any, Dict

import torch

from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.fields.placement import Placement, placement_table, placements_from
from latent_nerfstudio.models.shared_bundle import FORMER, FORMER_ENCODER, read_shared_bundle

ENCODER_HASH = "encoder_hash"
"""Name in a checkpoint of the hash of the encoder that it leaves out."""

ENLARGED = "enlarge"
"""Name, in checkpoints and in facts of scenes and scene encoders, of the times that pictures were enlarged."""

PLACEMENTS = "placements"
"""Name in a checkpoint of the scenes' placements."""


SCENES = "scenes"
"""Name in a checkpoint of the names of its scenes, where it has several, a line each in the order of their rows."""


def keep_notes(model: Any) -> None:
    """Lets a `LatentModel` write its notes into checkpoints, and heed those that it loads."""
    model.register_state_dict_post_hook(add_notes)
    for hook in (check_encoder_hash, check_enlarge, check_scenes, take_placements, take_picture_decoder):
        model.register_load_state_dict_pre_hook(hook)


def add_notes(model: Any, state_dict: Dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """Adds to a checkpoint the names of several scenes, the placements of moved ones, the enlargement of pictures, and
    the hash of the encoder if it is left out; a trained one is in the checkpoint itself."""
    if len(model.scene_names) > 1:
        names = "\n".join(model.scene_names).encode(errors="surrogateescape")
        state_dict[f"{prefix}{SCENES}"] = torch.tensor(list(names), dtype=torch.uint8)
    if model.placements.are_moved:
        state_dict[f"{prefix}{PLACEMENTS}"] = placement_table(model.placements)
    space = model.latent_space
    if space.autoencoder.enlarge > 1:
        state_dict[f"{prefix}{ENLARGED}"] = torch.tensor(space.autoencoder.enlarge)
    if not space.trains_encoder:
        digest = bytes.fromhex(space.autoencoder.encoder_hash())
        state_dict[f"{prefix}{ENCODER_HASH}"] = torch.tensor(list(digest), dtype=torch.uint8)


def take_placements(model: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Takes the placements of a checkpoint; without any, scenes are not moved. Nerfstudio loads a pipeline in two
    calls, its model and everything else: the second has nothing for this model."""
    rows = state_dict.pop(f"{prefix}{PLACEMENTS}", None)
    if not any(name.startswith(prefix) for name in state_dict):
        return
    model.place([Placement()] * len(model.scene_names) if rows is None else placements_from(rows))


def check_scenes(model: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuses scenes in other rows than they have in a checkpoint, as one that was renamed, added or removed moves
    those after it; warns of other names in rows of their own."""
    saved = state_dict.pop(f"{prefix}{SCENES}", None)
    theirs = [] if saved is None else bytes(saved.tolist()).decode(errors="surrogateescape").split("\n")
    rows = {name: row for row, name in enumerate(model.scene_names)}
    if any(rows.get(name, row) != row for row, name in enumerate(theirs)):
        do = "restore the scenes and their names, or train anew"
        raise ValueError(problem("checkpoint", f"the scenes {few_of(theirs)}", few_of(model.scene_names), do))
    pairs = zip(theirs, model.scene_names, strict=False)
    others = [f"{name} (trained as {own})" for own, name in pairs if own != name]
    if others:
        warnings.warn(f"checkpoint: its scenes had other names: {few_of(others)}", stacklevel=2)


def take_picture_decoder(model: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Makes room for the decoder of pictures of a checkpoint that has one."""
    if model.picture_decoder is None and any(name.startswith(f"{prefix}picture_decoder.") for name in state_dict):
        model.separate_decoders()


def check_encoder_hash(model: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuses a checkpoint with latents of another encoder. (The latent space refuses other channels.)"""
    saved = state_dict.pop(f"{prefix}{ENCODER_HASH}", None)
    background = state_dict.get(f"{prefix}latent_space.background")
    space = model.latent_space
    if saved is None or space.trains_encoder or background is None or background.shape != space.background.shape:
        return
    theirs, ours = bytes(saved.tolist()).hex(), space.autoencoder.encoder_hash()
    if theirs != ours and not take_former_encoder(model, theirs, ours):
        config = model.autoencoder_config
        do = "restore the autoencoder or the shared bundle that the run was started with"
        got = f"{ours} from {config.source}"
        raise ValueError(problem("checkpoint", f"the encoder {theirs}, which its latents come from", got, do))


def take_former_encoder(model: Any, wanted: str, ours: str) -> bool:
    """Whether it is the encoder of what `bundled` was, in the place of the present one's; then it is what a run of that
    time gets, and no predictions, as these are of the present one."""
    if wanted != FORMER_ENCODER or ours != read_shared_bundle("bundled").autoencoder["encoder_hash"]:
        return False
    config = replace(model.autoencoder_config, source=FORMER, subfolder=None)
    state = config.setup().state_dict()
    if state.keys() != model.latent_space.autoencoder.state_dict().keys():
        return False
    model.latent_space.autoencoder.load_state_dict(state)
    model.autoencoder_config = config
    model.forget_scene_encoder()
    if model.config.shared_bundle is not None:
        model.bundle_facts = read_shared_bundle(FORMER).facts
    return True


def check_enlarge(model: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuses latents of pictures that were enlarged by another factor; of 1 a checkpoint says nothing."""
    saved = int(state_dict.pop(f"{prefix}{ENLARGED}", 1))
    ours = model.latent_space.autoencoder.enlarge
    if saved != ours and any(name.startswith(prefix) for name in state_dict):
        do = f"give --pipeline.model.autoencoder.enlarge {saved}, or write it into config.yml"
        raise ValueError(problem("checkpoint", f"pictures that are enlarged {saved} times", ours, do))
