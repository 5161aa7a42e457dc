"""The run: Nerfstudio's trainer, told where the stages end, with exact resumption and whole checkpoints."""

import copy
import json
import random
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Collection, Dict, List, Literal, Optional, Set, Type

import numpy as np
import torch
import yaml
from nerfstudio.configs.base_config import LoggingConfig, MachineConfig, ViewerConfig
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import profiler, writer
from nerfstudio.utils.rich_utils import CONSOLE
from tyro.conf import Suppress

from latent_nerfstudio.data.training_cameras import CAMERAS, write_cameras
from latent_nerfstudio.engine import checkpoints, starting
from latent_nerfstudio.engine.checkpoints import checkpoints_of
from latent_nerfstudio.engine.memory import check_memory, out_of_memory
from latent_nerfstudio.engine.options import FirstOptions, LoggingOptions, ViewerOptions, default_machine
from latent_nerfstudio.engine.progress import Clock, Progress
from latent_nerfstudio.engine.row_adam import RowAdam
from latent_nerfstudio.engine.signals import StopRequest, stop_request
from latent_nerfstudio.engine.summary import SHEET, SUMMARY, read_summary
from latent_nerfstudio.errors import is_worded, problem, show_own_warnings_alone
from latent_nerfstudio.escaping import for_markup
from latent_nerfstudio.files.replacing import sole_writer, write_text
from latent_nerfstudio.models.bundle_folder import FOLDER as BUNDLE
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.models.viewer_address import unless_asked
from latent_nerfstudio.pipelines.commands import opened_folder
from latent_nerfstudio.pipelines.contact_sheet import draw_views, write_contact_sheet
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline, LatentPipelineConfig
from latent_nerfstudio.pipelines.scene_watch import check_finite
from latent_nerfstudio.threads import number_of_threads


@dataclass
class LatentTrainerConfig(TrainerConfig, FirstOptions):
    """A run."""

    _target: Type = field(default_factory=lambda: LatentTrainer)
    data: Optional[Path] = None
    """Scene folder, or a folder of scene folders."""
    load_dir: Optional[Path] = None
    """Folder `nerfstudio_models` of a run to go on with."""
    machine: MachineConfig = field(default_factory=default_machine)
    """Device: the GPU where there is one, else the CPU."""
    viewer: ViewerConfig = field(default_factory=ViewerOptions)
    """Where the viewer listens."""
    logging: LoggingConfig = field(default_factory=LoggingOptions)
    """Loggers."""
    method_name: Suppress[Optional[str]] = None
    prompt: Suppress[Optional[str]] = None
    relative_model_dir: Suppress[Path] = Path("nerfstudio_models/")
    load_scheduler: Suppress[bool] = True
    use_grad_scaler: Suppress[bool] = False
    start_paused: Suppress[bool] = False
    contact_sheet: bool = True
    """Draw a contact sheet when training is done: photo, render, latent and error of one held-out view a scene."""
    steps_per_pictures: Optional[int] = None
    """Steps between contact sheets (`pictures/` and the logger) with their metrics while training; None for none."""
    write_bundle: bool = False
    """Write `shared_bundle/` and `autoencoder/`, which new scenes start from, beside each checkpoint."""

    def __setattr__(self, name: str, value: Any) -> None:
        """ns-viewer replaces the viewer's settings by its own, whose default address is another; see `unless_asked`."""
        super().__setattr__(name, unless_asked(value, sys.argv) if name == "viewer" else value)

    def get_base_dir(self) -> Path:
        """The run's folder: that of the opened config.yml if checkpoints lie beside it, so that runs may be moved."""
        opened = opened_folder(sys.argv)
        return opened if opened and (opened / self.relative_model_dir).is_dir() else super().get_base_dir()

    def set_timestamp(self) -> None:
        """What ns-train calls first: from here on messages are one line, and paths absolute."""
        starting.show_errors_in_one_line()
        show_own_warnings_alone()
        super().set_timestamp()
        starting.make_absolute(self)

    def print_to_terminal(self) -> None:
        """Prints where the config will be instead of its 290 lines, after all checks before anything is written."""
        torch.set_num_threads(number_of_threads())
        starting.check_numbers(self)
        if isinstance(self.pipeline, LatentPipelineConfig):
            self.pipeline.check_training()
        starting.check_place(self)
        starting.follow_checkpoint(self)
        starting.check_sources(self)
        starting.check_data(self)
        CONSOLE.print(f"Config: {for_markup(self.get_base_dir() / 'config.yml')}", soft_wrap=True)

    def save_config(self) -> None:
        """Leaves it to the trainer: what does not begin, or not in a folder of its own, changes no config.yml."""


