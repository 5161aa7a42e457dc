"""What is published on the Hub: an autoencoder, a shared bundle or a set of scenes, as a folder with a model card.

A repository looks like a run's folder, so that whatever reads folders reads its copy:

    autoencoder   config.json and the weights, as diffusers writes them, and latent_space.json
    bundle        shared_bundle/, and a config.json that says what this is
    scenes        scenes/NAME.safetensors, shared_bundle/ where their bundle goes with them, such a config.json, and
                  scenes.webp, a picture of some of them for the card

Nothing is published that was not read and verified, and nothing is written out that was not verified again.
"""

import glob
import json
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.files.hub import FILES, Kind, check_link, copy_files, is_hub_id, local
from latent_nerfstudio.hub import Notes
from latent_nerfstudio.hub.card import PICTURE, SCENE_FACTS, card_of, spread
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig, check_not_retired, locate
from latent_nerfstudio.latent_space.shipped import BUNDLED_FOLDERS, meant_by
from latent_nerfstudio.models.bundle_folder import FOLDER, SETTINGS_FILE
from latent_nerfstudio.models.shared_bundle import BUNDLED_BUNDLES, name_one_bundle, read_shared_bundle, source_for
from latent_nerfstudio.scene_files.scene_file import copy_scene_file, read_scene_file
from latent_nerfstudio.scene_files.sources import files_in

LAYOUT: Dict[Kind, str] = {
    "autoencoder": FILES["autoencoder"],
    "bundle": rf"config\.json|{FOLDER}/({FILES['bundle']})",
    "scenes": rf"{FILES['scenes']}|{re.escape(PICTURE)}",
}
"""Names of the files of a package but for its card, as a pattern: what a push or a pull may replace."""


class Package:
    """What is to be published, or is, of a kind: of a run, a folder, a part of this package by its name, or a Hub id.
    The shared bundle of scenes is named in the card where it has a Hub id or a name, and goes with them as a folder."""

    def __init__(self, source: str, kind: Kind, bundle: Optional[str] = None, notes: Optional[Notes] = None):
        self.kind: Kind = kind
        self.picture: Optional[bytes] = None  # of scenes, as WebP, for the card
        self.notes = notes or Notes()
        self.folder = find(source, kind)
        self.place = bundle
        if kind == "scenes":
            named = read_scene_file(files_in(self.folder)[0]).bundle_hash
            self.place = source_for(bundle, named) if bundle else bundle_beside(self.folder, named)
        self.bundle = None if self.place is None else read_shared_bundle(self.place)
        self.facts = FACTS[kind](self)

    @property
    def takes_bundle_along(self) -> bool:
        """Whether the bundle of scenes is published with them: it is of this machine and not of this package."""
        if self.place is None or self.place in BUNDLED_BUNDLES:
            return False
        return not is_hub_id(self.place) or Path(self.place).expanduser().exists()

    def __str__(self) -> str:
        return for_terminal(f"{self.kind}: " + ", ".join(f"{name} {value}" for name, value in self.facts.items()))

    def copy_to(self, folder: Path) -> None:
        """Copies the files, scenes without private facts, and verifies the copy; links must not lead out."""
        if self.kind == "scenes":
            copy_files(self.folder, folder / "scenes", r"[^/]+\.safetensors", copy_scene_file)
            if self.bundle is not None and self.takes_bundle_along:
                copy_files(self.bundle.folder, folder / FOLDER, FILES["bundle"])
        else:
            copy_files(self.folder, folder / (FOLDER if self.kind == "bundle" else ""), FILES[self.kind])
        verify(folder, self.kind)

    def write(self, folder: Path, repository: str) -> None:
        """Writes what is published as a repository into an empty folder, see `copy_to`."""
        self.copy_to(folder)
        if self.kind != "autoencoder":  # by config.json the Hub counts downloads
            said = {"library": "latent-nerfstudio", "kind": self.kind}
            if self.kind == "scenes" and self.place and not self.takes_bundle_along:
                said["bundle"] = self.place
            (folder / "config.json").write_text(json.dumps(said, indent=2), encoding="utf-8")
        if self.picture is not None:
            (folder / PICTURE).write_bytes(self.picture)
        card_of(self, repository).save(folder / "README.md")

    def push_to_hub(
        self, repository: str, private: bool = False, branch: Optional[str] = None, message: str = "Push"
    ) -> str:
        """Publishes it into a repository, made if there is none, by default into its main branch, from which files of
        this kind that are no more are removed; returns the address of the commit."""
        from huggingface_hub import HfApi

        api = HfApi()
        with tempfile.TemporaryDirectory() as temporary:
            self.write(Path(temporary), repository)
            api.create_repo(repository, private=private or None, exist_ok=True)
            if branch is not None:
                api.create_branch(repository, branch=branch, exist_ok=True)
            ours = (n for n in api.list_repo_files(repository, revision=branch) if re.fullmatch(LAYOUT[self.kind], n))
            gone = [name for name in ours if not (Path(temporary) / name).is_file()]
            if gone:
                print(f"Removed from {repository}, as they are no more: {for_terminal(', '.join(gone))}")
            sent = api.upload_folder(
                repo_id=repository,
                folder_path=temporary,
                revision=branch,
                commit_message=message,
                delete_patterns=[glob.escape(name) for name in gone] or None,
            )
        return str(sent)


