"""What ships with the package, by name, and what may be meant by a source that is none of what is wanted."""

import difflib
from pathlib import Path
from typing import Iterable, Tuple

BUNDLED = ("bundled", "bundled-former", "bundled-cars", "bundled-standard")
RETIRED = {"bundled-f8": "b0dce798be036799"}
"""Hashes of the encoders of those that were part of it, and of which it has the shape alone."""

FOLDERS = {name: Path(__file__).resolve().parent / name.replace("-", "_") for name in (*BUNDLED, *RETIRED)}
BUNDLED_FOLDERS = {name: FOLDERS[name] for name in BUNDLED}
"""Autoencoders that are part of the package, by the name that `source` takes: the 3D-aware ones of objects, what this
was before, and of cars, and a standard one of the same make."""

A_BUNDLE = "a shared bundle", "lns.load_bundle opens it, and --bundle takes it"
AN_AUTOENCODER = "an autoencoder", "lns.load_autoencoder opens it, and --pipeline.model.autoencoder.source takes it"
SCENE_FILES = "scene files", "lns.load opens them, as do commands that take scenes"
ARCHIVES = "a folder of archives", "name one of them"
A_RUN = "a run", "lns.load opens it; it has a bundle if ig-ae or --write-bundle True wrote one"

KINDS = (
    (A_RUN, "nerfstudio_models"),
    (SCENE_FILES, "scenes/*.safetensors"),
    (A_BUNDLE, "bundle.json"),
    (AN_AUTOENCODER, "diffusion_pytorch_model*"),
    (SCENE_FILES, "*.safetensors"),
    (A_RUN, "config.yml"),
    (A_BUNDLE, "shared_bundle/bundle.json"),
    (AN_AUTOENCODER, "config.json"),
    (ARCHIVES, "*.zip"),
    (AN_AUTOENCODER, "*/config.json"),
    (("photos with cameras", "fit scenes first: lns fit-scenes, or ns-train"), "transforms*.json"),
    (("scenes of photos", "fit them first: lns fit-scenes, or ns-train"), "*/transforms*.json"),
    *((("pictures", "lns process-photos finds their cameras"), f"*.{e}") for e in ("png", "jpg", "jpeg", "JPG")),
)
"""What people have, with what takes it, and files by which it is known; of several the first."""


def name_of(source: str) -> str:
    """The name of a part of the package whose folder is given; any other source as it is."""
    place = Path(source).expanduser().resolve()
    return next((name for name, folder in FOLDERS.items() if folder == place), source)


def what_is(path: Path) -> Tuple[str, str]:
    """What a folder or file is, by names of files alone, and what takes it; empty for nothing known."""
    folder = path if path.is_dir() else path.parent
    kinds = (kind for kind, mark in KINDS if any(path in (folder, found) for found in folder.glob(mark)))
    known = next(kinds, ("", ""))
    return SCENE_FILES if known == ARCHIVES and path != folder else known


def meant_by(source: str, wanted: Iterable[str] = ()) -> Tuple[str, str]:
    """What a source is that is not what is asked for, where some names would be, and what to do: for an error."""
    path = FOLDERS.get(source, Path(source).expanduser())
    if name_of(source) in RETIRED:
        return "an autoencoder that no longer ships", "take bundled"
    if what_is(path)[0]:
        return what_is(path)
    runs = sorted(run.parent for depth in ("*", "*/*", "*/*/*") for run in path.glob(f"{depth}/config.yml"))
    if runs:
        return "a folder of runs", f"name {runs[-1]}"
    if path.exists():
        is_empty = path.is_dir() and not any(path.iterdir())
        return "an empty folder" if is_empty else "something else", "check the path"
    near = difflib.get_close_matches(source, list(wanted), n=1)
    return "nothing there", f"did you mean {near[0]}?" if near else "check the path"
