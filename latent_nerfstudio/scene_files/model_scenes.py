"""Between scene files and the rows of a model's planes."""

import math
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Sequence

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.placement import box_words
from latent_nerfstudio.fields.triplane_field import TriplaneField
from latent_nerfstudio.latent_space.autoencoder import is_enlargement
from latent_nerfstudio.models.bundle_start import COLOR_TOLERANCE
from latent_nerfstudio.models.bundle_writing import settings_of
from latent_nerfstudio.models.checkpoint_notes import ENLARGED
from latent_nerfstudio.models.latent_model import LatentModel, LatentModelConfig
from latent_nerfstudio.models.shared_bundle import DECODER, SharedBundle, latent_space_tensors
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.scene_files.scene_file import SceneFile, scene_shapes
from latent_nerfstudio.scene_files.sources import each_once

SAMPLES = "samples"
"""Name of the fact of samples a ray: stratified ones and further ones where those found matter."""

MOST_EMPTY = 1 << 30
"""Bytes at most of planes that files leave out, and that a model of them has as zeros."""

MOST_SAMPLES = 1024
"""Samples a ray at most that a file is believed."""


def build_model(
    config: LatentModelConfig,
    names: Sequence[str],
    box: Float[Tensor, "2 3"],
    background_color: Sequence[float] = (1.0, 1.0, 1.0),
    num_train_data: int = 1,
    **facts: Any,
) -> LatentModel:
    """A latent model of some scenes without their data, of which `facts` are known, on the host, for evaluation."""
    metadata = {"scene_names": list(names), "background_color": tuple(background_color), **facts}
    return config.setup(scene_box=SceneBox(aabb=box), num_train_data=num_train_data, metadata=metadata).eval()


def facts_by_name(
    scenes: Iterable[SceneFile], bundle: SharedBundle, where: object, do: str = "leave one of them out"
) -> Dict[str, Dict[str, Any]]:
    """The facts of a bundle's scene files by name; each file is verified on the way. So many without planes that a
    model of them takes much more memory than the files are refused."""
    facts: Dict[str, Dict[str, Any]] = {}
    numbers, empty = math.prod(scene_shapes(bundle)["micro_planes"] or (0,)), 0
    for scene in each_once(scenes, where, do):
        facts[scene.name] = scene.facts
        empty += 4 * numbers * (scene.micro_planes is None)
        if empty > MOST_EMPTY:
            got = f"{empty:,} bytes for {len(facts)} scenes"
            expected = f"planes left out of {MOST_EMPTY:,} bytes at most"
            raise ValueError(problem(where, expected, got, "name fewer scenes"))
    return facts


def set_rendering(model: Any, bundle: SharedBundle, facts: Dict[str, Dict[str, Any]]) -> None:
    """Renders as the scenes were learned: with their samples a ray, and latent pixels as small; the most of several."""
    factor = bundle.autoencoder["downscale_factor"]
    times = [own.get(ENLARGED) for own in facts.values()]
    model.autoencoder.enlarge = max((n for n in times if is_enlargement(n, factor)), default=1)
    pairs = [own.get(SAMPLES) for own in facts.values()]
    good: Any = [pair for pair in pairs if isinstance(pair, list) and list(map(type, pair)) == [int, int]]
    good = [pair for pair in good if 1 <= pair[0] <= MOST_SAMPLES and 0 <= pair[1] <= MOST_SAMPLES]
    if good:
        model.nerf.num_samples, model.nerf.num_importance_samples = max(good)


def field_of(model: LatentModel) -> TriplaneField:
    if not isinstance(model.nerf, TriplaneModel):
        got = f"a {type(model.nerf).__name__}, whose scenes are whole networks"
        expected, do = "tri-planes within the latent model", "train with latent-triplane"
        raise ValueError(problem("scene files", expected, got, do))
    return model.nerf.field


