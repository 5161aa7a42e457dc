"""What lies beside a run that has ended: training.json, seconds, steps and sizes; and what ns-eval wrote."""

from pathlib import Path
from typing import Any, Dict, Mapping

from latent_nerfstudio.engine.checkpoints import NAME, checkpoints_of
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_json

SUMMARY = "training.json"
"""Written last: where it is there, the rest of the run is of the same step."""

SHEET = "contact_sheet.png"
"""The contact sheet beside it."""

MOST_BYTES = 1 << 26
"""Bytes of either file at most; they have some hundreds for each scene."""

NUMBERS = ("steps", "seconds", "seconds_per_scene", "entry_seconds", "bytes_per_scene", "bytes_shared")
"""Entries that are counted with."""


def read_summary(path: Path) -> Dict[str, Any]:
    do = "remove it, or restore the one that training wrote"
    summary = read_json(path, do, MOST_BYTES)
    names = summary.get("scenes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(problem(path, "names as its scenes", "another", do))
    for name in NUMBERS:
        if not isinstance(summary.get(name, 0), (int, float)):
            raise ValueError(problem(f"{path}, {name}", "a number", f"{summary[name]!r:.60}", do))
    return summary


def is_outdated(evaluation: Mapping[str, Any], checkpoints: Path) -> bool:
    """Whether what ns-eval wrote names another step than that of the newest checkpoint in a folder, if there are any:
    a run may have gone on since. Of the checkpoint's path only the name counts, as runs may be moved."""
    named = Path(str(evaluation.get("checkpoint"))).name
    newest = next((path.name for path in checkpoints_of(checkpoints).values()), named)
    return NAME.fullmatch(named) is not None and named != newest


def read_results(path: Path, checkpoints: Path) -> Dict[str, float]:
    """The metrics in a file of ns-eval, some of which may be NaN: deviations of a single view. Refuses other files, and
    those of another step than that of the newest checkpoint."""
    do = "run ns-eval again"
    content = read_json(path, do, MOST_BYTES, strict=False)
    if is_outdated(content, checkpoints):
        raise ValueError(problem(path, f"the newest step of {checkpoints}", Path(content["checkpoint"]).name, do))
    results = content.get("results")
    if not isinstance(results, dict) or not all(type(value) in (int, float) for value in results.values()):
        raise ValueError(problem(path, "what ns-eval wrote, with numbers as 'results'", "another", do))
    return {name: float(value) for name, value in results.items()}