class LatentTrainer(Trainer):
    """Nerfstudio's trainer with exact resumption: a resumed run ends at `max_num_iterations` (Nerfstudio 1.1.5 runs
    that many steps more) and equals the run that was not stopped; one that was killed at its end writes what is
    missing. A signal ends a run after its step, with a checkpoint; see docs/safety.md."""

    obeys_signals = True
    config: LatentTrainerConfig
    pipeline: LatentPipeline  # type: ignore[assignment]

    def __init__(self, config: LatentTrainerConfig, local_rank: int = 0, world_size: int = 1):
        starting.check_place(config)
        super().__init__(config, local_rank, world_size)
        self.stop = StopRequest()

    # Before the first step

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        """Nerfstudio's, and all that comes before the first step; where it fails, no folder without a run is left."""
        is_new = not self.base_dir.exists()
        try:
            self._set_up(test_mode)
        except BaseException:
            if is_new:
                writer.EVENT_WRITERS.clear()  # whose files go
                starting.take_back(self.base_dir, self.config.output_dir)
            raise

    def _set_up(self, test_mode: Literal["test", "val", "inference"]) -> None:
        with ExitStack() as resources:
            resources.enter_context(sole_writer(self.base_dir, "pictures", "cameras"))
            config = yaml.dump(self.config)  # which Nerfstudio changes
            super().setup(test_mode)
            write_cameras(self.base_dir / CAMERAS, self.pipeline.datamanager.train_dataparser_outputs.cameras)
            self.pipeline.datamanager.seed = self.config.machine.seed
            self.last_step = self._start_step - 1
            draws = self.config.contact_sheet and len(self.pipeline.datamanager.eval_dataset) > 0
            self.unwritten = {SUMMARY, *([SHEET] if draws else []), *([BUNDLE] if self.config.write_bundle else [])}
            has_all_steps = self._start_step > 0 and self._is_complete(self.last_step)
            self.is_finished = has_all_steps and self._has_an_end_to_write()
            if self.config.write_bundle:
                self.pipeline.model.fill_box()
            if not self.is_finished:
                check_memory(self.pipeline)
                self.pipeline.prepare()
            write_text(self.base_dir / "config.yml", config)
            self.resources = resources.pop_all()
        self.clock = Clock(self.pipeline.start_seconds)
        self.progress = Progress(self.clock, self._start_step, self.config.max_num_iterations)
        self.callbacks = [
            TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._before_iteration),
            *self.callbacks,
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], self._after_iteration),
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], self._write_end),
        ]

    def _has_an_end_to_write(self) -> bool:
        """Whether a run of all steps is this folder's and lacks files of its end; others must be given more steps."""
        steps, source = self._start_step, self.config.load_dir
        is_own = source is not None and source.resolve() == self.checkpoint_dir.resolve()
        if is_own and self.last_step == max(checkpoints_of(self.checkpoint_dir)):
            self.unwritten = missing(self.base_dir, steps, self.unwritten)
            if self.unwritten:
                return True
        expected, got = f"more than the {steps} steps of the loaded checkpoint", self.config.max_num_iterations
        raise ValueError(problem("max_num_iterations", expected, got, "raise --max-num-iterations"))

    def setup_optimizers(self) -> Optimizers:
        optimizers: Dict[str, Any] = copy.deepcopy(dict(self.config.optimizers))
        for group in optimizers.values():
            scheduler = group.get("scheduler")
            if hasattr(scheduler, "alignment_start"):
                scheduler.max_steps = scheduler.max_steps or self.config.max_num_iterations
                if scheduler.alignment_start is None:
                    scheduler.alignment_start = self.pipeline.second_stage_start
        return Optimizers(optimizers, self.pipeline.get_param_groups())

    def _load_checkpoint(self) -> None:
        """Nerfstudio's, of the newest checkpoint that verifies, or of the one that was named."""
        config, wanted = self.config, self.config.load_step
        if config.load_dir is not None:
            config.load_step = checkpoints.newest_step(config.load_dir) if wanted is None else wanted
        if config.load_checkpoint is not None and config.load_dir is None:
            checkpoints.check_checkpoint(config.load_checkpoint)
        elif config.load_dir is not None and wanted is not None:
            checkpoints.check_checkpoint(config.load_dir / f"step-{wanted:09d}.ckpt")
        for optimizer in self.optimizers.optimizers.values():
            optimizer.register_load_state_dict_pre_hook(checkpoints.take_gradients)
        try:
            super()._load_checkpoint()
        except (KeyError, ValueError) as error:
            if is_worded(error):
                raise
            expected, do = f"optimizers of {', '.join(self.optimizers.optimizers)}", "resume with what the run trained"
            raise ValueError(problem("checkpoint", expected, f"others ({error})", do)) from error
        finally:
            config.load_step = wanted

    # Steps

    def train(self) -> None:
        """Trains; ends the process where a signal has asked for it, with 128 and its number."""
        with self.resources, stop_request(self.obeys_signals) as self.stop:
            if self.is_finished:  # all steps were made before: only its end is to be written
                self.step, self.stop_training = self.last_step, True
                self._init_viewer_state()
                self._after_train()
            else:
                self.clock.start()
                super().train()
        if self.stop.exit_code:
            raise SystemExit(self.stop.exit_code)

    def _before_iteration(self, step: int) -> None:
        """Seeds by run and step; tells optimizers of rows how many scenes take turns, and their rates."""
        seed_everything(self.config.machine.seed * 1_000_003 + step)
        for name, optimizer in self.optimizers.optimizers.items():
            if isinstance(optimizer, RowAdam):
                optimizer.take_turns(self.pipeline.datamanager.num_active_scenes)
                optimizer.row_factors = self.pipeline.scene_rates(step) if name == "planes" else None

    def train_iteration(self, step: int):
        try:
            loss, losses, metrics = super().train_iteration(step)
        except torch.cuda.OutOfMemoryError as error:
            raise out_of_memory(self.pipeline, error) from error
        self.last_step = step
        self.progress.update(step, self.pipeline.stage_at(step), loss, metrics)
        return loss, losses, metrics

    def _after_iteration(self, step: int) -> None:
        every = self.config.steps_per_pictures
        if every and (step + 1) % every == 0 and len(self.pipeline.datamanager.eval_dataset):
            with self.clock.paused():
                draw_views(self.pipeline, self.base_dir, step, self.clock.seconds())
        if self._is_complete(step) or self.stop.number is not None:
            self.stop_training = True

    def _is_complete(self, step: int) -> bool:
        return step >= self.config.max_num_iterations - 1

    def eval_iteration(self, step: int) -> None:
        """Nerfstudio's, off the clock; left out once a signal has come."""
        if self.stop.number is None:
            with self.clock.paused():
                super().eval_iteration(step)

    # Checkpoints

    def save_checkpoint(self, step: int) -> None:
        """Writes Nerfstudio's checkpoint with accumulating gradients, whole or not at all, and the shared bundle if
        asked for. The one before stays if a parameter is not finite or the disk is full; a loaded one is not written
        again."""
        check_finite(dict(self.pipeline.named_parameters()), step, "parameter")
        seconds = self.clock.seconds()
        gradients = self._accumulating(step)
        with self.pipeline.as_saved(seconds), checkpoints.gradients_in_state(self.optimizers.optimizers, gradients):
            if BUNDLE in self.unwritten:  # first: a run that dies between the two writes it again when it is resumed
                total = entry_seconds(self.pipeline) + round(seconds, 2)
                facts = {"method": self.config.method_name, "seconds": total}
                write_shared_bundle(self.base_dir, self.pipeline.model, step, facts)
            if step >= self._start_step:
                self._publish(step)
            elif self.is_finished and self.config.save_only_latest_checkpoint:  # killed before the others were removed
                checkpoints.remove_others(self.checkpoint_dir, [checkpoints_of(self.checkpoint_dir)[step].name])

    def _accumulating(self, step: int) -> Dict[str, List[Optional[torch.Tensor]]]:
        periods = self.gradient_accumulation_steps
        groups = {name: group for name, group in self.optimizers.parameters.items() if (step + 1) % periods[name]}
        return {name: [parameter.grad for parameter in group] for name, group in groups.items()}

    def _publish(self, step: int) -> None:
        """Has Nerfstudio write into a temporary folder, and publishes what is there."""
        folder = self.checkpoint_dir
        with checkpoints.publishing(folder, self.config.save_only_latest_checkpoint) as self.checkpoint_dir:
            try:
                super().save_checkpoint(step)
            finally:
                self.checkpoint_dir = folder
            for name in (SUMMARY, SHEET):  # those of an earlier step, which tell nothing of this one
                (self.base_dir / name).unlink(missing_ok=True)

    # After the last step

    def _after_train(self) -> None:
        self.step = min(self.step, self.last_step)
        self.clock.stop()
        if self.stop.number is None or self._is_complete(self.step):
            super()._after_train()
        else:
            self._end_early()

    def _end_early(self) -> None:
        self.training_state = "completed"
        if self.step < self._start_step:
            CONSOLE.print("Ended before the first step; nothing was saved", soft_wrap=True)
        else:
            self.save_checkpoint(self.step)
            do = f"to go on: --load-dir {for_markup(self.checkpoint_dir)}"
            CONSOLE.print(f"Ended after step {self.step}; {do}", soft_wrap=True)
        self.shutdown()

    def _train_complete_viewer(self) -> None:
        """Nerfstudio's, which waits for Ctrl-C: signals do again what they did before."""
        if self.stop.number is None:
            self.stop.pause()
            super()._train_complete_viewer()

    def _write_end(self, step: int) -> None:
        """Writes contact sheet and then summary, unless they are there; called after the last checkpoint."""
        if SHEET in self.unwritten:
            CONSOLE.log(f"Contact sheet: {for_markup(write_contact_sheet(self.pipeline, self.base_dir / SHEET))}")
        if SUMMARY in self.unwritten:
            summary = summary_of(self.pipeline, str(self.config.method_name), step + 1, self.clock.seconds())
            write_text(self.base_dir / SUMMARY, json.dumps(summary, indent=2))


