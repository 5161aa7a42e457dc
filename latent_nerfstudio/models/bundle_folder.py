"""The folder of a shared bundle: what is in it, where it is found, and the hash by which it is known. It is replaced as
a whole, see `files.replacing`; between the two renames the old one is read where it was moved to."""

import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Optional, Sequence, Tuple

import torch
from torch import Tensor

from latent_nerfstudio.files.hub import FILES
from latent_nerfstudio.files.reading import check_header, read_bytes, read_json
from latent_nerfstudio.files.replacing import replacing_folder, standing, unfinished_folder

FOLDER = "shared_bundle"
"""Name of a bundle's folder within that of a run."""

SETTINGS_FILE = "bundle.json"
TENSORS_FILE = "shared.safetensors"
ENCODER_FILE = "scene_encoder.safetensors"
"""The scene encoder's weights, where a bundle has one."""

AUTOENCODER = "autoencoder"
"""Subfolder with the autoencoder, and name of the link to it beside the bundle's folder."""

MOST_BYTES = 1 << 33
"""Bytes of a safetensors file of a bundle at most."""


def link_autoencoder(run_folder: Path) -> None:
    """Makes RUN/autoencoder the bundle's: a relative link, or a copy where the file system has no links."""
    target, link = Path(FOLDER) / AUTOENCODER, run_folder / AUTOENCODER
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    with unfinished_folder(run_folder) as folder:
        writing = folder / AUTOENCODER
        try:
            writing.symlink_to(target, target_is_directory=True)
        except (OSError, NotImplementedError):
            shutil.copytree(run_folder / target, writing)
        if link.is_dir() and not link.is_symlink():
            os.replace(link, folder / "previous")
        os.replace(writing, link)


@contextmanager
def written_bundle(run_folder: Path, settings: Dict[str, Any]) -> Iterator[Path]:
    """A folder for a bundle's files; at the end it becomes RUN/shared_bundle, with the settings and their hash."""
    with replacing_folder(run_folder / FOLDER, rf"README\.md|{FILES['bundle']}") as folder:
        yield folder
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)  # safetensors keeps its files to their owner
        settings["hash"] = hash_folder(folder, settings)
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    if not settings["autoencoder"]["is_identity"]:
        link_autoencoder(run_folder)


def find_folder(path: Path) -> Optional[Path]:
    """The folder of the bundle that a path names, see `read_shared_bundle`; None where there is none."""
    if path.is_file():
        path = path.parent
    places = (standing(path), standing(path / FOLDER))
    return next((place for place in places if (place / SETTINGS_FILE).is_file()), None)


def hash_folder(folder: Path, settings: Dict[str, Any], leave_out: Sequence[str] = ()) -> str:
    """SHA-256 of a bundle's settings, but for provenance and `leave_out`, and of its tensors and JSON files."""
    without = ("hash", "num_scenes", "step", "facts", *leave_out)
    kept = {name: value for name, value in settings.items() if name not in without}
    digest = hashlib.sha256(canonical(kept))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in (SETTINGS_FILE, *leave_out) or not re.fullmatch(FILES["bundle"], name):
            continue
        digest.update(name.encode())
        if path.suffix == ".json":
            digest.update(canonical(read_json(path)))
        else:
            add_tensors(digest, stored_tensors(path))
    return digest.hexdigest()


def add_tensors(digest: Any, tensors: Iterable[Tuple[str, Tensor]]) -> None:
    for name, value in tensors:
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())


def stored_tensors(path: Path) -> Iterator[Tuple[str, Tensor]]:
    """The tensors of a safetensors file by name; of a large one, one at a time, which leaks in safetensors 0.8."""
    from safetensors import safe_open
    from safetensors.torch import load

    check_header(path, MOST_BYTES)
    if path.stat().st_size <= 1 << 26:
        yield from sorted(load(read_bytes(path, MOST_BYTES)).items())
        return
    with safe_open(path, framework="pt") as file:
        for name in sorted(file.keys()):
            yield name, file.get_tensor(name)


def canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True).encode()
