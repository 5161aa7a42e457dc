"""What decides how scenes are fitted, kept beside them so that an inventory is never a mixture without a word."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from latent_nerfstudio.data.scenes_dataparser import find_scenes, select_scenes
from latent_nerfstudio.data.sources import longest_side
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import data_folder
from latent_nerfstudio.files.reading import LARGEST_TEXT, read_json
from latent_nerfstudio.files.replacing import write_text
from latent_nerfstudio.fleet.request import FitRequest
from latent_nerfstudio.latent_space.autoencoder import check_enlarge, is_enlargement
from latent_nerfstudio.latent_space.shipped import name_of
from latent_nerfstudio.models.bundle_encoder import read_scene_encoder
from latent_nerfstudio.models.bundle_folder import canonical
from latent_nerfstudio.models.shared_bundle import FORMER, SharedBundle, read_shared_bundle
from latent_nerfstudio.scene_files.scene_file import SUFFIX

if TYPE_CHECKING:
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig

FIT_FORMAT = "fit-scenes-v1"
"""Changed when equal settings come to mean another fit."""

RECIPE = 3
"""Of learning rates and the like, noted beside the settings: scenes of equal settings are others with another one, and
go on in an output all the same, with a word about it. It was 1 where none is noted."""

FILE = "settings.json"

AGAIN = "remove it to begin anew, or give another --output"

SHARDS = "shards"
"""Folder of what each part keeps, within the output."""

RAYS = 256
"""Latent pixels of each scene a step where nobody asks for another number and photos are not enlarged."""

DECIDING = ("bundle", "steps", "rgb_alignment_start", "rays_per_scene", "eval_interval", "precision", "seed")
"""What of a request decides how its scenes are fitted."""

OF_OLD = {"plateau_every": 0, "plateau_tolerance": 0.1}
"""Settings that version 0.1 had as well; kept in what is written, so that its inventories go on."""

FEW = 8
"""Photos of a scene at most of which none is held out unless that is asked for: each is worth more in training."""

EVAL_INTERVAL = 10
"""Distance of held-out views where nobody gave another."""


@dataclass
class Inventory(FitRequest):
    """What is asked for, of a bundle that was read, with paths that hold on other machines and in other folders."""

    bundle_hash: str = field(kw_only=True)
    """Hash that scenes name the shared bundle by, see `hash_for`."""
    enlarge: int = 1  # type: ignore[assignment]
    """Times that photos are enlarged."""
    rays_per_scene: int = RAYS  # type: ignore[assignment]
    """Latent pixels of each scene a step."""
    method: "LatentTrainerConfig" = field(kw_only=True, repr=False)
    """Config of `latent-triplane`: learning rates, fields, crops; the rest is replaced."""

    @property
    def place(self) -> Path:
        """Folder of the status and of the lock: the output, or this part's own in it."""
        part = self.part()
        return self.output if part is None else self.output / SHARDS / "{}-of-{}".format(*part)

    def scene_path(self, name: str) -> Path:
        return self.output / "scenes" / f"{name}{SUFFIX}"

    @property
    def held_out_from(self) -> int:
        """Photos from which on a scene without a split of its own has some of them held out."""
        return FEW + 1 if self.eval_interval is None else 2

    def settings(self) -> Dict[str, Any]:
        """What decides how a scene is fitted, whichever chunk it is in and whoever fits it, as JSON values by name."""
        asked = {} if self.eval_interval is None else {"held_out_of_few": True}
        own = {name: getattr(self, name) for name in DECIDING}
        own.update(bundle=self.bundle_hash, eval_interval=self.eval_interval or EVAL_INTERVAL)
        enlarged = {} if self.enlarge == 1 else {"enlarge": self.enlarge}  # of which version 0.1 says nothing
        return {"format": FIT_FORMAT, **own, **OF_OLD, **asked, **enlarged}

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell equal settings from others; every scene file has them in its facts."""
        return hashlib.sha256(canonical(self.settings())).hexdigest()[:16]


def resolved(request: FitRequest, method: "LatentTrainerConfig") -> Inventory:
    output = request.output.expanduser().resolve()
    kept = kept_settings(output)
    bundle = read_shared_bundle(request.bundle, (kept or {}).get("bundle"))
    encoder = read_scene_encoder(bundle)  # a damaged one is named once here, and not for each scene
    if request.steps == 0 and encoder is None:
        what, do = f"bundle {bundle.source}", "teach it one with lns learn-scene-encoder, or fit in --steps 300"
        if bundle.source == FORMER != name_of(request.bundle):
            what, do = f"{output}, begun with what {request.bundle} was", "give another --output for the present one"
        raise ValueError(problem(what, "a scene encoder, as --steps is 0", "none", do))
    places = {"data": data_folder(request.data), "output": output}
    enlarge = enlarge_of(request, bundle, kept)
    rays = RAYS * enlarge if request.rays_per_scene is None else request.rays_per_scene
    known = {**vars(request), **places, "bundle": bundle.source, "enlarge": enlarge, "rays_per_scene": rays}
    return Inventory(**known, bundle_hash=hash_for(bundle, kept), method=method)


def hash_for(bundle: SharedBundle, kept: Optional[Dict[str, Any]]) -> str:
    """The hash of a bundle or, where an output's settings are of one that it stands for, with another scene encoder:
    scenes look the same against both, so that those that are finished stay and all name one."""
    begun = str((kept or {}).get("bundle"))
    return begun if bundle.stands_for(begun) else bundle.hash


def enlarge_of(request: FitRequest, bundle: SharedBundle, kept: Optional[Dict[str, Any]]) -> int:
    """Times that photos are enlarged: as asked for, or as an output's settings tell, or as usual."""
    factor = bundle.autoencoder["downscale_factor"]
    if request.enlarge is not None:
        check_enlarge(request.enlarge, factor, "give another --enlarge")
        return request.enlarge
    times = None if kept is None else kept.get("enlarge", 1)
    if is_enlargement(times, factor):
        return times
    data = data_folder(request.data)
    return bundle.usual_enlarge(longest_side(select_scenes(find_scenes(data), request.scenes, data)))


