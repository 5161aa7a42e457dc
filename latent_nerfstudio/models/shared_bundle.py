"""Shared bundles: what scenes share and a new scene is fitted against, versioned by a hash.

A bundle holds the autoencoder, the base planes, the tiny MLP, the normaliser, the background and the preview. It is
the folder `shared_bundle/` of a run:

    autoencoder/        diffusers folder, with latent_space.json; none for the identity
    shared.safetensors  field.base_planes, field.mlp.*, mean_scene_weights, normalizer.*, background, preview_*, and
                        decoder.*, the decoder of rendered latents, where it is another than the autoencoder's
    scene_encoder.safetensors  weights of the network that predicts scenes from photos, where there is one
    bundle.json         the fields of `SharedBundle`, and its format
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import torch
from jaxtyping import Float
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import FILES, is_hub_id, resolve
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.latent_space.autoencoder import BUNDLED_FOLDERS, Autoencoder, AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.latent_space.normalizer import Normalizer, NormalizerKind
from latent_nerfstudio.models.bundle_checks import AGAIN, check_settings, check_tensors
from latent_nerfstudio.models.bundle_folder import (
    AUTOENCODER,
    ENCODER_FILE,
    FOLDER,
    SETTINGS_FILE,
    TENSORS_FILE,
    find_folder,
    hash_folder,
    link_autoencoder,
    stored_tensors,
)
from latent_nerfstudio.models.triplane import TriplaneModel

if TYPE_CHECKING:
    from latent_nerfstudio.models.latent_model import LatentModel

FORMAT = "shared-bundle-v1"
"""Changed when the contents of a bundle change their meaning."""

DECODER = "decoder."
"""Prefix of the names of the decoder of rendered latents."""

BUNDLED_BUNDLES: Dict[str, Path] = {"bundled": BUNDLED_FOLDERS["bundled"]}
"""Folders of the bundles that are part of the package, by the name that `--pipeline.model.shared-bundle` takes."""


@dataclass(frozen=True)
class SharedBundle:
    """A shared bundle that was read and verified."""

    folder: Path
    """Where it lies."""
    tensors: Dict[str, Tensor]
    """What shared.safetensors holds, on the host."""
    hash: str
    """Hash of tensors and settings, see `hash_folder`."""
    normalizer: NormalizerKind
    """Kind of the normaliser."""
    background_color: List[float]
    """The colour whose latent the background is."""
    field: Dict[str, Any]
    """Settings of the tri-plane field, by the names of its config."""
    scene_contraction: bool
    """Whether the whole space was contracted into the planes."""
    aabb: List[List[float]]
    """Lower and upper corner of the scene box, which the base planes fill."""
    autoencoder: Dict[str, Any]
    """`is_identity`, `downscale_factor`, `channels`, and `encoder_hash` of the weights as they are stored."""
    num_scenes: int
    """Scenes that it was learned from."""
    step: int
    """Step of the run that wrote it."""
    facts: Dict[str, Any]
    """What the writer had to say."""
    scene_encoder: Optional[Dict[str, Any]] = None
    """Settings of the scene encoder, by the names of `SceneEncoderConfig`; None where there is none."""
    scenes_hash: str = ""
    """Hash without the scene encoder: what decides how scenes look, so scene files of this bundle may name it too."""

    @property
    def autoencoder_config(self) -> AutoencoderConfig:
        """Its autoencoder."""
        is_identity = self.autoencoder["is_identity"]
        return AutoencoderConfig(source="identity" if is_identity else str(self.folder / AUTOENCODER))

    @property
    def decoder(self) -> Dict[str, Tensor]:
        """The decoder of rendered latents, by its names in the autoencoder; empty where it is the autoencoder's."""
        return {name.removeprefix(DECODER): t for name, t in self.tensors.items() if name.startswith(DECODER)}

    @property
    def has_base_planes(self) -> bool:
        """Whether its scenes shared base planes."""
        return "field.base_planes" in self.tensors

    def has_hash(self, value: str) -> bool:
        """Whether scenes that name this hash belong to this bundle."""
        return value in (self.hash, self.scenes_hash)

    @property
    def box(self) -> Float[Tensor, "2 3"]:
        """Its scene box."""
        return torch.tensor(self.aabb, dtype=torch.float32)


