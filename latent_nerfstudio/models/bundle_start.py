"""How a latent model starts from a shared bundle: first its latent space, then the NeRF inside. Encoder, normaliser and
MLP were learned together, so the bundle decides all of them, and the settings that shape them."""

from dataclasses import fields, replace
from pathlib import Path
from typing import List, Sequence

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.utils.rich_utils import CONSOLE

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup
from latent_nerfstudio.fields.placement import Placement, box_words, placement_of
from latent_nerfstudio.fields.triplane_field import REMOVED, TriplaneField, check_removed
from latent_nerfstudio.latent_space.autoencoder import Autoencoder
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.models.bundle_checks import AGAIN
from latent_nerfstudio.models.bundle_folder import AUTOENCODER, find_folder
from latent_nerfstudio.models.shared_bundle import (
    BUNDLED_BUNDLES,
    SharedBundle,
    latent_space_tensors,
    read_shared_bundle,
)
from latent_nerfstudio.models.triplane import TriplaneModelConfig

COLOR_TOLERANCE = 1e-3
"""Difference of colours that 8 bits do not show."""


@torch.no_grad()
def start_latent_space(space: LatentSpace, bundle: SharedBundle) -> None:
    """Gives a fresh latent space the bundle's numbers, so that nothing is fitted to the data. If the bundle's
    background does not fit, that one small picture is encoded."""
    same_encoder = check_autoencoder(space, bundle)
    for name, target in latent_space_tensors(space).items():
        if not (space.is_identity and name == "background"):  # which is the data's colour, without any encoding
            target.copy_(bundle.tensors[name])
    if same_encoder and bundle.decoder:
        load_decoder(space.autoencoder, bundle)
    difference = (space.background_color - torch.tensor(bundle.background_color)).abs().max()
    if not space.is_identity and (not same_encoder or float(difference) > COLOR_TOLERANCE):
        space.encode_background()
    space.fitted.fill_(True)


def start_decoder(space: LatentSpace, source: str) -> None:
    """Gives an autoencoder whose `source` is part of a bundle that bundle's decoder of rendered latents, if it has one:
    it serves any NeRF, without the rest of the bundle."""
    path = BUNDLED_BUNDLES.get(source, Path(source).expanduser())
    folder = find_folder(path) or find_folder(path.parent if path.name == AUTOENCODER else path)
    bundle = None if folder is None else read_shared_bundle(str(folder))
    if bundle is not None and bundle.decoder and bundle.autoencoder["encoder_hash"] == space.autoencoder.encoder_hash():
        load_decoder(space.autoencoder, bundle)


def load_decoder(autoencoder: Autoencoder, bundle: SharedBundle) -> None:
    try:
        autoencoder.load_decoder(bundle.decoder)
    except RuntimeError as error:
        expected = "a decoder of its autoencoder"
        raise ValueError(problem(f"shared bundle {bundle.folder}", expected, f"another: {error}", AGAIN)) from error


def check_autoencoder(space: LatentSpace, bundle: SharedBundle) -> bool:
    """Whether the encoder is the bundle's, with a warning if it is another of the same shape."""
    factor, channels = bundle.autoencoder["downscale_factor"], bundle.autoencoder["channels"]
    if (space.autoencoder.factor, space.num_channels) != (factor, channels):
        expected = f"an autoencoder with the downscale factor {factor} and {channels} channels, as the bundle's"
        do = "leave out --pipeline.model.autoencoder.source, and take latent-triplane for triplane, which has one"
        raise ValueError(problem("shared bundle", expected, f"{space.autoencoder.factor} and {space.num_channels}", do))
    is_same = space.autoencoder.encoder_hash() == bundle.autoencoder["encoder_hash"]
    if not is_same:
        expected, got = "the encoder that it was learned with", "another of the same shape"
        do = "leave out --pipeline.model.autoencoder.source to take its own, or see whether MLP and base planes fit"
        CONSOLE.print(f"[yellow]{problem('shared bundle', expected, got, do)}")
    return is_same


def nerf_for(bundle: SharedBundle, config: TriplaneModelConfig) -> TriplaneModelConfig:
    """The NeRF's config with the settings that shape what the bundle holds."""
    check_removed(bundle.field)
    settings = {name: value for name, value in bundle.field.items() if name not in (*REMOVED, "implementation")}
    unknown = sorted(set(settings) - {f.name for f in fields(config.field)})
    if unknown:
        got = f"{', '.join(unknown)} as well"
        raise ValueError(problem("shared bundle", "settings of this version's field", got, "update this package"))
    return replace(config, field=replace(config.field, **settings), scene_contraction=bundle.scene_contraction)


def placements_for(
    bundle: SharedBundle, names: Sequence[str], boxes: Sequence[Float[np.ndarray, "2 3"]]
) -> List[Placement]:
    """The placements of scenes in the bundle's box, which its base planes fill; prints which are moved."""
    into = np.array(bundle.aabb)
    placements = [placement_of(box, into, not bundle.scene_contraction) for box in boxes]
    moved = [i for i, placement in enumerate(placements) if not placement.is_identity]
    if moved:
        i = moved[0]
        CONSOLE.log(
            f"shared bundle: {len(moved)} of {len(names)} scenes are moved and scaled into its box {box_words(into)}, "
            f"such as {for_markup(names[i])} in {box_words(boxes[i])} by {placements[i].scale:.3g}; where a box is not "
            "what the cameras look at, give it as `aabb` in the camera file"
        )
    return placements


@torch.no_grad()
def start_nerf(field: TriplaneField, bundle: SharedBundle) -> None:
    """Gives a fresh field the bundle's MLP and base planes, and every scene the mean scene weights. With base planes,
    micro planes start at zero, so that a new scene is the mean scene."""
    state = {name.removeprefix("field."): v for name, v in bundle.tensors.items() if name.startswith("field.")}
    if field.scene_weights is not None:
        field.scene_weights.copy_(bundle.tensors["mean_scene_weights"].expand_as(field.scene_weights))
        if field.micro_planes is not None:
            field.micro_planes.zero_()
    try:
        field.load_shared_state(state)
    except RuntimeError as error:
        where, got = f"shared bundle {bundle.folder}", f"others: {error}"
        raise ValueError(problem(where, "base planes and an MLP of its own settings", got, AGAIN)) from error
