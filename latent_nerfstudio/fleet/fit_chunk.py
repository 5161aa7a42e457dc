"""Fits the scenes of one chunk against a shared bundle that stays as it is, in this process."""

import contextlib
import copy
import os
import socket
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.utils.rich_utils import CONSOLE

from latent_nerfstudio import __version__
from latent_nerfstudio.data.crops import is_plain
from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig, scene_indices
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, color_name
from latent_nerfstudio.engine.trainer import LatentTrainer, LatentTrainerConfig, begin_afresh
from latent_nerfstudio.errors import problem, reason_of
from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.files.replacing import NO_ROOM, appending, unfinished_folder
from latent_nerfstudio.fleet.examine import SceneFacts, examine
from latent_nerfstudio.fleet.plan import DOUBT, SOURCE, row_of, survey
from latent_nerfstudio.fleet.settings import EVAL_INTERVAL, ChunkJob, Inventory
from latent_nerfstudio.fleet.status import SceneStatus
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.names import equal_parts
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline
from latent_nerfstudio.pipelines.scene_watch import check_finite
from latent_nerfstudio.scene_files.model_scenes import ENLARGED, scene_files_of
from latent_nerfstudio.scene_files.scene_file import write_scene_file
from latent_nerfstudio.scene_files.views import view_facts

NEVER = 1_000_000_000
"""Interval of what a chunk does not do on its way."""

WHOLE_SHARE = 0.2
"""Share of the steps of RGB alignment, the last ones, that see whole pictures, as in the method's own schedule."""

LOOK = "look at its log in logs/"
"""What to do about an error that nobody has foreseen."""

OnProgress = Callable[[float], None]
"""Takes the share of a chunk that is done."""

Chunk = Dict[str, SceneFacts]
"""Scenes that are fitted together, by name."""


def fit_chunk(job: ChunkJob, on_progress: OnProgress = lambda share: None) -> List[SceneStatus]:
    """Fits scenes and writes their files; what is there already is left alone. A row for each scene, done or failed.

    Where they cannot be fitted together, they are fitted in halves, down to the one that fails alone: one scene never
    stops another, but for a disk that cannot be written to."""
    inventory = job.inventory
    bundle = read_shared_bundle(inventory.bundle)
    if not bundle.stands_for(inventory.bundle_hash):  # it may have changed on the disk since
        expected, do = f"the one with the hash {inventory.bundle_hash}", "restore it, or give another --output"
        raise ValueError(problem(f"shared bundle {bundle.folder}", expected, bundle.hash, do))
    # Many workers would print at once.
    with appending(job.log_path) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        done, _ = survey(inventory, bundle, job.names, {})
        left = [name for name in job.names if name not in done]
        chunk, reasons = examine(inventory, left, bundle)
        return [*done.values(), *failures(reasons), *fit_or_split(inventory, bundle, chunk, on_progress)]


def fit_or_split(
    inventory: Inventory, bundle: SharedBundle, chunk: Chunk, on_progress: OnProgress
) -> Iterator[SceneStatus]:
    """Rows of scenes that are fitted together, or, where that fails, in halves."""
    if not chunk:
        return
    started = time.monotonic()
    try:
        pipeline = train(inventory, bundle, chunk, on_progress)
    except Exception as error:  # of any kind: pictures, numbers, memory
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        CONSOLE.print_exception()
        reason = not_finite("its fit") if isinstance(error, FloatingPointError) else reason_of(error, "its fit", LOOK)
    else:
        yield from write_chunk(inventory, pipeline, chunk, time.monotonic() - started)
        return
    # Here the error is gone, and with it the memory that its frames held.
    if len(chunk) == 1:
        yield from failures(dict.fromkeys(chunk, reason))
        return
    for half in equal_parts(list(chunk), 2):
        yield from fit_or_split(inventory, bundle, {name: chunk[name] for name in half}, on_progress)


def failures(reasons: Dict[str, str]) -> List[SceneStatus]:
    return [SceneStatus(name, "failed", reason, worker=worker_name()) for name, reason in reasons.items()]


