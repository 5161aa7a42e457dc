"""Files and folders that are written beside their final place and renamed, so that they are either whole or absent."""

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator

from latent_nerfstudio.models.bundle_folder import flush

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file size that is used up."""


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A stream into a file that takes the place of `path` when the block ends without an error.

    The contents are on the disk before the name is. The folder is made if it is not there.

    Raises:
        OSError: there is no room, or the folder cannot be written to; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            text = f"{path}: expected room to write it, got '{error.strerror}'; nothing was left there, make room"
            raise OSError(error.errno, text) from error
        raise
    flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a file by `replacing_file`."""
    with replacing_file(path) as stream:
        stream.write(text.encode())


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when the block ends without an error; an old one is removed
    after that."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    writing = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    old = writing.with_name(writing.name.replace("writing", "previous"))
    try:
        yield writing
        writing.chmod(0o777 & ~umask())
        if folder.exists():
            os.replace(folder, old)
        os.replace(writing, folder)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def umask() -> int:
    """The process's umask, which can only be read by setting it; temporary files and folders ignore it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