def write_shared_bundle(
    run_folder: Path, model: "LatentModel", step: int, facts: Dict[str, Any], dtype: torch.dtype = torch.float32
) -> Path:
    """Writes what a model's scenes share as RUN/shared_bundle, in one piece, and links RUN/autoencoder to it.

    Args:
        run_folder: folder of the run.
        model: a latent model around a TriplaneModel.
        step: its step.
        facts: what else bundle.json should say; JSON values.
        dtype: of the stored autoencoder and base planes; float16 halves what is published.

    Returns:
        The bundle's folder.

    Raises:
        ValueError: another NeRF, or a latent space that was not fitted.
    """
    check_model(model)
    space = model.latent_space
    settings = {**settings_of(model), "num_scenes": len(model.scene_names), "step": step, "facts": facts}
    with replacing_folder(run_folder / FOLDER, FILES["bundle"]) as folder:
        encoder_hash = space.autoencoder.encoder_hash()
        autoencoder, decoder = autoencoder_and_decoder(model)
        if not space.is_identity:
            encoder_hash = write_autoencoder(folder / AUTOENCODER, autoencoder, space.normalizer, dtype)
        settings["autoencoder"] = {**settings["autoencoder"], "encoder_hash": encoder_hash}
        write_tensors(folder / TENSORS_FILE, model, decoder, dtype)
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)  # safetensors keeps its files to their owner
        settings["hash"] = hash_folder(folder, settings)
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    if not space.is_identity:
        link_autoencoder(run_folder)
    return run_folder / FOLDER


def check_model(model: "LatentModel") -> None:
    """Refuses models that make no bundle."""
    if not isinstance(model.nerf, TriplaneModel):
        got = f"a {type(model.nerf).__name__}, which has no base planes and no tiny MLP"
        do = "train with latent-triplane or ig-ae"
        raise ValueError(problem("shared bundle", "a TriplaneModel within the latent model", got, do))
    if not bool(model.latent_space.fitted):
        expected, do = "a latent space that is fitted to pictures", "call the pipeline's prepare() first"
        raise ValueError(problem("shared bundle", expected, "a fresh one", do))


def settings_of(model: "LatentModel") -> Dict[str, Any]:
    """What decides the meaning of a bundle's tensors."""
    space, nerf = model.latent_space, model.nerf
    assert isinstance(nerf, TriplaneModel)
    return {
        "format": FORMAT,
        "normalizer": space.normalizer.kind,
        "background_color": space.background_color.tolist(),
        "field": nerf.field.shared_settings(),
        "scene_contraction": nerf.config.scene_contraction,
        "aabb": nerf.aabb.tolist(),
        "autoencoder": {
            "is_identity": space.is_identity,
            "downscale_factor": space.downscale_factor,
            "channels": space.num_channels,
        },
    }


def autoencoder_and_decoder(model: "LatentModel") -> Tuple[Autoencoder, Dict[str, Tensor]]:
    """The autoencoder of a model's bundle, and the decoder of rendered latents where it is another one.

    RGB alignment turns a run's decoder towards what scenes can render, and away from what the encoder makes of
    pictures. So the autoencoder stays as it came, unless it was trained as a whole.
    """
    space = model.latent_space
    if space.is_identity or space.trains_encoder:
        return space.autoencoder, {}
    came = model.autoencoder_config.setup()
    if came.encoder_hash() != space.autoencoder.encoder_hash():
        return space.autoencoder, {}
    before = came.decoder_state()
    decoder = {name: value.detach().cpu() for name, value in space.autoencoder.decoder_state().items()}
    is_same = all(torch.equal(value, before[name]) for name, value in decoder.items())
    return came, {} if is_same else decoder


