"""The folder of a shared bundle: replaced as a whole, and known by a hash of what it holds.

A crash at any moment leaves a whole bundle: a new one is written beside the old one, which is renamed away before and
removed after the new one takes its name. Between these two renames the old one is read where it was moved to.
"""

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

import torch
from torch import Tensor

FOLDER = "shared_bundle"
"""Name of a bundle's folder within that of a run."""

SETTINGS_FILE = "bundle.json"
TENSORS_FILE = "shared.safetensors"
AUTOENCODER = "autoencoder"
"""Subfolder with the autoencoder, and name of the link to it beside the bundle's folder."""

WRITING = ".shared_bundle.writing"
"""Where a new bundle is written."""

PREVIOUS = ".shared_bundle.previous"
"""Where the old bundle is while the new one takes its place."""

PROVENANCE = ("hash", "num_scenes", "step", "facts")
"""Settings that tell where a bundle comes from and not what it is, so that its hash leaves them out."""


@contextmanager
def replacing(run_folder: Path) -> Iterator[Path]:
    """An empty folder to write a bundle into, which takes the bundle's place when the block ends without an error."""
    run_folder.mkdir(parents=True, exist_ok=True)
    tidy(run_folder)
    writing, previous, final = (run_folder / name for name in (WRITING, PREVIOUS, FOLDER))
    writing.mkdir()
    try:
        yield writing
        flush_tree(writing)
        if final.exists():
            os.replace(final, previous)
            flush(run_folder)
        os.replace(writing, final)
        flush(run_folder)
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    shutil.rmtree(previous, ignore_errors=True)


def tidy(run_folder: Path) -> None:
    """Removes what a crash has left; a bundle that was moved away and not replaced gets its name back."""
    shutil.rmtree(run_folder / WRITING, ignore_errors=True)
    previous, final = run_folder / PREVIOUS, run_folder / FOLDER
    if previous.exists() and not final.exists():
        os.replace(previous, final)
    shutil.rmtree(previous, ignore_errors=True)


def flush_tree(folder: Path) -> None:
    """Has the contents of a folder written to the disk, so that no rename can overtake them."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def flush(path: Path) -> None:
    """Has a file or the names in a folder written to the disk; Windows opens no folders."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_autoencoder(run_folder: Path) -> None:
    """Makes RUN/autoencoder the bundle's: a relative link, or a copy where the file system has no links."""
    target, link, writing = Path(FOLDER) / AUTOENCODER, run_folder / AUTOENCODER, run_folder / ".autoencoder.writing"
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    remove(writing)
    try:
        writing.symlink_to(target, target_is_directory=True)
    except (OSError, NotImplementedError):
        shutil.copytree(run_folder / target, writing)
    remove(link)
    os.replace(writing, link)


def remove(path: Path) -> None:
    """Removes a link or a folder, if it is there."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def find_folder(path: Path) -> Optional[Path]:
    """The folder of the bundle that a path names, see `read_shared_bundle`; None where there is none."""
    if path.is_file():
        path = path.parent
    moved_away = path.parent / PREVIOUS if path.name == FOLDER else path / PREVIOUS
    return next((f for f in (path, path / FOLDER, moved_away) if (f / SETTINGS_FILE).is_file()), None)


def hash_folder(folder: Path, settings: Dict[str, Any]) -> str:
    """SHA-256 of a bundle: its settings without their provenance, and the tensors and JSON files of its folder.

    Args:
        folder: the bundle's folder.
        settings: contents of its bundle.json, which need not be written yet.
    """
    kept = {name: value for name, value in settings.items() if name not in PROVENANCE}
    digest = hashlib.sha256(canonical(kept))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json" and name != SETTINGS_FILE:
            digest.update(name.encode() + canonical(json.loads(path.read_text(encoding="utf-8"))))
        elif path.suffix == ".safetensors":
            digest.update(name.encode())
            for tensor_name, value in stored_tensors(path):
                digest.update(f"{tensor_name}{value.dtype}{tuple(value.shape)}".encode())
                digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def stored_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a safetensors file by name, one at a time: autoencoders may be large."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in sorted(file.keys()):
            yield name, file.get_tensor(name)


def canonical(values: Any) -> bytes:
    """One text for equal JSON values."""
    return json.dumps(values, sort_keys=True).encode()
