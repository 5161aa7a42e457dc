"""The run: Nerfstudio's trainer, told where the stages end, with progress lines and a summary when it is done."""

import copy
import json
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Set, Type

import numpy as np
import torch
import yaml
from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, MachineConfig
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import writer
from nerfstudio.utils.rich_utils import CONSOLE
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from latent_nerfstudio.data.training_cameras import CAMERAS, write_cameras
from latent_nerfstudio.engine.checkpoints import (
    check_checkpoint,
    checkpoints_of,
    gradients_in_state,
    newest_step,
    publishing,
    remove_others,
    take_gradients,
)
from latent_nerfstudio.engine.ending import BUNDLE, SHEET, SUMMARY, missing
from latent_nerfstudio.engine.memory import check_memory, out_of_memory
from latent_nerfstudio.engine.signals import StopRequest, stop_request
from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup
from latent_nerfstudio.files.replacing import sole_writer, write_text
from latent_nerfstudio.models.shared_bundle import write_shared_bundle
from latent_nerfstudio.models.viewer_address import unless_asked
from latent_nerfstudio.pipelines.contact_sheet import measure_views, one_view_a_scene, write_contact_sheet
from latent_nerfstudio.pipelines.finite import check_finite
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline

SECONDS_BETWEEN_LINES = 5.0
"""How often a progress line is printed."""

SCENES_PICTURED = 6
"""Scenes whose held-out views are drawn and measured while training."""


def default_machine() -> MachineConfig:
    """The GPU where there is one."""
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


def quiet_logging() -> LoggingConfig:
    """Without Nerfstudio's table of steps, which our progress lines replace."""
    return LoggingConfig(steps_per_log=50, local_writer=LocalWriterConfig(enable=False), profiler="none")


@dataclass
class LatentTrainerConfig(TrainerConfig):
    """A run."""

    _target: Type = field(default_factory=lambda: LatentTrainer)
    machine: MachineConfig = field(default_factory=default_machine)
    """Device: the GPU where there is one, else the CPU."""
    logging: LoggingConfig = field(default_factory=quiet_logging)
    """Loggers."""
    contact_sheet: bool = True
    """Draw a contact sheet when training is done: photo, render, latent and error of one held-out view a scene."""
    steps_per_pictures: Optional[int] = None
    """Steps between contact sheets (`pictures/` and the logger) with their metrics while training; None for none."""
    write_bundle: bool = False
    """Write `shared_bundle/` and `autoencoder/`, which new scenes start from, beside each checkpoint."""

    def __setattr__(self, name: str, value: Any) -> None:
        """ns-viewer puts its own settings in the place of the viewer, with another default of where it listens."""
        super().__setattr__(name, unless_asked(value) if name == "viewer" else value)

    def save_config(self) -> None:
        """Writes config.yml in one piece, unless another run is at work in the folder.

        Raises:
            BlockingIOError: one is.
        """
        folder = self.get_base_dir()
        with sole_writer(folder):
            write_text(folder / "config.yml", yaml.dump(self))
        CONSOLE.log(f"Config: {for_markup(folder / 'config.yml')}")


