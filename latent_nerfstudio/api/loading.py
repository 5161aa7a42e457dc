"""Scenes and bundles from wherever they are: runs, scene files, archives, folders of them, the Hub."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from latent_nerfstudio.api.cameras import Ring, as_point
from latent_nerfstudio.api.codec import Codec, Images, device_of
from latent_nerfstudio.api.prediction import predict
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.api.run_model import open_model
from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.engine.runs import open_run
from latent_nerfstudio.engine.summary import MOST_BYTES, is_outdated
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import is_hub_id, resolve
from latent_nerfstudio.files.places import as_path
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.latent_space.shipped import A_RUN, SCENE_FILES, meant_by, what_is
from latent_nerfstudio.models.bundle_start import load_decoder
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.metrics import PICTURE_METRICS
from latent_nerfstudio.models.shared_bundle import BUNDLED_BUNDLES, SharedBundle, read_shared_bundle
from latent_nerfstudio.names import check_known
from latent_nerfstudio.scene_files.model_scenes import build_model, facts_by_name, put_scenes, set_rendering
from latent_nerfstudio.scene_files.scene_file import SUFFIX, SceneFile
from latent_nerfstudio.scene_files.sources import ARCHIVE_SUFFIX, read_scenes_from, scenes_with_bundle
from latent_nerfstudio.scene_files.views import cameras_from_facts

Source = Union[str, Path]

EXPECTED = f"a run (config.yml), scene files (NAME{SUFFIX}), an archive of them ({ARCHIVE_SUFFIX}) or a Hub id"
"""What `load` opens."""


def load(source: Source, bundle: Optional[Source] = None, device: Optional[str] = None) -> Scenes:
    """Opens learned scenes.

    Args:
        source: a run of any method (its folder or config.yml), a scene file, an archive of them, a folder of them (such
            as that of `lns fit-scenes` or `lns export-scenes`), or a Hub id of a set of scenes.
        bundle: of scene files, their shared bundle: a run, the bundle's folder, `bundled`, or a Hub id; by default that
            which lies beside them or is part of the package.
        device: where to render; by default the GPU, if there is one.

    Raises:
        FileNotFoundError: there is neither a run nor scenes, or a run's checkpoint, autoencoder or bundle are gone.
        ValueError: a file is damaged, or belongs to another bundle.
        ConnectionError: a Hub id that is neither cached nor within reach.
    """
    path, place = as_path(source, "source"), device_of(device)
    if not is_run(path) and not path.exists() and not is_hub_id(str(source)):
        raise FileNotFoundError(problem(source, EXPECTED, *meant_by(str(source))))
    scenes = run_scenes(path) if is_run(path) else file_scenes(str(source), bundle)
    scenes.model.to(place)
    return scenes


def is_run(path: Path) -> bool:
    """Whether a path is a run's config.yml or folder; one of scene files, a bundle or an autoencoder is none."""
    return path.suffix in (".yml", ".yaml") or what_is(path) == A_RUN


def run_scenes(path: Path) -> Scenes:
    """The scenes of a run, and its training cameras, if its data are there."""
    run = open_run(path)
    model, cameras = open_model(run)
    names = run.scenes()
    measured = evaluated(run.folder / "eval.json", names, run.checkpoints)
    facts = {name: {"method": run.method, **measured.get(name, {})} for name in names}
    return Scenes(model, str(path), training=cameras, facts=facts, title=run.config.experiment_name or "")


def evaluated(path: Path, names: Sequence[str], checkpoints: Path) -> Dict[str, Dict[str, float]]:
    """Metrics of scenes in what ns-eval wrote: `SCENE/METRIC`, or `METRIC` of a lone scene; none without the file, and
    none of an older checkpoint than the newest, which is said."""
    if not path.is_file():
        return {}
    content = read_json(path, "call ns-eval again", MOST_BYTES, strict=False)
    if is_outdated(content, checkpoints):
        warnings.warn(f"{path}: left out, since the run has gone on since then; call ns-eval again", stacklevel=2)
        return {}
    results = content.get("results", {})
    facts: Dict[str, Dict[str, float]] = {}
    for key, value in results.items() if isinstance(results, dict) else ():
        scene, _, metric = str(key).rpartition("/")
        owner = scene or (names[0] if len(names) == 1 else "")
        if owner in names and metric in PICTURE_METRICS and isinstance(value, (int, float)) and math.isfinite(value):
            facts.setdefault(owner, {})[metric] = float(value)
    return facts


def file_scenes(source: str, bundle: Optional[Source]) -> Scenes:
    """The scenes of files, against their bundle."""
    path = resolve(source, "scenes")
    if what_is(path) != SCENE_FILES:
        raise FileNotFoundError(problem(path, EXPECTED, *meant_by(str(path))))

    def bundle_of(first: SceneFile) -> SharedBundle:
        named = first.bundle_hash
        return find_bundle(path, source, first) if bundle is None else read_shared_bundle(str(bundle), named)

    shared, scenes = scenes_with_bundle([path], bundle_of)
    facts = facts_by_name(progress(scenes, "Reading scenes"), shared, source)
    config = LatentModelConfig(shared_bundle=str(shared.folder))
    set_rendering(config, shared, facts)
    height = max(cameras_from_facts(own, shared, f"scene {name!r}").height for name, own in facts.items())
    model = build_model(config, list(facts), shared.box, shared.background_color, image_height=height)
    put_scenes(model, progress(read_scenes_from([path], shared), "Loading scenes", len(facts)))
    rings = {}
    for index, name in enumerate(model.scene_names):
        rig = cameras_from_facts(facts[name], shared, name, model.placements[index].scale)
        center = as_point(model.box_of(index).mean(dim=0))
        rings[name] = Ring(center, rig.radius, height=rig.height, width=rig.width, focal=(rig.fx, rig.fy))
    return Scenes(model, source, shared, rings=rings, facts=facts)


