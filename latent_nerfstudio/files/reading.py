"""Files from strangers, opened only where they are files: a pipe hangs, and /dev/zero never ends."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Union

from latent_nerfstudio.errors import problem

LARGEST_TEXT = 256 << 20
"""Bytes of a text file at most; a camera file of half a million frames."""

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class UnusualFile(ValueError):
    """What is no regular file, worded."""


def open_file(path: Union[Path, str]) -> BinaryIO:
    """Opens a regular file for reading, without buffering; links are followed.

    Raises:
        FileNotFoundError: no such file.
        UnusualFile: a folder, pipe, socket or device.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes into it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        got = KINDS.get(stat.S_IFMT(mode), "a device")
        raise UnusualFile(problem(path, "a regular file", got, "put the file itself there"))
    return os.fdopen(handle, "rb", buffering=0)


def read_text(path: Union[Path, str], limit: int = LARGEST_TEXT) -> str:
    """Reads a text file in UTF-8, with or without a byte-order mark.

    Args:
        path: the file.
        limit: bytes at most.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no regular file, one of more bytes, or not UTF-8.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else b""
    if max(size, len(content)) > limit:
        raise ValueError(problem(path, f"a text of at most {limit:,} bytes", f"{size:,}", "make it shorter"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(problem(path, "UTF-8 text", f"'{error}'", "save the file as UTF-8")) from error
