"""Files and folders that are written beside their final place and renamed, so that they are either whole or absent.

What a crash leaves unfinished has a name that nobody reads, and is removed by whoever next holds the lock: of a folder
(`sole_writer`), or of a name in it (`replacing_folder`); where many write without a lock, once it is old.
"""

import errno
import os
import re
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterator, Optional, TextIO

from latent_nerfstudio.errors import in_words, is_worded, problem
from latent_nerfstudio.files.locks import LOCK, locked, writable

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file size that is used up."""

WRITING = ".writing-"
"""How names of what is being written begin."""

OLD = 7 * 86400.0
"""Seconds after which what is being written counts as left behind, where no lock tells."""


@contextmanager
def sole_writer(folder: Path, *inside: str) -> Iterator[None]:
    """Holds the lock of a folder while the block lasts, and first removes what crashes have left in it and `inside`."""
    with locked(folder / LOCK, str(folder)):
        remove_unfinished(folder, *(folder / name for name in inside))
        yield


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A stream into a file that takes the place of another when the block ends without an error: `replacing_path`."""
    with replacing_path(path) as temporary, temporary.open("wb") as stream:
        yield stream


@contextmanager
def replacing_path(path: Path, suffix: str = "") -> Iterator[Path]:
    """An empty file, with a suffix where a program goes by it, that takes the place of `path`, also of a link there,
    when the block ends without an error; else nothing is left behind. The contents are on the disk before the name."""
    temporary = path.with_name(f"{WRITING}{secrets.token_hex(8)}{suffix}")
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    try:
        with room_for(path):
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> int:
    """Writes a file by `replacing_file`, and returns the number of its bytes."""
    with replacing_file(path) as stream:
        return stream.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


@contextmanager
def appending(path: Path) -> Iterator[TextIO]:
    """A stream at the end of a text file, which is made if it is not there; links and pipes are not followed."""
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise in_words(error, path, "a file that can be added to", f"'{error.strerror}'", "move it away") from error
    with open(handle, "a", encoding="utf-8") as stream:
        yield stream


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """An empty folder within another, which is removed when the block ends."""
    writing = parent / f"{WRITING}{secrets.token_hex(8)}"
    with writable(parent):
        writing.mkdir(parents=True)
    try:
        yield writing
    finally:
        shutil.rmtree(writing, ignore_errors=True)


@contextmanager
def replacing_folder(folder: Path, names: Optional[str] = None) -> Iterator[Path]:
    """An empty folder that takes the place of `folder`, or of what a link there leads to, when the block ends without
    an error. An old one is renamed away before; a crash between the two renames leaves it where `standing` finds it.
    Only files whose paths within the folder match the pattern `names` are replaced, None for any."""
    folder = Path(os.path.realpath(folder))
    writing = beside(folder, "writing")
    with locked(beside(folder, "lock"), folder):
        settle(folder)
        check_replaceable(folder, names)
        remove(writing)
        writing.mkdir()
        try:
            with room_for(folder):
                yield writing
                for path in (*writing.rglob("*"), writing):  # so that no rename can overtake the contents
                    if not path.is_symlink():
                        flush(path)
            check_replaceable(folder, names)
            put_in_place(writing, folder)
        finally:
            shutil.rmtree(writing, ignore_errors=True)


def check_replaceable(folder: Path, names: Optional[str]) -> None:
    """Refuses to replace anything but an empty folder, or one of files with known names, see `replacing_folder`."""
    do = "move it away, or name another folder"
    if os.path.lexists(folder) and not folder.is_dir():
        raise FileExistsError(problem(folder, "a folder or nothing", "something else", do))
    for path in folder.rglob("*") if names is not None else ():
        name = path.relative_to(folder).as_posix()
        if (path.is_symlink() or not path.is_dir()) and not re.fullmatch(names or "", name):
            raise FileExistsError(problem(folder, "nothing there, or what was written there before", name, do))


def put_in_place(writing: Path, folder: Path) -> None:
    """Renames a whole folder to its final name, and removes what had it, or gives it back where that fails."""
    try:
        if folder.exists():
            os.replace(folder, beside(folder, "previous"))
        os.replace(writing, folder)
        flush(folder.parent)
    finally:
        settle(folder)


def beside(folder: Path, what: str) -> Path:
    """A hidden name beside a folder: `lock`, `writing`, or `previous`, where it is while another takes its place."""
    return folder.with_name(f".{folder.name}.{what}")


def standing(folder: Path) -> Path:
    """A folder, or where it was moved to if a crash, or this moment, is between the two renames."""
    if folder.exists():  # the present folder has no name to put another beside
        return folder
    previous = beside(folder, "previous")
    return previous if previous.exists() else folder


def settle(folder: Path) -> None:
    """Gives a folder its name back that was moved away and not replaced; removes one that was."""
    previous = beside(folder, "previous")
    if previous.exists() and not folder.exists():
        os.replace(previous, folder)
    remove(previous)


def remove_unfinished(*folders: Path, age: float = 0.0) -> None:
    """Removes what is being written in folders whose lock is held, or what has not changed there for `age` seconds."""
    oldest = time.time() - age
    for path in (path for folder in folders for path in folder.glob(f"{WRITING}*")):
        with suppress(OSError):
            if not age or path.lstat().st_mtime <= oldest:
                remove(path)


def remove_left_behind(parent: Path) -> None:
    """Removes what killed writers, not living ones, have left around their folders; old ones get their names back."""
    for path in [*parent.glob(".*.writing"), *parent.glob(".*.previous"), *parent.glob(".*.lock")]:
        folder = parent / path.name[1:].rpartition(".")[0]
        with suppress(BlockingIOError), locked(beside(folder, "lock"), folder):
            settle(folder)
            remove(beside(folder, "writing"))


def remove(path: Path) -> None:
    """Removes a file, link or folder, if it is there; nothing that a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Says of a full disk what could not be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or "expected room" in str(error):
            raise
        got, do = f"'{error.strerror}'", "nothing was left there, make room"
        raise in_words(error, path, "room to write it", got, do) from error


def full_disk(error: BaseException) -> str:
    """A line about an error of a full disk that has no words yet; empty for other errors."""
    if not isinstance(error, OSError) or error.errno not in NO_ROOM or is_worded(error):
        return ""
    return problem(error.filename or "the disk", "room, in bytes and in files", f"'{error.strerror}'", "make room")


def flush(path: Path) -> None:
    """Has a file or the names in a folder written to the disk; Windows opens no folders."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
