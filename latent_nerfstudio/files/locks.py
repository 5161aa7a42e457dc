"""Locks of `filelock`, one writer at a time, until it ends, however it ends: the system's own where it has some,
between machines too where the file system passes them on, as NFS does, and else a file with the owner's name."""

import os
import socket
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from filelock import FileLock, Timeout

from latent_nerfstudio.errors import in_words, problem

LOCK = ".lock"
"""Name of the lock of a folder, within it."""


@contextmanager
def locked(path: Path, what: object) -> Iterator[None]:
    """Holds a lock, whose file says who has it, while the block lasts; the same thread may take it again meanwhile. Of
    folders that are made for it, those into which nothing was written are removed."""
    with writable(path.parent):
        made = [place for place in path.parents if not place.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
    path = path.parent.resolve() / path.name
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise FileExistsError(problem(path, "a lock, which is a plain file", "a link, folder or device", "remove it"))
    lock = FileLock(path, timeout=0, is_singleton=True)  # which counts how often a thread has taken it
    try:
        with writable(path.parent):
            lock.acquire()
    except Timeout:
        got, do = f"{_owner(path) or 'another process'} at work", "wait until it has ended, or name another folder"
        raise BlockingIOError(problem(what, "to be the only one that writes there", got, do)) from None
    try:
        if (_owner(path) or "process").startswith("process"):  # else `filelock` itself knows the owner by the file
            with suppress(OSError):  # a full disk: the lock holds without a name
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)  # others that wait for it see that it is gone, and make their own
        lock.release()
        with suppress(OSError):
            for place in made:
                place.rmdir()


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Says of a folder in which the block cannot make something that it cannot."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        expected, got = "a folder that can be written to", f"'{error.strerror}'"
        raise in_words(error, folder, expected, got, "name another, or free it") from error


def _owner(path: Path) -> str:
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(200).strip()
    return ""