def find_bundle(path: Path, source: str, scene: SceneFile) -> SharedBundle:
    """The bundle of scene files: beside their folder or archive, named with them on the Hub, or of the package."""
    folder = path if path.is_dir() else path.parent
    beside = map(str, (path.with_suffix(""), folder, folder.parent))
    named = filter(None, map(named_bundle, (folder, folder.parent)))
    for place in (*beside, *named, *BUNDLED_BUNDLES):
        try:
            found = read_shared_bundle(place)
        except FileNotFoundError:
            continue
        if found.has_hash(scene.bundle_hash):
            return found
    expected = f"the shared bundle {scene.bundle_hash[:12]} of scene {scene.name!r} beside it"
    raise ValueError(problem(source, expected, "none with that hash", "name the bundle: a run, its folder or a Hub id"))


def named_bundle(folder: Path) -> Optional[str]:
    """The Hub id of the bundle that a repository of scenes names in its config.json; None if it names none."""
    try:
        name = read_json(folder / "config.json").get("bundle")
    except (FileNotFoundError, ValueError):
        return None
    return name if isinstance(name, str) and is_hub_id(name) and not Path(name).exists() else None


@dataclass(frozen=True)
class Bundle:
    """A shared bundle: what scenes share, and new scenes are fitted against."""

    shared: SharedBundle
    """Its tensors and settings."""
    codec: Codec
    """Its autoencoder, with the decoder of rendered latents where it has one of its own."""

    @property
    def hash(self) -> str:
        """Hash that its scene files name."""
        return self.shared.hash

    @property
    def facts(self) -> Dict[str, Any]:
        """What its writer had to say."""
        return self.shared.facts

    @property
    def box(self) -> Float[Tensor, "2 3"]:
        """Scene box that its base planes fill."""
        return self.shared.box

    @property
    def base_planes(self) -> Float[Tensor, "bases 3 features rows cols"]:
        """B_1 to B_M, each XY, XZ and YZ; none of them where its scenes share none."""
        planes = self.shared.tensors.get("field.base_planes")
        return torch.zeros(0, 3, 0, 0, 0) if planes is None else planes.float()

    def encode(self, pictures: Images) -> Float[Tensor, "n channels latent_height latent_width"]:
        """See `Codec.encode`."""
        return self.codec.encode(pictures)

    def decode(
        self, latents: Union[Tensor, np.ndarray], height: Optional[int] = None, width: Optional[int] = None
    ) -> Float[Tensor, "n height width 3"]:
        """See `Codec.decode`."""
        return self.codec.decode(latents, height, width)

    def predict(
        self,
        photos: Images,
        cameras: Cameras,
        masks: Optional[Sequence[Any]] = None,
        box: Any = None,
        name: str = "scene",
        enlarge: Optional[int] = None,
    ) -> Scenes:
        """A scene of one or more posed photos, by the bundle's scene encoder, without any fitting.

        Args:
            photos: [n, H, W, 3] or a list of [H, W, 3] of any sizes: uint8, or floats in [0, 1]; or paths of files, or
                pictures of Pillow. Transparency, of arrays a fourth channel, is put on the bundle's background.
            cameras: n perspective cameras, of the photos.
            masks: [H, W] of each, or its file: a photo is used from half of the largest value on; None for everywhere.
            box: [2, 3], lower and upper corner of the scene in its own units; by default it is within the bundle's box.
            name: of the scene.
            enlarge: times that photos are enlarged, a divisor of the downscale factor; by default 2, where it is one
                and photos have at most 512 pixels a side.

        Raises:
            ValueError: no photos, cameras that are not theirs, that are all alike or see nothing of the box, or a
                bundle without a scene encoder.
        """
        return predict(self.shared, photos, cameras, masks, box, name, enlarge, self.codec.device)

    def scenes(self, files: Source, device: Optional[str] = None) -> Scenes:
        """Scene files of this bundle, see `load`."""
        return load(files, self.shared.folder, device)

    def __repr__(self) -> str:
        return f"Bundle({self.shared.folder}, {self.hash[:12]}, {len(self.base_planes)} base planes)"


def load_bundle(source: Source, device: Optional[str] = None) -> Bundle:
    """Opens a shared bundle.

    Args:
        source: a run that holds one, the bundle's folder, `bundled`, or a Hub id.
        device: where to encode and decode; by default the GPU, if there is one.

    Raises:
        FileNotFoundError: there is no bundle.
        ValueError: it is damaged, or of another format.
        ConnectionError: a Hub id that is neither cached nor within reach.
    """
    shared = read_shared_bundle(str(source))
    autoencoder = shared.autoencoder_config.setup()
    if shared.decoder:
        load_decoder(autoencoder, shared)
    return Bundle(shared, Codec(autoencoder.to(device_of(device))))


def check_scenes(scenes: Scenes, wanted: Sequence[str]) -> List[str]:
    """The names of wanted scenes in their order; all for none or for `all`."""
    if not wanted or tuple(wanted) == ("all",):
        return scenes.names
    check_known(wanted, scenes.names, scenes.source)
    return list(dict.fromkeys(wanted))
