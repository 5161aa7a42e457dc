"""Paths as people give them: folders of data, and where something is to be written. None stands for a default place."""

import os
from pathlib import Path
from typing import Any, Iterable, Optional

from latent_nerfstudio.errors import problem

ENDINGS = (".html", ".md", ".json", ".png", ".ply", ".glb", ".obj", ".mp4", ".gif", ".safetensors", ".zip")
"""Of files that are written here: a folder of such a name would be a mistake."""

CAMERA_FILES = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
"""By which a folder is known to be a scene; each stands for its folder."""


def as_path(path: Any, what: str = "output") -> Path:
    """A path as it is given in Python, with the user's folder spelled out."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise ValueError(problem(what, "a path", "none" if path is None else f"a {type(path).__name__}", "name one"))
    return Path(path).expanduser()


def data_folder(data: Path) -> Path:
    """The folder, from the root, of scenes or of the scene whose camera file is given."""
    path = data.expanduser()
    return (path.parent if path.name in CAMERA_FILES and path.is_file() else path).resolve()


def check_scenes_there(data: Path) -> None:
    """Refuses a folder of scenes that is not there, before much is imported."""
    if not data.is_dir():
        got, do = ("a file", "name its folder") if data.exists() else ("nothing there", "check the path")
        raise FileNotFoundError(problem(data, "a folder of scenes", got, do))


def check_scenes_folders(data: Path, output: Path) -> None:
    """Refuses a folder of scenes that is not there, and what cannot be a folder of what is made of them."""
    check_folder(output.expanduser())
    folder = output.expanduser().resolve()
    if folder == data_folder(data) or any((folder / name).is_file() for name in CAMERA_FILES):
        raise ValueError(problem("output", "another folder than that of the photos", output, "name one"))
    check_scenes_there(data_folder(data))


def check_folder(path: Optional[Path]) -> None:
    """Refuses for a folder what is something else, lies below a file, or is named as a file and is not there."""
    if path is None:
        return
    check_above(path)
    if path.exists() and not path.is_dir():
        raise FileExistsError(problem("output", "a folder, or nothing there", f"the file {path}", "name another"))
    if path.suffix.lower() in ENDINGS and not path.exists():
        raise ValueError(problem("output", "a folder", f"{path}, named as a file", "leave out its ending"))
    check_writable(path)


def check_cache(place: Any) -> None:
    """Refuses for a cache of encoded pictures what is neither `memory`, `disk` nor a folder, there or to be made."""
    if place in ("memory", "disk"):
        return
    path = as_path(place, "latent_cache")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(
            problem("latent_cache", "memory, disk or a folder", f"the file {path}", "name another")
        )
    check_above(path, "latent_cache")


def check_file(path: Optional[Path], *endings: str, what: str = "output") -> None:
    """Refuses for a file, in messages about `what`, another ending, what is a folder, or lies below a file."""
    if path is None:
        return
    if path.suffix.lower() not in endings:
        raise ValueError(problem(what, f"a {' or '.join(endings)} file", path, "change its ending"))
    check_above(path, what)
    if path.is_dir():
        raise IsADirectoryError(problem(what, "a file", f"the folder {path}", "name a file in it"))
    check_writable(path)


def check_above(path: Path, what: str = "output") -> None:
    above = next((place for place in path.parents if os.path.lexists(place)), None)
    if above is not None and not above.is_dir():
        got = f"{path}, where {above} is none"
        raise NotADirectoryError(problem(what, "a place below folders", got, "name another"))


def check_writable(path: Path) -> None:
    """Refuses what lies in, or is to be made in, a folder that this process may not write to."""
    folder = next(place for place in (path, *path.parents) if place.is_dir())
    if not os.access(folder, os.W_OK):
        got, do = "a read-only one", "name another, or free it"
        raise PermissionError(problem(folder, "a folder that can be written to", got, do))


def check_folder_or_file(path: Optional[Path], *endings: str) -> None:
    """Refuses what can be neither a file of one of these endings nor, of any other name, a folder."""
    if path is not None and path.suffix in endings:
        check_file(path, *endings)
    else:
        check_folder(path)


def check_free(paths: Iterable[Path], overwrite: bool, expected: str = "nothing there") -> None:
    """Refuses to write over what is there, unless told to."""
    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        got, do = "a folder" if taken[0].is_dir() else "a file", "pass --overwrite or name another --output"
        raise FileExistsError(problem(f"{taken[0]}{more}", expected, got, do))
