"""Shared bundles: what scenes share and a new scene is fitted against, versioned by a hash.

A bundle holds the autoencoder, the base planes, the tiny MLP, the normaliser, the background and the preview. It is
the folder `shared_bundle/` of a run:

    autoencoder/        diffusers folder, with latent_space.json; none for the identity
    shared.safetensors  field.base_planes, field.mlp.*, mean_scene_weights, normalizer.*, background, preview_*, and
                        decoder.*, the decoder of rendered latents, where it is another than the autoencoder's
    scene_encoder.safetensors  weights of the network that predicts scenes from photos, where there is one
    bundle.json         the fields of `SharedBundle`, and its format"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Collection, Dict, List, Optional, Tuple

import torch
from jaxtyping import Float
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import is_hub_id, resolve
from latent_nerfstudio.files.reading import check_format, read_json
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace, NormalizerKind
from latent_nerfstudio.latent_space.shipped import BUNDLED_FOLDERS, meant_by, name_of
from latent_nerfstudio.models import bundle_folder
from latent_nerfstudio.models.bundle_checks import AGAIN, check_settings, check_tensors

BUNDLE_FORMAT = "shared-bundle-v1"
"""Changed when the contents of a bundle change their meaning."""

DECODER = "decoder."
"""Prefix of the names of the decoder of rendered latents."""

USUAL_ENLARGE = 2
"""Times that photos of new scenes are enlarged where nobody asks for another number: 1.4 dB with four photos of a scene
and 2 with forty, in the same time (benchmarks/choices.md)."""

MOST_ENLARGED = 512
"""Longest side of photos, pixels, that are enlarged unless somebody asks for it: larger ones gain less and less, and
time and memory grow with their pixels."""

FORMER = "bundled-former"
"""What `bundled` was until November 2026, without its scene encoder, for the scenes that are fitted against it."""

FORMER_ENCODER = "bca2360724de6a93"
"""Hash of its encoder, which latents and checkpoints of that time name."""

BUNDLED_BUNDLES: Dict[str, Path] = {name: BUNDLED_FOLDERS[name] for name in ("bundled", FORMER, "bundled-cars")}
"""Folders of the bundles that are part of the package, by the name that `--pipeline.model.shared-bundle` takes."""

SHIPPED: Dict[str, Tuple[str, ...]] = {
    "bundled": (
        "13b426014d9ff26d34a46dfad3d4ddd2df387bc1b52d935f82366029ceaafec7",
        "a449d770f32142f5470554a93e6e4d15958c7efbb2811254e9ef79cd15be3faf",
        "efa1922284089c5d2bc5abce81d38d7f8733bf18ab83f32bc4784748a8f0768e",
        "cdb0e14e56a2e44adcc480f925d21e121677cd3293994c21be189d001783dfb8",
    ),
    FORMER: (
        "0cb3f4d2d682de33e08eed997ca8fb89129c421087624c7b48b8ad26c1e46293",
        "5e92800282a7d78f5819c213dc8e0a199db93417896f908e4a01914851cacca8",
        "09d2c614e832ae6bd2ed3e12ff1c04ea5a9085dfae2b2feb6328358f1e650dfe",
        "3e26d68079e1df253d77cfcf2ea523f4f8738545f7a8ed248c91b5b06b0b6b78",
        "ee348162b35f5f0289ffc1dbabf736410942ae1b95c164fa658e5e381a6fdee4",
        "fd62d4122c70c367a2cd199f7f95433963e1be0fda2b783d93f1bbb66ccbedc0",
    ),
    "bundled-cars": (
        "557a3e34272bb1472fedad26a3fd2d60b6232f8818545aebb4527503d090a928",
        "b42f9511475b706206b59417df33dee2fadee1188f70f5a3bbae12d733b03585",
        "b74ee39092618a2a8123bb26834110cf916afd66bb3b49dd25ea8b59be32981a",
    ),
}
"""Hashes that scenes of the package's bundles name: first today's without a scene encoder, last today's, and between
them those with other scene encoders and with other decoders of renders, whose scenes open with today's."""


def source_for(source: str, named: object) -> str:
    """The source that is asked for, by its name if it is part of the package, or `bundled-former` where that is
    `bundled` and scenes, latents or a checkpoint name a hash, of bundle or encoder, of what it was."""
    source = name_of(source)
    return FORMER if source == "bundled" and named in (*SHIPPED[FORMER], FORMER_ENCODER) else source


def name_one_bundle(hashes: Collection[str]) -> bool:
    """Whether scenes that name these hashes open with one bundle, with whichever scene encoder the package ships."""
    return len(set(hashes)) < 2 or any(set(hashes) <= set(known) for known in SHIPPED.values())


