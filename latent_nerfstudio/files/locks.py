"""Locks of files and folders, which the system takes back from a process that ends, however it ends.

They are advisory (flock), and hold between machines where the file system passes them on, as NFS does. Where there are
none, everything goes on as without: two writers then are two writers.
"""

import os
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Dict, Iterator, Optional

LOCK = ".lock"
"""Name of the lock of a folder, within it."""

_ours: Dict[Path, int] = {}
"""Locks of this process, which may take one again, and how often it has."""

_guard = threading.Lock()


def try_lock(handle: int) -> Optional[bool]:
    """Locks an open file or folder until it is closed.

    Returns:
        Whether it is locked now; False where somebody else has it, None where there are no locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock while the block lasts; this process may take it again meanwhile.

    The file says who has it, and goes with the lock; one that a crash has left means nothing.

    Args:
        path: of the lock's file, whose folder is made if it is not there.
        what: is locked, for the message.

    Raises:
        BlockingIOError: somebody else has it.
        OSError: the folder cannot be written to.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _guard:
        handle = None if _ours.get(path, 0) else _opened(path, what)
        _ours[path] = _ours.get(path, 0) + 1
    try:
        yield
    finally:
        with _guard:
            _ours[path] -= 1
            if not _ours[path]:
                del _ours[path]
            if handle is not None:
                with suppress(OSError):
                    path.unlink()
                os.close(handle)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds a lock of a file or folder of our own while the block lasts; others see by it that somebody is at work."""
    if os.name != "posix":  # where nothing that is open can be renamed
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try_lock(handle)
        yield
    finally:
        os.close(handle)


def _opened(path: Path, what: str) -> int:
    """The lock's file, locked, with our name in it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    is_locked = try_lock(handle)
    if is_locked and not is_file_of(path, handle):  # it was removed by who had it, between our opening and locking it
        os.close(handle)
        return _opened(path, what)
    if is_locked is False:
        owner = os.read(handle, 1000).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise BlockingIOError(
            f"{what}: expected to be the only one that writes there, got {owner} at work; wait until it has ended, or "
            "name another folder"
        )
    with suppress(OSError):  # a full disk: the lock holds without a name
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return handle


def is_file_of(path: Path, handle: int) -> bool:
    """Whether a path still names an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
