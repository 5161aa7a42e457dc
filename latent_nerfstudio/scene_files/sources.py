"""Scenes from and to wherever a user has them: files, folders of files, archives."""

import itertools
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import local
from latent_nerfstudio.latent_space.shipped import meant_by
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import take_name
from latent_nerfstudio.scene_files import Precision
from latent_nerfstudio.scene_files.archive import read_archive, write_archive
from latent_nerfstudio.scene_files.scene_file import (
    SUFFIX,
    SceneFile,
    check_belongs,
    read_scene_file,
    write_scene_file,
)

ARCHIVE_SUFFIX = ".zip"
"""Of an archive's name."""

EXPECTED = f"scene files (NAME{SUFFIX}), a folder or an archive ({ARCHIVE_SUFFIX}) of them, or a Hub id"
"""What scenes are read from."""


def read_scenes_from(paths: Sequence[Path], bundle: Optional[SharedBundle] = None) -> Iterator[SceneFile]:
    """Scenes of a bundle, None for any, one at a time: of files, folders, archives, and Hub ids of sets of scenes."""
    if not paths:
        raise ValueError(problem("source", "at least one scene file, folder or archive", "none", "name one"))
    for given in paths:
        path = local(given, "scenes")
        if path.is_dir():
            yield from (read_scene_file(file, bundle) for file in files_in(path))
        elif path.suffix == ARCHIVE_SUFFIX:
            yield from read_archive(path, bundle)
        elif path.suffix == SUFFIX:
            yield read_scene_file(path, bundle)
        else:
            raise FileNotFoundError(problem(given, EXPECTED, *meant_by(str(given))))


def scenes_with_bundle(
    paths: Sequence[Path], find: Callable[[SceneFile], SharedBundle]
) -> Tuple[SharedBundle, Iterator[SceneFile]]:
    """The bundle that is found for the first of some scenes, and all of them, of that bundle."""
    scenes = read_scenes_from(paths)
    first = next(scenes)
    bundle = find(first)

    def checked() -> Iterator[SceneFile]:
        for scene in itertools.chain([first], scenes):
            check_belongs(scene, bundle)
            yield scene

    return bundle, checked()


def files_in(folder: Path) -> List[Path]:
    """The scene files of a folder in the order of their names, or those of its subfolder `scenes`."""
    for place in (folder, folder / "scenes"):
        files = sorted(place.glob(f"*{SUFFIX}"))
        if files:
            return files
    raise FileNotFoundError(problem(folder, EXPECTED, *meant_by(str(folder))))


def write_scenes(output: Path, scenes: Iterable[SceneFile], precision: Optional[Precision]) -> int:
    """Writes scenes as files into a folder, or as an archive where the name is one's, and returns their bytes."""
    if output.suffix == ARCHIVE_SUFFIX:
        write_archive(output, scenes, precision)
        return output.stat().st_size
    return sum(write_scene_file(output / f"{scene.name}{SUFFIX}", scene, precision) for scene in scenes)


def each_once(scenes: Iterable[SceneFile], where: object, do: str) -> Iterator[SceneFile]:
    """Scenes as they come; two of one name are refused, as an error about `where` with the advice `do`."""
    names: Dict[str, str] = {}
    for scene in scenes:
        take_name(scene.name, names, where, do)
        yield scene