@dataclass(frozen=True)
class ChunkJob:
    """Scenes that are fitted together, by one worker."""

    inventory: Inventory
    names: Tuple[str, ...]

    @property
    def log_path(self) -> Path:
        """Where its messages go; named by its scenes, as names of many would be too long together."""
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:8]
        return self.inventory.output / "logs" / f"{len(self.names)}-{digest}.log"


def kept_settings(output: Path) -> Optional[Dict[str, Any]]:
    """What OUTPUT/settings.json says; None where there is none."""
    path = output / FILE
    return read_json(path, AGAIN, LARGEST_TEXT) if path.is_file() else None


def keep_settings(output: Path, ours: Dict[str, Any]) -> bool:
    """Writes OUTPUT/settings.json, or makes sure that it says the same; whether its learning rates are today's."""
    path, theirs = output / FILE, kept_settings(output)
    if theirs is None:
        write_text(path, json.dumps({**ours, "recipe": RECIPE}, indent=2))
        return True
    recipe = theirs.pop("recipe", 1)
    theirs.setdefault("sources", ours.get("sources"))  # of which nothing was said at first
    if theirs.get("format") != ours["format"]:
        what, other = ours["format"], theirs.get("format")
        raise ValueError(problem(path, f"the format {what} of this command", f"'{other}'", "name another --output"))
    others = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if others:
        expected = ", ".join(f"{name} {theirs.get(name)}" for name in others)
        got = ", ".join(f"{name} {ours.get(name)}" for name in others)
        hint = " (the package's own bundles may change with an update)" if "bundle" in others else ""
        do = f"it was begun so: give the same{hint}, or another --output"
        raise ValueError(problem(path, expected, got, do))
    return recipe == RECIPE
