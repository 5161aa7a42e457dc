"""training.json: seconds, steps and sizes of a run that has ended."""

from pathlib import Path
from typing import Any, Dict

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_json

SUMMARY = "training.json"
"""Written last: where it is there, the rest of the run is of the same step."""

MOST_BYTES = 1 << 26
"""Bytes of it at most; it has a few for each scene."""

NUMBERS = ("steps", "seconds", "seconds_per_scene", "entry_seconds", "bytes_per_scene", "bytes_shared")
"""Entries that are counted with."""


def read_summary(path: Path) -> Dict[str, Any]:
    """What training.json holds.

    Raises:
        ValueError: something else.
    """
    do = "remove it, or restore the one that training wrote"
    summary = read_json(path, do, MOST_BYTES)
    names = summary.get("scenes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(problem(path, "names as its scenes", "another", do))
    for name in NUMBERS:
        if not isinstance(summary.get(name, 0), (int, float)):
            raise ValueError(problem(f"{path}, {name}", "a number", f"{summary[name]!r:.60}", do))
    return summary