def write_tensors(path: Path, model: "LatentModel", decoder: Dict[str, Tensor], dtype: torch.dtype) -> None:
    """Writes what scenes share apart from the autoencoder; of it, base planes and decoder in another type."""
    from safetensors.torch import save_file

    space, nerf = model.latent_space, model.nerf
    assert isinstance(nerf, TriplaneModel)
    tensors = {f"field.{name}": value for name, value in nerf.field.shared_state().items()}
    if nerf.field.scene_weights is not None:
        tensors["mean_scene_weights"] = nerf.field.scene_weights.mean(dim=0)
    if "field.base_planes" in tensors:
        tensors["field.base_planes"] = tensors["field.base_planes"].to(dtype)
    tensors.update({f"{DECODER}{name}": value.to(dtype) for name, value in decoder.items()})
    tensors.update(latent_space_tensors(space))
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)


def latent_space_tensors(space: LatentSpace) -> Dict[str, Tensor]:
    """A latent space's fitted tensors by their names in a bundle; the tensors themselves, not copies."""
    return {
        "normalizer.mean": space.normalizer.mean,
        "normalizer.std": space.normalizer.std,
        "background": space.background,
        "preview_weight": space.preview_weight,
        "preview_bias": space.preview_bias,
    }


def write_autoencoder(folder: Path, autoencoder: Autoencoder, normalizer: Normalizer, dtype: torch.dtype) -> str:
    """Writes the autoencoder in diffusers format with a latent_space.json, and returns the hash of its stored encoder.

    Diffusers notes in config.json where the weights were loaded from; a path of this machine says nothing elsewhere.
    """
    vae: Any = autoencoder.vae
    stored = vae if dtype == torch.float32 else copy.deepcopy(vae).to(dtype)
    stored.save_pretrained(folder)
    config = read_json(folder / "config.json")
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    numbers = {
        "downscale_factor": autoencoder.downscale_factor,
        "channels": autoencoder.num_channels,
        "mean": normalizer.mean.tolist(),
        "std": normalizer.std.tolist(),
    }
    (folder / "latent_space.json").write_text(json.dumps(numbers, indent=2), encoding="utf-8")
    return AutoencoderConfig(source=str(folder)).setup().encoder_hash()


def read_shared_bundle(source: str) -> SharedBundle:
    """Reads and verifies a bundle.

    Args:
        source: a run's folder, its config.yml, the bundle's folder itself, the name of one that is part of the
            package, or a Hub id.

    Raises:
        FileNotFoundError: there is no bundle.
        ValueError: it is of another format, unreadable, or not what its hash says.
        ConnectionError: a Hub id that is neither cached nor within reach.
    """
    path = BUNDLED_BUNDLES.get(source, Path(source).expanduser())
    folder = find_folder(path)
    if folder is None and not path.exists() and is_hub_id(source):
        folder = resolve(source, "bundle")
    if folder is None:
        names = "".join(f"{name}, " for name in sorted(BUNDLED_BUNDLES))
        expected = f"{names}a run with a folder {FOLDER}, its config.yml, that folder or a Hub id"
        do = "check the path, or name a run of ig-ae"
        raise FileNotFoundError(problem("shared bundle", expected, f"{source!r}, where there is none", do))
    where = f"shared bundle {folder}"
    try:
        settings = read_json(folder / SETTINGS_FILE)
        actual = hash_folder(folder, settings)
    except Exception as error:  # safetensors' own errors, JSON's and the system's
        raise ValueError(problem(where, "readable files", f"{type(error).__name__}: {error}", AGAIN)) from error
    if settings.get("format") != FORMAT:
        raise ValueError(problem(where, f"the format {FORMAT}", settings.get("format"), "update this package"))
    if actual != settings.get("hash"):
        expected = f"contents with the hash {settings.get('hash')}, as {SETTINGS_FILE} says"
        raise ValueError(problem(where, expected, actual, f"files were changed or damaged: {AGAIN}"))
    has_encoder = settings.get("scene_encoder") is not None
    scenes_hash = hash_folder(folder, settings, ("scene_encoder", ENCODER_FILE)) if has_encoder else actual
    settings.pop("format")
    check_settings(settings, where)
    tensors = dict(stored_tensors(folder / TENSORS_FILE))
    check_tensors(tensors, settings, where)
    return SharedBundle(folder=folder, tensors=tensors, scenes_hash=scenes_hash, **settings)
