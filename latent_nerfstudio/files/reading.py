"""Files from strangers: regular ones of a bounded size, and JSON that nothing breaks on. A name may lead to a pipe, a
device, or a file that is mostly a hole; JSON may nest for ever, or hold a number that no float takes."""

import json
import math
import os
import stat
import struct
import zipfile
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Union
from zipfile import ZipFile

from latent_nerfstudio.errors import problem

LARGEST_TEXT = 256 << 20
"""Bytes of a text file at most; a camera file of half a million frames."""

MOST_JSON = 1 << 22
"""Bytes of a JSON file at most."""

MOST_DIRECTORY = 1 << 24
"""Bytes of a zip's directory at most: a hundred thousand members."""

MOST_VALUES = 1 << 24
"""Values, lists and objects in JSON at most, whatever its bytes: each takes some tens of bytes of memory."""

MOST_DIGITS = 20
"""Digits of a whole number in JSON at most: all of 64 bits."""

AGAIN = "copy the file again"

BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError)
"""What reading a damaged zip archive raises, but for ValueError."""

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class UnusualFile(ValueError):
    """What is no regular file, worded."""


def open_file(path: Union[Path, str]) -> BinaryIO:
    """Opens a regular file for reading, without buffering; links are followed."""
    # Without O_NONBLOCK, opening a pipe waits until somebody writes into it.
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, ValueError):  # ValueError: a name that no file can have
        raise FileNotFoundError(problem(path, "a file", "nothing there", "check the path")) from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        got = KINDS.get(stat.S_IFMT(mode), "a device")
        raise UnusualFile(problem(path, "a regular file", got, "put the file itself there"))
    return os.fdopen(handle, "rb", buffering=0)


def open_plain(path: Path, most: Union[int, float] = math.inf) -> BufferedReader:
    """Opens a regular file, or a link to one, that has so many bytes at most, and, if it is larger than any text, half
    of them or more on the disk: some file systems pack texts."""
    try:
        raw: Any = open_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(problem(path, "a file that can be read", f"'{error.strerror}'", "name another")) from error
    status = os.fstat(raw.fileno())
    size, held = status.st_size, 512 * getattr(status, "st_blocks", 0)  # 0 where the file system does not say
    if size > most or (size > LARGEST_TEXT and 0 < held < size // 2):
        raw.close()
        expected = f"{most:,} bytes at most" if size > most else f"a file without holes, {size:,} bytes on the disk"
        raise ValueError(problem(path, expected, f"{size if size > most else held:,}", "name another"))
    return BufferedReader(raw)


def read_bytes(path: Path, most: Union[int, float] = math.inf) -> bytes:
    """What a file holds, see `open_plain`."""
    with open_plain(path, most) as stream:
        return stream.read()


def read_text(path: Path, most: int = LARGEST_TEXT) -> str:
    """Reads a text file in UTF-8, with or without a byte-order mark, of so many bytes at most."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(problem(path, "UTF-8 text", f"'{error}'", "save the file as UTF-8")) from error


def parse_json(data: Union[bytes, str], where: object, do: str = AGAIN, strict: bool = True) -> Dict[str, Any]:
    """A JSON object of `MOST_VALUES` values at most, in which names occur once each and numbers are finite, whole ones
    of 20 digits at most; not strictly, as Python reads it."""
    marks = (",", "[", "{")
    count = sum(data.count(mark) if isinstance(data, str) else data.count(mark.encode()) for mark in marks)
    if count > MOST_VALUES:
        raise ValueError(problem(where, f"JSON of at most {MOST_VALUES:,} values", f"{count:,}", do))
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text, **STRICT) if strict else json.loads(text)
    except (ValueError, RecursionError) as error:
        got = "brackets without end" if isinstance(error, RecursionError) else f"'{str(error)[:200]}'"
        raise ValueError(problem(where, "JSON with finite numbers" if strict else "JSON", got, do)) from error
    if not isinstance(value, dict):
        raise ValueError(problem(where, "a JSON object", type(value).__name__, do))
    return value


def names_once(pairs: list) -> Dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name that occurs twice")
    return dict(pairs)


def whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def finite_number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError("NaN or infinity")
    return value


STRICT: Dict[str, Any] = {"object_pairs_hook": names_once, "parse_int": whole_number}
STRICT |= dict.fromkeys(("parse_float", "parse_constant"), finite_number)
"""How JSON is read that is no camera file of others, nor holds measurements, among which may be NaN."""


def read_json(path: Path, do: str = AGAIN, most: int = MOST_JSON, strict: bool = True) -> Dict[str, Any]:
    """The JSON object in a file in UTF-8, with or without a byte-order mark; see `parse_json`."""
    return parse_json(read_text(path, most), path, do, strict)


def check_format(said: Mapping[str, Any], wanted: str, where: object) -> None:
    """Refuses what says to be of another format than this package writes."""
    if (got := said.get("format")) != wanted:
        raise ValueError(problem(where, f"the format {wanted}", f"{got!r:.40}", "update this package"))


def read_rows(path: Path, do: str = AGAIN) -> List[Dict[str, Any]]:
    """The JSON objects in the lines of a file of 64 MiB at most, NaN and infinity among them, without empty lines."""
    lines = enumerate(read_text(path, 1 << 26).splitlines(), 1)
    return [parse_json(line, f"{path}, line {number}", do, strict=False) for number, line in lines if line.strip()]


def check_header(path: Path, most: Union[int, float] = math.inf) -> None:
    """Refuses what is no plain file, and a safetensors file with more of a header than any that is meant to be read:
    the library itself parses up to 100 MB of JSON. Other files are left for the library to refuse."""
    with open_plain(path, most) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if MOST_JSON < length <= os.fstat(stream.fileno()).st_size:
            expected = f"a safetensors file with a header of {MOST_JSON:,} bytes at most"
            raise ValueError(problem(path, expected, f"{length:,}", "name another"))


def zip_in(stream: BinaryIO, most: Callable[[int], int] = lambda size: MOST_DIRECTORY) -> ZipFile:
    """A zip in a stream, whose directory has no more bytes than `most` says by those of the zip: it is read as a whole,
    and takes some ten times its bytes of memory. Raises ValueError, or any of `BROKEN_ZIP`."""
    size = stream.seek(0, os.SEEK_END)
    end: Any = zipfile._EndRecData(stream)  # type: ignore[attr-defined]  # bytes of the directory are its entry 5
    if end and end[5] > most(size):
        raise ValueError(f"a directory of {end[5]:,} in {size:,} bytes")
    return ZipFile(stream)