def scene_files_of(
    model: LatentModel,
    bundle_hash: str,
    facts: Optional[Mapping[str, Dict[str, Any]]] = None,
    names: Optional[Sequence[str]] = None,
) -> Iterator[SceneFile]:
    """A model's wanted scenes, by default all, one at a time on the host, with what is known of them by name."""
    field = field_of(model)

    def row(table: Optional[Tensor], index: int) -> Optional[Tensor]:
        return None if table is None else table[index].detach().float().cpu().clone()

    places = {name: index for index, name in enumerate(model.scene_names)}
    for name in model.scene_names if names is None else names:
        index = places[name]
        planes, weights = row(field.micro_planes, index), row(field.scene_weights, index)
        own = dict((facts or {}).get(name, {}))
        yield SceneFile(name, bundle_hash, planes, weights, own, model.placements[index])


@torch.no_grad()
def put_scenes(model: LatentModel, scenes: Iterable[SceneFile]) -> None:
    """Gives a model's scenes what scene files of their names hold, or zero."""
    field, placements = field_of(model), list(model.placements)
    places = {name: index for index, name in enumerate(model.scene_names)}
    for scene in scenes:
        if scene.name not in places:
            known = ", ".join(model.scene_names[:3])
            raise ValueError(problem("scene", f"one of the model's, such as {known}", repr(scene.name), "leave it out"))
        for name in ("micro_planes", "scene_weights"):
            put_row(getattr(field, name), places[scene.name], getattr(scene, name), f"scene {scene.name!r}, {name}")
        placements[places[scene.name]] = scene.placement
    model.place(placements)
    for name, index in places.items():
        own, (low, high) = placements[index].box, model.box_of(index)
        if own is not None and not bool((low < high).all()):  # there would be nothing to see
            got, do = box_words(np.array(own)), "write the file again"
            raise ValueError(problem(f"scene {name!r}, box", "one that meets the bundle's box", got, do))


def put_row(table: Optional[Tensor], index: int, value: Optional[Tensor], where: str) -> None:
    """Sets a row of a table; to zero without a value."""
    expected = None if table is None else list(table.shape[1:])
    if value is not None and list(value.shape) != expected:
        wanted = f"{expected or 'nothing'}, as the model has"
        raise ValueError(problem(where, wanted, f"{list(value.shape)}", "take its own bundle"))
    if table is not None:
        table[index] = 0.0 if value is None else value.to(table)


def holds_bundle(model: LatentModel, bundle: SharedBundle) -> bool:
    """Whether what a model's scenes share, latent space, field, box and settings, is a bundle's to the last bit."""
    space, nerf = model.latent_space, model.nerf
    if not isinstance(nerf, TriplaneModel) or not same_settings(settings_of(space, nerf), bundle):
        return False
    own = {f"field.{name}": value for name, value in nerf.field.shared_state().items()}
    own.update(latent_space_tensors(space))
    beside = ("mean_scene_weights", DECODER)  # what is neither the field's nor the latent space's
    theirs = {name: value for name, value in bundle.tensors.items() if not name.startswith(beside)}
    autoencoder = {**bundle.autoencoder_config.setup().state_dict(), **bundle.decoder}
    return same_tensors(own, theirs) and same_tensors(space.autoencoder.state_dict(), autoencoder)


def same_settings(settings: Dict[str, Any], bundle: SharedBundle) -> bool:
    field = {name: settings["field"].get(name) for name in bundle.field}
    colors = torch.tensor(settings["background_color"]) - torch.tensor(bundle.background_color)
    own = (settings["normalizer"], settings["scene_contraction"], field, settings["aabb"])
    theirs = (bundle.normalizer, bundle.scene_contraction, bundle.field, bundle.aabb)
    return own == theirs and float(colors.abs().max()) <= COLOR_TOLERANCE


def same_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether these have the same names and, to the last bit, the same values; stored types may differ."""
    return set(first) == set(second) and all(
        value.shape == second[name].shape and torch.equal(value.detach().cpu().float(), second[name].cpu().float())
        for name, value in first.items()
    )
