"""Many scene files in one: an uncompressed zip of `index.json` and a `NAME.safetensors` for each scene. Archives come
from strangers: nothing is unpacked to the disk, scenes are read one at a time, and no small archive becomes large."""

import json
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Optional, Sequence

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import AGAIN, BROKEN_ZIP, check_format, open_plain, parse_json, zip_in
from latent_nerfstudio.files.replacing import replacing_file
from latent_nerfstudio.models.shared_bundle import SharedBundle, name_one_bundle
from latent_nerfstudio.names import check_names, take_name
from latent_nerfstudio.scene_files import Precision
from latent_nerfstudio.scene_files.scene_file import MAX_FILE, SUFFIX, SceneFile, pack_scene, unpack_scene

ARCHIVE_FORMAT = "scene-archive-v1"
"""Changed when the contents of an archive change their meaning."""

INDEX = "index.json"
"""Format, hash of the scenes' bundle, and the names of the scenes in their order."""

MAX_INDEX = 1 << 26
"""Bytes of the index at most; a million names take about a third of it."""


def write_archive(path: Path, scenes: Iterable[SceneFile], precision: Optional[Precision] = "float16") -> None:
    """Writes scenes of one bundle, one in memory at a time, as an archive; equal scenes make equal bytes."""
    names: Dict[str, str] = {}
    bundle_hash = ""
    with replacing_file(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for scene in scenes:
            take_name(scene.name, names, path, "leave one of them out")
            bundle_hash = bundle_hash or scene.bundle_hash
            if not name_one_bundle((bundle_hash, scene.bundle_hash)):
                got = f"{scene.name!r} of {scene.bundle_hash}"
                raise ValueError(problem(path, f"scenes of the bundle {bundle_hash}", got, "write an archive for each"))
            add(archive, scene.name + SUFFIX, pack_scene(scene, precision))
        if not names:
            raise ValueError(problem(path, "at least one scene", "none", "name scenes"))
        index = {"format": ARCHIVE_FORMAT, "bundle": bundle_hash, "scenes": list(names.values())}
        add(archive, INDEX, json.dumps(index, ensure_ascii=False).encode())


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Adds a member without its time, so that archives do not differ from day to day."""
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o644 << 16
    archive.writestr(member, data)


def read_archive(path: Path, bundle: Optional[SharedBundle] = None) -> Iterator[SceneFile]:
    """The scenes of an archive in their order, read and verified one at a time; before the first its directory is."""
    names = archive_names(path)
    with opened(path) as archive:
        for name in names:
            where = f"{path}, {name}{SUFFIX}"
            with opened_member(archive, name + SUFFIX, where) as stream:
                scene = unpack_scene(stream, where, bundle)
            if scene.name != name:
                raise ValueError(problem(where, f"the scene {name!r}", f"{scene.name!r}", "write the archive again"))
            yield scene


def archive_names(path: Path) -> Sequence[str]:
    """The names of an archive's scenes, once it is known to hold its index, these scenes, and nothing else."""
    with opened(path) as archive:
        check_members(archive.infolist(), path)
        held = sorted(archive.namelist())
        if INDEX not in held:
            do = "name an archive that lns export-scenes wrote"
            raise ValueError(problem(path, f"{INDEX} and scenes", f"{len(held)} other members", do))
        with opened_member(archive, INDEX, str(path)) as stream:
            index = parse_json(stream.read(), f"{path}, {INDEX}")
    check_format(index, ARCHIVE_FORMAT, path)
    names, again = index.get("scenes"), "write the archive again"
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(problem(path, "an index of names of scenes", "another", again))
    check_names(names, path)
    named = sorted([INDEX, *(name + SUFFIX for name in names)])
    if held != named:
        others = sorted(set(held) ^ set(named)) or ["some twice"]
        raise ValueError(problem(path, f"{INDEX} and the scenes that it names alone", f"{others[0]!r:.80}", again))
    return names


def check_members(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Refuses members that are packed, or that are larger than they may be, by themselves or together."""
    for info in members:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            got = f"{info.filename[:80]!r} packed or encrypted"
            raise ValueError(problem(path, "members as they are", got, "zip them with -0"))
        most = MAX_INDEX if info.filename == INDEX else MAX_FILE
        if info.file_size > most:
            got = f"{info.file_size:,} of {info.filename[:80]!r}"
            raise ValueError(problem(path, f"members of {most:,} bytes at most", got, AGAIN))
    total, size = sum(info.file_size for info in members), path.stat().st_size
    if total > size:
        raise ValueError(problem(path, f"members of {size} bytes at most", f"{total}", AGAIN))


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file to read, whose directory is no large part of it, or small."""
    with open_plain(path) as stream:
        try:
            archive = zip_in(stream, lambda size: size // 3 + (1 << 16))
        except (*BROKEN_ZIP, ValueError) as error:  # ValueError also of a zip of an earlier kind: a negative place
            raise ValueError(problem(path, "an archive of scenes", f"'{error}'", AGAIN)) from error
        with archive:
            yield archive


@contextmanager
def opened_member(archive: zipfile.ZipFile, name: str, where: str) -> Iterator[Any]:
    try:
        with archive.open(name) as stream:
            yield stream
    except BROKEN_ZIP as error:
        raise ValueError(problem(where, "a readable member", f"'{error}'", AGAIN)) from error