def find(source: str, kind: Kind) -> Path:
    """The folder that holds what a source names, verified."""
    if kind == "bundle":
        folder, given = read_shared_bundle(source).folder, Path(source).expanduser()
        if given.is_dir():
            check_link(folder / SETTINGS_FILE, given)
        return folder
    if kind == "autoencoder":
        check_not_retired(source)
        location, subfolder = locate(source, None)
        folder = Path(location) / (subfolder or "")
        check_link(folder / "config.json", Path(location))
        return folder
    folder, expected = local(Path(source).expanduser(), kind), "a folder of scene files"
    if not folder.exists():
        raise FileNotFoundError(problem(source, f"{expected} or a Hub id", "nothing there", "check the path"))
    if not folder.is_dir():
        do = "unpack archives with lns pack-scenes ARCHIVE --output FOLDER"
        raise ValueError(problem(folder, expected, "a file", do))
    first = files_in(folder)[0]
    check_link(first, folder)
    return first.parent


def bundle_beside(folder: Path, named: str) -> Optional[str]:
    """The bundle beside a folder of scene files, where it is that of the hash that they name; None if there is none."""
    place = folder.parent / FOLDER
    if not place.is_dir():
        return None
    check_link(place / SETTINGS_FILE, folder.parent)
    return str(place) if read_shared_bundle(str(place)).has_hash(named) else None


def guess_kind(source: str) -> Kind:
    """What a path holds: a bundle before an autoencoder before scenes."""
    kinds: Tuple[Kind, ...] = ("bundle", "autoencoder", "scenes")
    for kind in kinds:
        with suppress(OSError):
            find(source, kind)
            return kind
    expected = "a folder with a shared bundle, scene files or an autoencoder"
    raise ValueError(problem(source, expected, *meant_by(source, BUNDLED_FOLDERS)))


def verify(folder: Path, kind: Kind) -> None:
    """Reads all of a repository's copy as its users will."""
    if kind == "autoencoder":
        AutoencoderConfig(source=str(folder)).setup()
    bundle = read_shared_bundle(str(folder)) if kind == "bundle" or (folder / FOLDER).is_dir() else None
    for path in files_in(folder) if kind == "scenes" else ():
        read_scene_file(path, bundle)


def autoencoder_facts(package: Package) -> Dict[str, Any]:
    autoencoder = AutoencoderConfig(source=str(package.folder)).setup()
    return {
        "class": type(autoencoder.vae).__name__,
        "downscale factor": autoencoder.downscale_factor,
        "channels": autoencoder.num_channels,
        "parameters": f"{sum(p.numel() for p in autoencoder.parameters()):,}",
        "hash of the encoder": autoencoder.encoder_hash(),
    }


def bundle_facts(package: Package) -> Dict[str, Any]:
    bundle = read_shared_bundle(str(package.folder))
    field, box = bundle.field, [[round(x, 3) for x in corner] for corner in bundle.aabb]
    return {
        "scenes that it was learned from": bundle.num_scenes,
        "step": bundle.step,
        **{name: value for name, value in bundle.facts.items() if isinstance(value, (str, int, float))},
        "autoencoder": "downscale factor {downscale_factor}, {channels} channels".format(**bundle.autoencoder),
        "planes": f"{field['micro_features']} micro and {field['macro_features']} macro features, "
        f"{field['num_base_planes']} base planes, {field['resolution']} texels a side",
        "scene box": f"{box[0]} to {box[1]}",
        "hash": bundle.hash,
    }


def scenes_facts(package: Package) -> Dict[str, Any]:
    """What scene files of one bundle tell of themselves; all are read and verified."""
    files = files_in(package.folder)
    scenes = [(scene.bundle_hash, scene.facts) for scene in (read_scene_file(path, package.bundle) for path in files)]
    hashes = {bundle_hash for bundle_hash, _ in scenes}
    known = {
        name: [float(facts[name]) for _, facts in scenes if type(facts.get(name)) in (int, float)]
        for name in SCENE_FACTS
    }
    if package.bundle is None and not name_one_bundle(hashes):
        do = "publish those of each bundle by themselves"
        raise ValueError(problem(package.folder, "scenes of one bundle", f"of {len(hashes)}", do))
    return {
        "scenes": len(files),
        "bytes in all": f"{sum(path.stat().st_size for path in files):,}",
        **{SCENE_FACTS[name]: spread(values) for name, values in known.items() if len(values) == len(files)},
        "shared bundle": ", ".join(sorted(hashes)),
    }


FACTS: Dict[Kind, Any] = {"autoencoder": autoencoder_facts, "bundle": bundle_facts, "scenes": scenes_facts}
"""Reads and verifies, and tells what there is."""
