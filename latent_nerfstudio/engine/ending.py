"""What a run leaves beside its last checkpoint, and what of it is missing where the process was killed before that."""

from pathlib import Path
from typing import Collection, Optional, Set

from latent_nerfstudio.engine.runs import read_summary
from latent_nerfstudio.models.bundle_folder import FOLDER
from latent_nerfstudio.models.shared_bundle import read_shared_bundle

SUMMARY = "training.json"
"""Written last: where it is there, the rest is of the same step."""

SHEET = "contact_sheet.png"
BUNDLE = FOLDER


def missing(folder: Path, steps: int, wanted: Collection[str]) -> Set[str]:
    """What is not there, or is damaged, or was left by a shorter run.

    Args:
        folder: of the run.
        steps: that the run has made.
        wanted: what is asked for, of `SUMMARY`, `SHEET` and `BUNDLE`.
    """
    is_summed_up = steps_of_summary(folder) == steps
    is_there = {
        SUMMARY: is_summed_up,
        SHEET: is_summed_up and (folder / SHEET).is_file(),
        BUNDLE: BUNDLE not in wanted or steps_of_bundle(folder) == steps,
    }
    return {name for name in wanted if not is_there[name]}


def steps_of_summary(folder: Path) -> Optional[int]:
    """Steps of the run that a folder's summary is of; None where it has none."""
    try:
        return read_summary(folder / SUMMARY).get("steps")
    except (OSError, ValueError):
        return None


def steps_of_bundle(folder: Path) -> Optional[int]:
    """Steps of the run that a folder's shared bundle is of; None where it has none."""
    try:
        return read_shared_bundle(str(folder.resolve())).step + 1
    except (OSError, ValueError):
        return None
