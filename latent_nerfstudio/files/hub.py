"""Hub ids beside folders: what a `source` flag names, as a folder of this machine.

A repository is a stranger's: of its files only the safetensors and JSON files that its kind is made of are taken, by
their names, and checked as those of folders are. The client keeps them in its cache, for times without a network.
"""

import glob
import logging
import re
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, Iterator, List, Literal, NoReturn, Optional, Sequence, Tuple

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import MOST_JSON

Kind = Literal["autoencoder", "bundle", "scenes"]

TIMEOUT = 10.0
"""Seconds that the Hub has to answer."""

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".msgpack", ".h5")
"""Endings of files that may run code when they are read, and others that hold weights in no form taken here."""

HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w][\w./-]*)?", re.ASCII)
"""OWNER/NAME, and a branch, tag or commit behind an @."""

PLACES: Dict[Kind, Tuple[str, ...]] = {
    "autoencoder": ("", "autoencoder", "vae", "shared_bundle/autoencoder"),
    "bundle": ("shared_bundle", ""),
    "scenes": ("",),
}
"""Folders of a repository in which a kind is looked for, in this order."""

WEIGHTS = r"diffusion_pytorch_model(\.fp16)?(-\d+-of-\d+)?\.safetensors(\.index(\.fp16)?\.json)?"
AUTOENCODER = rf"(config|latent_space)\.json|{WEIGHTS}"
BUNDLE = rf"bundle\.json|(shared|scene_encoder)\.safetensors|autoencoder/({AUTOENCODER})"
SCENE = r"scenes/[^/]+\.safetensors"

FILES: Dict[Kind, str] = {
    "autoencoder": AUTOENCODER,
    "bundle": BUNDLE,
    "scenes": rf"{SCENE}|config\.json|shared_bundle/({BUNDLE})",
}
"""The files of a kind within its folder, as a pattern."""

MARKS: Dict[Kind, str] = {"autoencoder": r"config\.json", "bundle": r"bundle\.json", "scenes": SCENE}
"""The files by which a folder is known to hold a kind, as a pattern."""

WORDS: Dict[Kind, str] = {
    "autoencoder": "an autoencoder in diffusers format (config.json and diffusion_pytorch_model.safetensors)",
    "bundle": "a shared bundle (bundle.json and shared.safetensors)",
    "scenes": "scene files (scenes/NAME.safetensors)",
}


def resolve(source: str, kind: Kind, subfolder: Optional[str] = None) -> Path:
    """The path of this machine that a source names: one that is there, or the folder in the client's cache of what a
    Hub id, OWNER/NAME or OWNER/NAME@REVISION, holds of a kind: that of config.json, of bundle.json, or around `scenes`.
    Raises FileNotFoundError for neither and for what the Hub does not have; PermissionError for a repository that asks
    first; ValueError where it holds no such thing, or pickle alone; ConnectionError where it is out of reach."""
    path = Path(source).expanduser()
    if path.exists():
        return path
    if not is_hub_id(source):
        got = f"{source!r}, which is neither"
        raise FileNotFoundError(problem(f"{kind} source", "a path or a Hub id (owner/name)", got, "check the path"))
    return fetch(source, kind, subfolder)


def kind_of(source: str) -> Kind:
    """What a Hub id names: scenes, which may lie beside their bundle, before a bundle before an autoencoder."""
    kinds: Tuple[Kind, ...] = ("scenes", "bundle")
    for kind in kinds:
        with suppress(ValueError):
            fetch(source, kind)
            return kind
    return "autoencoder"


def local(path: Path, kind: Kind) -> Path:
    """A path as it is, unless it is not there and can be a Hub id; then see `resolve`."""
    is_file_name = path.suffix in (".safetensors", ".zip")
    return path if path.exists() or is_file_name or not is_hub_id(path.as_posix()) else fetch(path.as_posix(), kind)


def copy_files(folder: Path, target: Path, names: str, copy: Callable[[Path, Path], Any] = shutil.copyfile) -> None:
    """Copies the files of these names, a pattern, by a function of file and copy; links must not lead out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and re.fullmatch(names, name):
            check_link(path, folder)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy(path, target / name)


def check_link(path: Path, folder: Path) -> None:
    """Refuses a file that lies elsewhere than its folder and the cache of the Hub's client around it."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).resolve()
    place, inside = path.resolve(), folder.resolve()
    homes = [inside, *([cache] if cache in inside.parents else [])]
    if not any(home in place.parents for home in homes):
        raise ValueError(problem(path, f"a file within {folder}", f"a link to {place}", "put the file itself there"))


def is_hub_id(source: str) -> bool:
    """Whether a text can be a Hub id: OWNER/NAME, with or without @REVISION."""
    return HUB_ID.fullmatch(source) is not None and ".." not in source