@dataclass(frozen=True)
class SharedBundle:
    """A shared bundle that was read and verified."""

    folder: Path
    tensors: Dict[str, Tensor]
    """What shared.safetensors holds, on the host."""
    hash: str
    normalizer: NormalizerKind
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
    step: int
    facts: Dict[str, Any]
    scene_encoder: Optional[Dict[str, Any]] = None
    """Settings of the scene encoder, by the names of `SceneEncoderConfig`; None where there is none."""
    scenes_hash: str = ""
    """Hash without the scene encoder: what decides how scenes look, so scene files of this bundle may name it too."""

    @property
    def source(self) -> str:
        """What names it from any folder: its name if it is part of the package, else where it lies."""
        return name_of(str(self.folder.resolve()))

    @property
    def autoencoder_config(self) -> AutoencoderConfig:
        is_identity = self.autoencoder["is_identity"]
        return AutoencoderConfig(source="identity" if is_identity else str(self.folder / bundle_folder.AUTOENCODER))

    def usual_enlarge(self, side: int) -> int:
        """Times that photos of new scenes are enlarged by default: `USUAL_ENLARGE`, where its autoencoder allows it and
        their longest side, `side` pixels, is not beyond `MOST_ENLARGED`."""
        return math.gcd(USUAL_ENLARGE, self.autoencoder["downscale_factor"]) if side <= MOST_ENLARGED else 1

    @property
    def decoder(self) -> Dict[str, Tensor]:
        """The decoder of rendered latents, by its names in the autoencoder; empty where it is the autoencoder's."""
        return {name.removeprefix(DECODER): t for name, t in self.tensors.items() if name.startswith(DECODER)}

    @property
    def has_base_planes(self) -> bool:
        return "field.base_planes" in self.tensors

    def has_hash(self, value: str) -> bool:
        return value == self.hash or name_one_bundle((value, self.scenes_hash))

    def stands_for(self, value: str) -> bool:
        """Whether it is the bundle of this hash, or what the package ships in its place: with another scene encoder."""
        return name_one_bundle((value, self.hash))

    @property
    def box(self) -> Float[Tensor, "2 3"]:
        return torch.tensor(self.aabb, dtype=torch.float32)


def latent_space_tensors(space: LatentSpace) -> Dict[str, Tensor]:
    """A latent space's fitted tensors by their names in a bundle; the tensors themselves, not copies."""
    return {
        "normalizer.mean": space.normalizer.mean,
        "normalizer.std": space.normalizer.std,
        "background": space.background,
        "preview_weight": space.preview_weight,
        "preview_bias": space.preview_bias,
    }


def locate_bundle(source: str) -> Path:
    """The folder of a bundle, see `read_shared_bundle`; of a Hub id that of its cached or downloaded copy."""
    path = BUNDLED_BUNDLES.get(source, Path(source).expanduser())
    folder = bundle_folder.find_folder(path)
    if folder is None and not path.exists() and is_hub_id(source):
        folder = resolve(source, "bundle")
    if folder is None:
        names = ", ".join(sorted(BUNDLED_BUNDLES))
        expected = f"{names}, a run with a folder {bundle_folder.FOLDER}, its config.yml, that folder or a Hub id"
        got, do = meant_by(source, BUNDLED_BUNDLES)
        raise FileNotFoundError(problem("shared bundle", expected, f"{source!r}, {got}", do))
    return folder


def read_shared_bundle(source: str, named: object = None) -> SharedBundle:
    """Reads and verifies a bundle: of a run's folder or its config.yml, the bundle's folder itself, the name of one
    that is part of the package, or a Hub id; for scenes that name a hash, see `source_for`."""
    folder = locate_bundle(source_for(source, named))
    where = f"shared bundle {folder}"
    try:
        settings = read_json(folder / bundle_folder.SETTINGS_FILE)
        actual = bundle_folder.hash_folder(folder, settings)
    except Exception as error:  # safetensors' own errors, JSON's and the system's
        raise ValueError(problem(where, "readable files", f"{type(error).__name__}: {error}", AGAIN)) from error
    check_format(settings, BUNDLE_FORMAT, where)
    if actual != settings.get("hash"):
        expected = f"contents with the hash {settings.get('hash')}, as {bundle_folder.SETTINGS_FILE} says"
        raise ValueError(problem(where, expected, actual, f"files were changed or damaged: {AGAIN}"))
    has_encoder = settings.get("scene_encoder") is not None
    leave_out = "scene_encoder", bundle_folder.ENCODER_FILE
    scenes_hash = bundle_folder.hash_folder(folder, settings, leave_out) if has_encoder else actual
    settings.pop("format")
    check_settings(settings, where)
    tensors = dict(bundle_folder.stored_tensors(folder / bundle_folder.TENSORS_FILE))
    check_tensors(tensors, settings, where)
    return SharedBundle(folder=folder, tensors=tensors, scenes_hash=scenes_hash, **settings)
