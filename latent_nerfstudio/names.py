"""Names of scenes, which become names of files on every system. Imports only how errors are worded."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from latent_nerfstudio.errors import problem

MAX_NAME = 200
"""Bytes of a name at most: file systems take 255, and suffixes are added."""

FORBIDDEN = '/\\:*?"<>|'
"""Separators of paths and of drives, and what Windows keeps for patterns and streams."""

DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
"""Names that Windows takes for devices, whatever follows behind a dot."""


def check_name(name: Any) -> None:
    """Refuses what cannot be the name of a file or folder on every system: path separators, control characters, a drive
    (`C:x`), a device (`CON`), a pattern (`x*`), a dot or a blank at an end, or more than 200 bytes.

    A dot in front would hide its folder; Windows drops dots and blanks at the end."""
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
    """Adds a name to those that are taken by `name_key`, and refuses one that some file systems take for another."""
    key = name_key(name)
    if key in taken:
        got = f"{name!r} twice" if taken[key] == name else f"{taken[key]!r} and {name!r}, one name to some file systems"
        raise ValueError(problem(where, "each scene once", got, do))
    taken[key] = name


def check_names(names: Iterable[str], where: object) -> None:
    """Refuses names that are no files' (`check_name`), and two that some file systems take for one."""
    taken: dict[str, str] = {}
    for name in names:
        try:
            check_name(name)
        except ValueError as error:
            raise ValueError(f"{where}, {error}") from error
        take_name(name, taken, where)


def as_names(wanted: Any) -> tuple[Any, ...]:
    """Names as they are given in Python: one, or several."""
    if isinstance(wanted, str):
        return (wanted,)
    if not isinstance(wanted, Iterable):
        raise ValueError(problem("scenes", "a name, or names", f"a {type(wanted).__name__}", "give a list of names"))
    return tuple(wanted)


def chosen(wanted: Sequence[str], known: Sequence[str], where: object) -> list[str]:
    """The names that are wanted, all where none is, in the order of those that are there; refuses others."""
    check_known(wanted, known, where)
    return [name for name in known if not wanted or name in wanted]


def check_known(wanted: Iterable[str], known: Sequence[str], where: object) -> None:
    """Refuses names of scenes that are not there, and names those closest to the first of them."""
    there = set(known)
    for name in wanted:
        if not isinstance(name, str) or name not in there:
            near = ", ".join(difflib.get_close_matches(str(name), known, n=3, cutoff=0.3) or list(known)[:3])
            got = f"{name!r:.{MAX_NAME}}"
            raise ValueError(problem("scenes", f"scenes of {where}, such as {near}", got, "correct the name"))


def equal_parts(names: Sequence[str], count: int) -> list[Sequence[str]]:
    """Neighbours in so many parts, none larger than another by more than one."""
    bounds = [len(names) * index // count for index in range(count + 1)]
    return [names[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