def not_finite(where: str) -> str:
    """Why a scene failed whose numbers are no longer finite; the trainer's own words are for runs with checkpoints."""
    return problem(where, "finite numbers", "NaN or infinity", "look at its cameras and pictures")


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class ChunkTrainer(LatentTrainer):
    """Keeps nothing on its way, as a chunk is fitted as a whole: a signal ends it at once."""

    obeys_signals = False
    placements: Mapping[str, Placement] = {}
    """Of scenes by name; others stay where they are."""

    def setup_optimizers(self) -> Optimizers:
        """Places the scenes first: what follows in `setup` draws their rays and fits their weights."""
        model = self.pipeline.model
        model.place([self.placements.get(name, Placement()) for name in model.scene_names])
        return super().setup_optimizers()

    def save_checkpoint(self, step: int) -> None:
        check_finite(dict(self.pipeline.named_parameters()), step, "parameter")


def train(inventory: Inventory, bundle: SharedBundle, chunk: Chunk, on_progress: OnProgress) -> LatentPipeline:
    """Trains scenes together, everything shared being frozen; they begin as `LatentPipeline.start` says."""
    begin_afresh(inventory.seed)  # so that a chunk does not depend on those before it
    with unfinished_folder(inventory.place) as folder:
        config = chunk_config(inventory, bundle, list(chunk), folder)
        trainer: ChunkTrainer = config.setup()
        trainer.placements = {name: scene.placement for name, scene in chunk.items()}
        trainer.setup()
        trainer.pipeline.datamanager.cached_eval  # noqa: B018  # what cannot be read fails before it costs anything

        def report(step: int) -> None:
            on_progress((step + 1) / config.max_num_iterations)

        trainer.callbacks.append(TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], report))
        if inventory.steps:
            trainer.train()
        else:  # scenes as they start: predicted, where the bundle has a scene encoder
            trainer.pipeline.prepare()
    return trainer.pipeline