def fetch(source: str, kind: Kind, subfolder: Optional[str] = None) -> Path:
    """Downloads what a Hub id names, as far as it is not in the client's cache, see `resolve`."""
    from huggingface_hub import constants, snapshot_download

    where = f"{kind} source {source!r}"
    repository, _, tag = source.partition("@")
    revision = tag or None
    try:
        files = list_files(repository, revision, where)
        place, wanted = choose(kind, files, subfolder, where)
        patterns = [glob.escape(name) for name in wanted]
        with bars_on_terminals_alone():
            folder = snapshot_download(repository, revision=revision, allow_patterns=patterns, etag_timeout=TIMEOUT)
        return Path(folder) / place
    except ValueError:
        raise
    except Exception as error:  # the client's errors, and those of what it talks HTTP with, differ by version
        folder = cached_folder(repository, revision)
        if folder is None:
            refuse(error, where)
        if not constants.HF_HUB_OFFLINE:
            logging.getLogger(__name__).warning("%s: %s; the cached copy is taken", where, first_line(error))
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return folder / choose(kind, files, subfolder, f"{where}, as cached without network in {folder}")[0]


def list_files(repository: str, revision: Optional[str], where: str) -> List[str]:
    """The names of a repository's files, none of which leads out; JSON files are no larger than any that is read."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repository, revision=revision, timeout=TIMEOUT, files_metadata=True)
    siblings = info.siblings or []
    for file in siblings:
        name = file.rfilename
        if "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(problem(where, "files within the repository", repr(name), "do not trust this repository"))
        if name.endswith(".json") and (file.size or 0) > MOST_JSON:
            raise ValueError(problem(f"{where}, {name}", f"{MOST_JSON} bytes at most", file.size, "name another"))
    return [file.rfilename for file in siblings]


def choose(kind: Kind, files: Sequence[str], subfolder: Optional[str], where: str) -> Tuple[str, List[str]]:
    """Where in a repository a kind is, in a subfolder or in the usual folders, and the names of its files."""
    pickled: List[str] = []
    for place in PLACES[kind] if subfolder is None else (subfolder.strip("/"),):
        prefix = f"{place}/" if place else ""
        inside = [name[len(prefix) :] for name in files if name.startswith(prefix)]
        taken = [name for name in inside if re.fullmatch(FILES[kind], name)]
        is_marked = any(re.fullmatch(MARKS[kind], name) for name in taken)
        whole = [name for name in taken if ".fp16" not in name]
        taken = whole if any(name.endswith(".safetensors") for name in whole) else taken
        if is_marked and any(name.endswith(".safetensors") for name in taken):
            return place, [prefix + name for name in taken]
        pickled += [prefix + name for name in inside if "/" not in name and name.endswith(PICKLED)]
    if pickled:
        got = f"{pickled[0]}, which may run code when it is read"
        raise ValueError(problem(where, f"{WORDS[kind]}", got, "ask its owner for safetensors"))
    got = ", ".join(sorted(files)[:5]) or "no file at all"
    do = "name its subfolder, or another repository" if kind == "autoencoder" else "name another repository"
    raise ValueError(problem(where, WORDS[kind], got, do))


@contextmanager
def bars_on_terminals_alone() -> Iterator[None]:
    """Has the client draw its bars where somebody watches."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hushed = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if hushed:
        disable_progress_bars()
    try:
        yield
    finally:
        if hushed:
            enable_progress_bars()


def cached_folder(repository: str, revision: Optional[str]) -> Optional[Path]:
    """The client's cached copy of a revision, whole or not; None if there is none."""
    from huggingface_hub import snapshot_download

    try:
        # No file is asked for: newer clients refuse a copy that lacks what is asked for, older ones do not look.
        return Path(snapshot_download(repository, revision=revision, local_files_only=True, allow_patterns=[]))
    except Exception:  # see `fetch`
        return None


def refuse(error: Exception, where: str) -> NoReturn:
    from huggingface_hub.utils import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    reason = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, GatedRepoError):
        do = "accept its terms on its page and call 'hf auth login'"
        raise PermissionError(problem(where, "a Hub repository open to you", f"one that asks first ({reason})", do))
    if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)):
        expected, do = "a branch, tag or commit behind the @", "check its name"
        if isinstance(error, RepositoryNotFoundError):
            expected, do = "a folder, or a Hub id that exists", "check the name; for a private one call 'hf auth login'"
        raise FileNotFoundError(problem(where, expected, f"none ({reason})", do)) from error
    expected = "a folder, or a Hub id that is cached or within reach"
    do = "check the path, or download it where there is a network and pass the folder"
    raise ConnectionError(problem(where, expected, reason, do)) from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
