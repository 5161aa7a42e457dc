"""What a run leaves beside its last checkpoint, and what of it is missing where the process was killed before that."""

from pathlib import Path
from typing import Any, Callable, Collection, Dict, Optional, Set

from latent_nerfstudio.engine.summary import SHEET, SUMMARY, read_summary
from latent_nerfstudio.models.bundle_folder import FOLDER as BUNDLE
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline


def missing(folder: Path, steps: int, wanted: Collection[str]) -> Set[str]:
    """What of `wanted` (`SUMMARY`, `SHEET`, `BUNDLE`) is not there, damaged, or of a run of other steps."""
    is_summed_up = known(lambda: read_summary(folder / SUMMARY)["steps"]) == steps
    of_bundle = known(lambda: read_shared_bundle(str(folder.resolve())).step + 1) if BUNDLE in wanted else None
    is_there = {SUMMARY: is_summed_up, SHEET: is_summed_up and (folder / SHEET).is_file(), BUNDLE: of_bundle == steps}
    return {name for name in wanted if not is_there[name]}


def known(steps: Callable[[], int]) -> Optional[int]:
    """Steps that a file of a run says; None where it says none."""
    try:
        return steps()
    except (OSError, ValueError, KeyError):
        return None


def summary_of(pipeline: LatentPipeline, method: str, steps: int, seconds: float) -> Dict[str, Any]:
    """Seconds, steps and sizes of a run, and the steps at which scenes `failed`, if any did."""
    model, failed = pipeline.latent_model, pipeline.watch.failed()
    return {
        "method": method,
        "steps": steps,
        "alignment_start": pipeline.second_stage_start,
        "seconds": round(seconds, 2),
        "scenes": model.scene_names,
        "seconds_per_scene": round(seconds / len(model.scene_names), 2),
        "entry_seconds": entry_seconds(pipeline),
        "bytes_per_scene": model.scene_bytes(),
        "bytes_shared": model.shared_bytes(),
        "device": str(pipeline.device),
        **({"failed": failed} if failed else {}),
    }


def entry_seconds(pipeline: LatentPipeline) -> float:
    """Seconds of training in the shared bundle that a run started from, where the bundle says so."""
    return float(pipeline.latent_model.bundle_facts.get("seconds", 0.0))