def chunk_config(inventory: Inventory, bundle: SharedBundle, names: Sequence[str], folder: Path) -> LatentTrainerConfig:
    """The method's config for a chunk: every step sees all of its scenes, each with as many rays whatever its size."""
    config: Any = copy.deepcopy(inventory.method)
    config._target = ChunkTrainer
    config.output_dir, config.experiment_name, config.timestamp = folder, "chunk", "now"
    config.max_num_iterations = max(1, inventory.steps)
    config.steps_per_save = config.steps_per_eval_image = NEVER
    config.steps_per_eval_batch = config.steps_per_eval_all_images = NEVER
    config.contact_sheet, config.write_bundle, config.steps_per_pictures = False, False, None
    config.vis = "none"  # neither a viewer nor a logger, for which Nerfstudio has no word
    config.machine.seed = inventory.seed
    config.machine.device_type = inventory.device or ("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = config.pipeline
    # What is shared is frozen, the decoder as well.
    pipeline.train_decoder, pipeline.train_base_planes, pipeline.train_mlp = False, False, False
    steps, start = inventory.steps, inventory.rgb_alignment_start
    pipeline.rgb_alignment_start = start
    pipeline.whole_pictures_start = None if start is None else steps - round(WHOLE_SHARE * (steps - start))
    set_data(pipeline.datamanager, inventory, bundle, names)
    pipeline.model.shared_bundle, pipeline.model.autoencoder.enlarge = inventory.bundle, inventory.enlarge
    return config


def set_data(
    manager: LatentDataManagerConfig, inventory: Inventory, bundle: SharedBundle, names: Sequence[str]
) -> None:
    """Which scenes, in the bundle's box, and how much of each a step sees."""
    manager.data = None
    manager.dataparser = ScenesDataParserConfig(
        data=inventory.data,
        scenes=tuple(names),
        eval_interval=inventory.eval_interval or EVAL_INTERVAL,
        held_out_from=inventory.held_out_from,
        box=tuple(np.ravel(bundle.aabb).tolist()),
        alpha_color=color_name(bundle.background_color) or "white",  # the model encodes another itself
    )
    manager.latent_cache = inventory.latent_cache
    manager.scenes_per_batch = manager.images_per_batch = len(names)
    manager.rays_per_batch = inventory.rays_per_scene * len(names)


def write_chunk(inventory: Inventory, pipeline: LatentPipeline, chunk: Chunk, seconds: float) -> Iterator[SceneStatus]:
    """Measures the held-out views of each scene and writes its file at once; of the seconds each has an equal share."""
    failed = pipeline.watch.failed()
    for name in pipeline.model.scene_names:
        if name in failed:
            yield from failures({name: not_finite(f"step {failed[name]}")})
        else:
            yield write_scene(inventory, pipeline, name, chunk[name], seconds / len(chunk))


def write_scene(
    inventory: Inventory, pipeline: LatentPipeline, name: str, scene: SceneFacts, seconds: float
) -> SceneStatus:
    """Measures a scene, if it has held-out views, and writes its file; a failed row where it cannot."""
    started, index = time.monotonic(), pipeline.model.scene_names.index(name)
    try:
        is_empty = shows_nothing(pipeline, index, scene.is_measured)
        numbers = measure_scene(pipeline, index) if scene.is_measured and not is_empty else {}
        facts = {**numbers, "seconds": round(seconds + time.monotonic() - started, 3), SOURCE: scene.source}
        facts.update(fit_facts(inventory, pipeline, index))
        kind = "held-out photos" if scene.is_measured else "photos"
        empty = f"its {kind} are of one colour each, so that there is nothing to measure" if is_empty else ""
        doubts = list(filter(None, (scene.doubt, empty, pipeline.datamanager.doubts.get(name))))
        facts.update({DOUBT: "; ".join(doubts)} if doubts else {})
        (learned,) = scene_files_of(pipeline.model, inventory.bundle_hash, {name: facts}, [name])
        size = write_scene_file(inventory.scene_path(name), learned, inventory.precision)
    except (ValueError, RuntimeError) as error:
        return failures({name: reason_of(error, "its measurement", LOOK)})[0]
    return row_of(learned, size, worker_name(), scene.stamp)


def shows_nothing(pipeline: LatentPipeline, index: int, held_out: bool) -> bool:
    """Whether the photos of a scene, those that are held out or those of training, are of one colour each: what is
    rendered of nothing is right to the last bit, and says nothing of the others."""
    manager = pipeline.datamanager
    split = (manager.eval_dataset, manager.cached_eval) if held_out else (manager.train_dataset, manager.cached_train)
    photos = (pipeline.model.photo_and_mask(split[1][view]) for view in views_of(split[0].cameras, index))
    return all(is_plain(photo if kept is None else photo[kept[..., 0]]) for photo, kept in photos)


@torch.no_grad()
def measure_scene(pipeline: LatentPipeline, index: int) -> Dict[str, float]:
    """Mean `psnr`, dB, and `ssim` of the decoded renders of a scene's held-out views."""
    pipeline.eval()
    model, manager = pipeline.model, pipeline.datamanager
    cameras = manager.eval_dataset.cameras
    rows = []
    for view in views_of(cameras, index):
        render = model.get_outputs_for_camera(cameras[view : view + 1].to(model.device))["rgb"]
        shown = render, *model.photo_and_mask(manager.cached_eval[view])
        rows.append((model.metrics.psnr(*shown), model.metrics.ssim(*shown)))
    psnr, ssim = np.mean(rows, axis=0).tolist()
    if not (np.isfinite(psnr) and np.isfinite(ssim)):
        raise ValueError(problem("held-out views", "finite renders", "NaN or infinity", "look at cameras and pictures"))
    return {"psnr": psnr, "ssim": ssim}


def views_of(cameras: Cameras, index: int) -> List[int]:
    return [view for view, scene in enumerate(scene_indices(cameras)) if scene == index]


def fit_facts(inventory: Inventory, pipeline: LatentPipeline, index: int) -> Dict[str, Any]:
    """How a scene was fitted, and what its cameras are like; not where, as scene files go to strangers."""
    cameras = pipeline.datamanager.train_dataset.cameras
    own = cameras[torch.tensor(views_of(cameras, index))]
    return {
        "steps": inventory.steps,
        **({} if inventory.enlarge == 1 else {ENLARGED: inventory.enlarge}),
        "settings": inventory.fingerprint(),
        "version": __version__,
        **view_facts(own, pipeline.model.box_of(index)),
    }
