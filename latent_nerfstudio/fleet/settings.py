"""What decides how scenes are fitted, kept beside them so that an inventory is never a mixture."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Literal, Optional, Tuple

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import LARGEST_TEXT, read_json
from latent_nerfstudio.files.replacing import write_text
from latent_nerfstudio.models.bundle_folder import canonical
from latent_nerfstudio.scene_files.scene_file import SUFFIX, Precision

if TYPE_CHECKING:
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig

FIT_FORMAT = "fit-scenes-v1"
"""Changed when equal settings come to mean another fit."""

FILE = "settings.json"

SHARDS = "shards"
"""Folder of what each part keeps, within the output."""

OF_OLD = {"plateau_every": 0, "plateau_tolerance": 0.1}
"""Settings that version 0.1 had as well; kept in what is written, so that its inventories go on."""

LATER = ("sources",)
"""Settings of which nothing is said in what was written before there were any."""

FEW = 8
"""Photos of a scene at most of which none is held out unless that is asked for: each is worth more in training."""

EVAL_INTERVAL = 10
"""Distance of held-out views where nobody gave another."""


@dataclass(frozen=True)
class FitSettings:
    """What decides how a scene is fitted, whichever chunk it is in and whoever fits it."""

    bundle: str
    """Hash of the shared bundle."""
    steps: int
    """Steps of each scene in all."""
    rgb_alignment_start: Optional[int] = None
    """First step of RGB alignment; None for latent supervision throughout."""
    rays_per_scene: int = 256
    """Latent pixels of each scene a step of latent supervision."""
    eval_interval: Optional[int] = None
    """Where a scene has no split of its own, views 0, n, 2n, ... are held out; None for every tenth, and for none where
    there are 8 photos or fewer."""
    precision: Precision = "float16"
    """Precision of the files' micro planes."""
    seed: int = 0
    """Seed of fresh planes and of the jitter of samples, the same for every chunk."""

    @property
    def held_out_from(self) -> int:
        """Photos from which on a scene without a split of its own has some of them held out."""
        return FEW + 1 if self.eval_interval is None else 2

    def values(self) -> Dict[str, Any]:
        """JSON values by name; an interval that was asked for counts for few photos as well."""
        asked = {} if self.eval_interval is None else {"held_out_of_few": True}
        own = {**dataclasses.asdict(self), "eval_interval": self.eval_interval or EVAL_INTERVAL}
        return {"format": FIT_FORMAT, **own, **OF_OLD, **asked}

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell equal settings from others; every scene file has them in its facts."""
        return hashlib.sha256(canonical(self.values())).hexdigest()[:16]


@dataclass(frozen=True)
class Inventory:
    """Scenes to fit: from where, to where, and how."""

    data: Path
    """Folder of scene folders."""
    output: Path
    """Folder for scene files and status."""
    bundle: str
    """The shared bundle: a run, a folder, or the name of one that is part of the package."""
    settings: FitSettings
    method: "LatentTrainerConfig" = field(repr=False)
    """The method's config: learning rates, fields, crops; the rest is replaced."""
    latent_cache: str = "disk"
    """Where latents are kept: `memory`, `disk` (the user's cache folder) or a folder."""
    device: Optional[Literal["cpu", "cuda"]] = None
    """Device of the fits; None for the GPU, if there is one."""
    shard: Optional[Tuple[int, int]] = None
    """Which of how many parts of the scenes this is, counted from 1, while others fit the other parts."""

    @property
    def place(self) -> Path:
        """Folder of the status and of the lock: the output, or this part's own in it."""
        return self.output if self.shard is None else self.output / SHARDS / "{}-of-{}".format(*self.shard)

    def scene_path(self, name: str) -> Path:
        """Where a scene's file is."""
        return self.output / "scenes" / f"{name}{SUFFIX}"


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

    def halves(self) -> "Tuple[ChunkJob, ChunkJob]":
        """Two jobs of half the scenes."""
        middle = len(self.names) // 2
        return ChunkJob(self.inventory, self.names[:middle]), ChunkJob(self.inventory, self.names[middle:])


def keep_settings(output: Path, ours: Dict[str, Any]) -> None:
    """Writes OUTPUT/settings.json, or makes sure that it says the same."""
    path = output / FILE
    if not path.is_file():
        write_text(path, json.dumps(ours, indent=2))
        return
    theirs = read_json(path, "remove it to begin anew, or give another --output", LARGEST_TEXT)
    theirs = {**{name: ours[name] for name in LATER if name in ours}, **theirs}
    others = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if others:
        expected = ", ".join(f"{name} {theirs.get(name)}" for name in others)
        got = ", ".join(f"{name} {ours.get(name)}" for name in others)
        do = "its scenes were fitted so: give the same, or another --output"
        raise ValueError(problem(path, expected, got, do))
