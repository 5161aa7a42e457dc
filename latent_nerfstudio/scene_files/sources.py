"""Scenes from wherever a user has them: files, folders of files, archives."""

import difflib
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import local
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import take_name
from latent_nerfstudio.scene_files.archive import read_archive
from latent_nerfstudio.scene_files.scene_file import SUFFIX, SceneFile, read_scene_file

ARCHIVE_SUFFIX = ".zip"
"""Of an archive's name."""


def read_scenes_from(paths: Sequence[Path], bundle: Optional[SharedBundle] = None) -> Iterator[SceneFile]:
    """Scenes one at a time.

    Args:
        paths: scene files, folders of them, archives, and Hub ids of sets of scenes.
        bundle: the bundle that they must belong to; None takes scenes of any.

    Raises:
        FileNotFoundError: a path is not there, or a folder holds no scene file.
        ValueError: a file is not as it should be, or belongs to another bundle.
        ConnectionError: a Hub id that is neither cached nor within reach.
    """
    for given in paths:
        path = local(given, "scenes")
        if path.suffix == ARCHIVE_SUFFIX:
            yield from read_archive(path, bundle)
        else:
            yield from (read_scene_file(file, bundle) for file in (files_in(path) if path.is_dir() else [path]))


def files_in(folder: Path) -> List[Path]:
    """The scene files of a folder in the order of their names, or those of its subfolder `scenes`.

    Raises:
        FileNotFoundError: there are none.
    """
    for place in (folder, folder / "scenes"):
        files = sorted(place.glob(f"*{SUFFIX}"))
        if files:
            return files
    raise FileNotFoundError(problem(folder, f"a folder of scene files (NAME{SUFFIX})", "none in it", "check the path"))


def each_once(scenes: Iterable[SceneFile], where: object, do: str) -> Iterator[SceneFile]:
    """Scenes as they come.

    Args:
        scenes: from `read_scenes_from`, or from elsewhere.
        where: what an error is about.
        do: what it advises.

    Raises:
        ValueError: two scenes of one name.
    """
    names: Dict[str, str] = {}
    for scene in scenes:
        take_name(scene.name, names, where, do)
        yield scene


def check_known(wanted: Sequence[str], known: Sequence[str], where: object) -> None:
    """Refuses names of scenes that are not there, and names those closest to the first of them.

    Raises:
        ValueError: such a name.
    """
    there = set(known)
    for name in wanted:
        if name not in there:
            near = ", ".join(difflib.get_close_matches(str(name), known, n=3, cutoff=0.3) or list(known)[:3])
            raise ValueError(problem("scenes", f"scenes of {where}, such as {near}", repr(name), "correct the name"))