class LatentTrainer(Trainer):
    """Adds to Nerfstudio's trainer what a plugin cannot tell it otherwise.

    Schedules learn where the stages begin and end; pictures are encoded before the clock starts; a resumed run ends at
    `max_num_iterations` (Nerfstudio 1.1.5 runs that many steps more); a model that is no longer finite is never saved;
    `contact_sheet.png` and `training.json` are written beside config.yml at the end. A run that was killed after its
    last checkpoint writes what is missing of them when it goes on in its own folder, and makes no step.

    All that is random in a step follows from seed and step, so that a resumed run is the run that was not stopped. A
    signal ends a run after its step, with a checkpoint; checkpoints are written whole and verified before they are
    loaded (docs/safety.md).
    """

    obeys_signals = True
    config: LatentTrainerConfig
    pipeline: LatentPipeline  # type: ignore[assignment]

    def __init__(self, config: LatentTrainerConfig, local_rank: int = 0, world_size: int = 1):
        check_devices(world_size)
        super().__init__(config, local_rank, world_size)

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        self.stop = StopRequest()
        with ExitStack() as resources:
            resources.enter_context(sole_writer(self.base_dir, "pictures"))
            self._set_up(test_mode)
            self.resources = resources.pop_all()

    def _set_up(self, test_mode: Literal["test", "val", "inference"]) -> None:
        super().setup(test_mode)
        write_cameras(self.base_dir / CAMERAS, self.pipeline.datamanager.train_dataparser_outputs.cameras)
        self.last_step = self._start_step - 1
        self.unwritten = self._wanted()
        self.is_finished = self._start_step > 0 and self._is_complete(self.last_step) and self._has_an_end_to_write()
        if not self.is_finished:
            check_memory(self.pipeline)
            self.pipeline.prepare()
        self.progress = Progress(self.pipeline, self._start_step, self.config.max_num_iterations)
        self.callbacks = [
            TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._seed),
            *self.callbacks,
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], self._after_iteration),
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], self._draw_pictures),
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], self._write_end),
        ]

    def _wanted(self) -> Set[str]:
        """What is to be written beside the last checkpoint."""
        config = self.config
        has_views = bool(len(self.pipeline.datamanager.eval_dataset))
        asked = {SUMMARY: True, SHEET: config.contact_sheet and has_views, BUNDLE: config.write_bundle}
        return {name for name, is_asked in asked.items() if is_asked}

    def _has_an_end_to_write(self) -> bool:
        """Of a run that has made its last step: whether it is the one of this folder, which ends without a step then.

        Raises:
            ValueError: it was to make no more steps than it has, and nothing is missing here.
        """
        steps, end, source = self._start_step, self.config.max_num_iterations, self.config.load_dir
        is_own = source is not None and source.resolve() == self.checkpoint_dir.resolve()
        if is_own and self.last_step == max(checkpoints_of(self.checkpoint_dir)):
            self.unwritten = missing(self.base_dir, steps, self.unwritten)
            if self.unwritten or steps < end:
                return True
        if steps >= end:
            expected = f"more than the {steps} steps of the loaded checkpoint"
            raise ValueError(problem("max_num_iterations", expected, end, "raise --max-num-iterations"))
        return False

    def setup_optimizers(self) -> Optimizers:
        """Optimizers whose schedules end with the stages."""
        optimizers: Dict[str, Any] = copy.deepcopy(dict(self.config.optimizers))
        for group in optimizers.values():
            scheduler = group.get("scheduler")
            if hasattr(scheduler, "alignment_start"):
                scheduler.max_steps = scheduler.max_steps or self.config.max_num_iterations
                if scheduler.alignment_start is None:
                    scheduler.alignment_start = self.pipeline.second_stage_start
        return Optimizers(optimizers, self.pipeline.get_param_groups())

    def train(self) -> None:
        """Trains; ends the process where a signal has asked for it.

        Raises:
            SystemExit: a signal came; the code is 128 and its number.
            MemoryError: a step did not fit into the memory of the GPU.
        """
        self.progress.begin()
        with self.resources, stop_request(self.obeys_signals) as self.stop:
            self._finish() if self.is_finished else super().train()
        if self.stop.exit_code:
            raise SystemExit(self.stop.exit_code)

    def _finish(self) -> None:
        """The end of a run that has made all its steps before; it takes no seconds of training."""
        self.progress.end_clock()
        self.step, self.stop_training = self.last_step, True
        self._init_viewer_state()
        self._after_train()

    def _seed(self, step: int) -> None:
        """Makes all that is random in a step a function of seed and step."""
        seed_everything(self.config.machine.seed * 1_000_003 + step)

    def train_iteration(self, step: int):
        try:
            result = super().train_iteration(step)
        except torch.cuda.OutOfMemoryError as error:
            raise out_of_memory(self.pipeline, error) from error
        self.last_step = step
        self.progress.update(step, result[0], result[2])
        return result

    def _after_iteration(self, step: int) -> None:
        if self._is_complete(step) or self.stop.number is not None:
            self.stop_training = True

    def _is_complete(self, step: int) -> bool:
        """Whether a step was the last that the run has to make."""
        return step >= self.config.max_num_iterations - 1

    def eval_iteration(self, step: int) -> None:
        """Nerfstudio's; left out where a signal is waited for."""
        if self.stop.number is None:
            super().eval_iteration(step)

    def _load_checkpoint(self) -> None:
        """Nerfstudio's, of the newest checkpoint that verifies, or of the one that was named.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ValueError: it is damaged, or all are.
        """
        config, wanted = self.config, self.config.load_step
        if config.load_dir is not None:
            config.load_step = newest_step(config.load_dir) if wanted is None else wanted
        if config.load_checkpoint is not None and config.load_dir is None:
            check_checkpoint(config.load_checkpoint)
        elif config.load_dir is not None and wanted is not None:
            check_checkpoint(config.load_dir / f"step-{wanted:09d}.ckpt")
        for optimizer in self.optimizers.optimizers.values():
            optimizer.register_load_state_dict_pre_hook(take_gradients)
        try:
            super()._load_checkpoint()
        finally:
            config.load_step = wanted

    def save_checkpoint(self, step: int) -> None:
        """Nerfstudio's checkpoint and gradients that accumulate, in one piece, and the shared bundle if asked for.

        A checkpoint that was loaded is not written again.

        Raises:
            FloatingPointError: a parameter is NaN or infinite; the checkpoint before stays.
            OSError: there is no room, or the folder cannot be written to; likewise.
        """
        check_finite(dict(self.pipeline.named_parameters()), step, "parameter")
        gradients = self._accumulating(step)
        seconds = self.progress.seconds()
        with self.pipeline.as_saved(seconds), gradients_in_state(self.optimizers.optimizers, gradients):
            if BUNDLE in self.unwritten:  # first: a run that dies between the two writes it again when it is resumed
                facts = {"method": self.config.method_name, "seconds": self.entry_seconds + round(seconds, 2)}
                write_shared_bundle(self.base_dir, self.pipeline.latent_model, step, facts)
            if step >= self._start_step:
                self._publish(step)
            elif self.is_finished and self.config.save_only_latest_checkpoint:  # killed before the others were removed
                remove_others(self.checkpoint_dir, [checkpoints_of(self.checkpoint_dir)[step].name])

    def _accumulating(self, step: int) -> Dict[str, List[Optional[torch.Tensor]]]:
        """Gradients that optimizers have not stepped with after a step, by parameter group."""
        periods = self.gradient_accumulation_steps
        groups = {name: group for name, group in self.optimizers.parameters.items() if (step + 1) % periods[name]}
        return {name: [parameter.grad for parameter in group] for name, group in groups.items()}

    def _publish(self, step: int) -> None:
        """Has Nerfstudio write into another folder, which it takes for that of the checkpoints."""
        folder = self.checkpoint_dir
        with publishing(folder, self.config.save_only_latest_checkpoint) as self.checkpoint_dir:
            try:
                super().save_checkpoint(step)
            finally:
                self.checkpoint_dir = folder

    @property
    def entry_seconds(self) -> float:
        """Seconds of training in the shared bundle that the run started from, where the bundle says so."""
        return float(self.pipeline.latent_model.bundle_facts.get("seconds", 0.0))

    def _draw_pictures(self, step: int) -> None:
        """A contact sheet of held-out views in `pictures/`, their metrics in `metrics.jsonl`, both to the logger."""
        every = self.config.steps_per_pictures
        if not every or (step + 1) % every or not len(self.pipeline.datamanager.eval_dataset):
            return
        self.progress.pause()
        folder = self.base_dir / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        path = write_contact_sheet(self.pipeline, folder / f"step-{step + 1:09d}.png", SCENES_PICTURED)
        metrics = measure_views(self.pipeline, one_view_a_scene(self.pipeline)[:SCENES_PICTURED])
        append_row(self.base_dir / "metrics.jsonl", {"step": step + 1, "seconds": self.progress.seconds(), **metrics})
        writer.put_image("Pictures", pil_to_tensor(Image.open(path)).permute(1, 2, 0) / 255, step)
        writer.put_dict("Pictured views", metrics, step)
        self.progress.go_on()

    def _after_train(self) -> None:
        self.step = min(self.step, self.last_step)
        self.progress.end_clock()
        if self.stop.number is None or self._is_complete(self.step):
            super()._after_train()
        else:
            self._end_early()

    def _end_early(self) -> None:
        """Saves a checkpoint, if there was a step, and says how to go on."""
        self.training_state = "completed"
        if self.step < self._start_step:
            CONSOLE.print("Ended before the first step; nothing was saved", soft_wrap=True)
        else:
            self.save_checkpoint(self.step)
            CONSOLE.print(
                f"Ended after step {self.step}; to go on: --load-dir {for_markup(self.checkpoint_dir)}", soft_wrap=True
            )
        self.shutdown()

    def _train_complete_viewer(self) -> None:
        """Nerfstudio's, which waits for Ctrl-C; so that has to be heard again."""
        if self.stop.number is None:
            self.stop.pause()
            super()._train_complete_viewer()

    def _write_end(self, step: int) -> None:
        """Contact sheet and then summary, as far as they are not there; called when the last checkpoint is saved."""
        self.base_dir.mkdir(parents=True, exist_ok=True)
        if SHEET in self.unwritten:
            path = write_contact_sheet(self.pipeline, self.base_dir / SHEET)
            CONSOLE.log(f"Contact sheet: {for_markup(path)}")
        if SUMMARY in self.unwritten:
            write_text(self.base_dir / SUMMARY, json.dumps(self._summary(), indent=2))

    def _summary(self) -> Dict[str, Any]:
        """Seconds, steps and sizes of the run, and which scenes have failed."""
        model = self.pipeline.latent_model
        seconds = self.progress.seconds()
        summary = {
            "method": self.config.method_name,
            "steps": self.step + 1,
            "alignment_start": self.pipeline.second_stage_start,
            "seconds": round(seconds, 2),
            "scenes": model.scene_names,
            "seconds_per_scene": round(seconds / len(model.scene_names), 2),
            "entry_seconds": self.entry_seconds,
            "bytes_per_scene": model.scene_bytes(),
            "bytes_shared": model.shared_bytes(),
            "device": str(self.device),
        }
        failed = self.pipeline.watch.failed()
        return {**summary, "failed": failed} if failed else summary