def begin_afresh(seed: int) -> None:
    """Seeds what a run draws, and drops what Nerfstudio's trainer left of earlier runs of this process."""
    seed_everything(seed)
    writer.EVENT_WRITERS.clear()
    profiler.PROFILER.clear()


def seed_everything(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def missing(folder: Path, steps: int, wanted: Collection[str]) -> Set[str]:
    """Those of `wanted` (`SUMMARY`, `SHEET`, `BUNDLE`) that are absent, damaged, or of another number of steps."""
    there = set()
    with suppress(OSError, ValueError, KeyError):
        if read_summary(folder / SUMMARY)["steps"] == steps:
            there |= {SUMMARY, *([SHEET] if (folder / SHEET).is_file() else [])}
    with suppress(OSError, ValueError, KeyError):
        if BUNDLE in wanted and read_shared_bundle(str(folder.resolve())).step + 1 == steps:
            there.add(BUNDLE)
    return set(wanted) - there


def summary_of(pipeline: LatentPipeline, method: str, steps: int, seconds: float) -> Dict[str, Any]:
    """Seconds, steps and sizes of a run, and the steps at which scenes `failed`, if any did."""
    model, failed = pipeline.model, pipeline.watch.failed()
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
    """Seconds of training in the shared bundle that a run started from; 0 if it does not say."""
    return float(pipeline.model.bundle_facts.get("seconds", 0.0))
