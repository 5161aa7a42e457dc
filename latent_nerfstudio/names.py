"""Names of scenes, which become names of files on every system. Imports only how errors are worded."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from latent_nerfstudio.errors import problem

MAX_NAME = 200
"""Bytes of a name at most: file systems take 255, and suffixes are added."""

FORBIDDEN = '/\\:*?"<>|'
"""Separators of paths and of drives, and what Windows keeps for patterns and streams."""

DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
"""Names that Windows takes for devices, whatever follows behind a dot."""


def check_name(name: Any) -> None:
    """Refuses what cannot be the name of a file or folder on every system.

    Args:
        name: of a scene. A dot in front would hide its folder; Windows drops dots and blanks at the end.

    Raises:
        ValueError: path separators, control characters, a drive (`C:x`), a device (`CON`), a pattern (`x*`), a dot or
            a blank at an end, or more than 200 bytes.
    """
    plain = isinstance(name, str) and name.isprintable() and name == name.strip() and name == name.strip(".")
    if not plain or set(FORBIDDEN) & set(name) or not 0 < len(name.encode()) <= MAX_NAME:
        expected = f"1 to {MAX_NAME} bytes of printable characters, none of {FORBIDDEN} and no dot or blank at an end"
        got = repr(name[:40]) if isinstance(name, str) else type(name).__name__
        raise ValueError(problem("scene name", expected, got, "rename the scene"))
    if name.split(".")[0].rstrip().lower() in DEVICES:
        raise ValueError(problem("scene name", "a name that is no device of Windows", repr(name), "rename the scene"))


def name_key(name: str) -> str:
    """What names are compared by: some file systems take Car and car, and a letter and its composition, for one."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def take_name(name: str, taken: dict[str, str], where: object, do: str = "rename one of them") -> None:
    """Adds a name to those that are taken.

    Args:
        name: of a scene.
        taken: names so far, by `name_key`; changed.
        where: what holds them, for the message.
        do: what the message advises.

    Raises:
        ValueError: some file systems take the name for one that is taken.
    """
    key = name_key(name)
    if key in taken:
        got = f"{name!r} twice" if taken[key] == name else f"{taken[key]!r} and {name!r}, one name to some file systems"
        raise ValueError(problem(where, "each scene once", got, do))
    taken[key] = name


def check_names(names: Iterable[str], where: object) -> None:
    """Refuses names that are no files' (`check_name`), and two that some file systems take for one.

    Raises:
        ValueError: such a name.
    """
    taken: dict[str, str] = {}
    for name in names:
        try:
            check_name(name)
        except ValueError as error:
            raise ValueError(f"{where}, {error}") from error
        take_name(name, taken, where)
