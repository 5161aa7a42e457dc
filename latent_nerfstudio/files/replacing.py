"""Files and folders that are written beside their final place and renamed, so that they are either whole or absent.

What a crash leaves unfinished has a name that nobody reads, and is removed by the next who writes into the same folder.
"""

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterator

from latent_nerfstudio.files.locks import held, try_lock

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file size that is used up."""

WRITING = ".writing-"
"""How names of what is being written begin; each is locked by who writes it."""


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A stream into a file that takes the place of `path` when the block ends without an error.

    The contents are on the disk before the name is. The folder is made if it is not there.

    Raises:
        OSError: there is no room, or the folder cannot be written to; nothing is left behind.
    """
    with writable(path.parent):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=WRITING)
    try:
        with room_for(path), held(Path(temporary)):
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o666 & ~umask())
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush(path.parent)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Says of a full disk what could not be written.

    Raises:
        OSError: the disk, a quota or a file size is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or "expected room" in str(error):
            raise
        text = f"{path}: expected room to write it, got '{error.strerror}'; nothing was left there, make room"
        raise OSError(error.errno, text) from error


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Makes a folder and clears it of what crashes have left, before the block makes something in it.

    Raises:
        OSError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        yield
    except OSError as error:
        text = f"{folder}: expected a folder that can be written to, got '{error.strerror}'; name another, or free it"
        raise OSError(error.errno, text) from error


def write_text(path: Path, text: str) -> None:
    """Writes a file by `replacing_file`."""
    with replacing_file(path) as stream:
        stream.write(text.encode())


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """An empty folder within another, which is removed when the block ends, unless it was renamed."""
    with writable(parent):
        writing = Path(tempfile.mkdtemp(dir=parent, prefix=WRITING))
    with held(writing):
        try:
            yield writing
        finally:
            shutil.rmtree(writing, ignore_errors=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when the block ends without an error.

    An old one is renamed away before and removed after that; a crash between the two renames leaves it where
    `standing` finds it.

    Raises:
        OSError: the folder cannot be written to, or somebody else replaces it at this moment.
    """
    with unfinished_folder(folder.parent) as writing:
        settle(folder)
        with room_for(folder):
            yield writing
        writing.chmod(0o777 & ~umask())
        flush_tree(writing)
        previous = moved_away(folder)
        if folder.exists():
            os.replace(folder, previous)
            flush(folder.parent)
        try:
            os.replace(writing, folder)
        except OSError:
            if previous.exists() and not folder.exists():
                os.replace(previous, folder)
            raise
        flush(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def moved_away(folder: Path) -> Path:
    """Where a folder is while another takes its place."""
    return folder.with_name(f".{folder.name}.previous")


def standing(folder: Path) -> Path:
    """A folder, or where it was moved to if a crash, or this moment, is between the two renames."""
    return moved_away(folder) if not folder.exists() and moved_away(folder).exists() else folder


def settle(folder: Path) -> None:
    """Gives a folder its name back that was moved away and not replaced; removes one that was."""
    previous = moved_away(folder)
    if previous.exists() and not folder.exists():
        os.replace(previous, folder)
    shutil.rmtree(previous, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Removes what crashes have left in a folder: what is being written, and locked by nobody."""
    for path in folder.glob(f"{WRITING}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                if try_lock(handle):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


def flush_tree(folder: Path) -> None:
    """Has the contents of a folder written to the disk, so that no rename can overtake them."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
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


def umask() -> int:
    """The process's umask, which can only be read by setting it; temporary files and folders ignore it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