def check_devices(count: int) -> None:
    """Refuses a run of several processes.

    Raises:
        ValueError: more than one device.
    """
    if count > 1:
        do = "fit scenes on several with `lns fit-scenes --workers N`, or --workers ray on several machines"
        raise ValueError(problem("machine.num_devices", "1", count, do))


def seed_everything(number: int) -> None:
    """Starts all sources of randomness anew."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def append_row(path: Path, row: Dict[str, Any]) -> None:
    """Adds a row to a file of JSON lines, in one piece, without rows of later steps, of a run that was broken off."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if json.loads(line)["step"] < row["step"]]
    write_text(path, "\n".join([*kept, json.dumps(row)]) + "\n")


class Progress:
    """The run's clock, and lines with stage, step, loss, PSNR and the time that is left."""

    def __init__(self, pipeline: LatentPipeline, start: int, end: int):
        self.pipeline = pipeline
        self.start = start
        self.end = end
        self.stage: Optional[str] = None
        self.begin()

    def begin(self) -> None:
        """Starts the clock, at what was spent before the first step."""
        self.printed = time.monotonic()
        self.started = self.printed - self.pipeline.start_seconds
        self.ended: Optional[float] = None

    def end_clock(self) -> None:
        """Stops the clock, if it runs."""
        self.ended = time.monotonic() if self.ended is None else self.ended

    def pause(self) -> None:
        """Stops the clock for what is no training."""
        self.end_clock()

    def go_on(self) -> None:
        """Starts it again where it stood."""
        if self.ended is not None:
            self.started += time.monotonic() - self.ended
            self.ended = None

    def seconds(self) -> float:
        """Seconds of the run, those of the processes that it was resumed from included."""
        return (self.ended or time.monotonic()) - self.started

    def update(self, step: int, loss: torch.Tensor, metrics: Dict[str, Any]) -> None:
        """Prints a line at the beginning of a stage, every few seconds, and at the end."""
        stage = self.pipeline.stage_at(step)
        now = time.monotonic()
        is_due = now - self.printed > SECONDS_BETWEEN_LINES or step == self.end - 1
        if stage == self.stage and not is_due:
            return
        self.stage, self.printed = stage, now
        done = step + 1 - self.start
        left = (self.seconds() - self.pipeline.start_seconds) / done * (self.end - step - 1)
        numbers = "  ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())
        CONSOLE.log(f"{stage}  {step + 1}/{self.end}  loss {float(loss):.4g}  {numbers}  {left:.0f} s left")
