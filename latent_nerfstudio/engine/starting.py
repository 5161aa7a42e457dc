"""Before a run: paths that hold from any folder, a folder that no other run has filled, and errors in one line."""

import math
import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple, Union

from nerfstudio.engine.trainer import TrainerConfig

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, find_scenes
from latent_nerfstudio.data.training_cameras import CAMERAS
from latent_nerfstudio.engine.checkpoints import checkpoints_of, name_sources
from latent_nerfstudio.engine.config_loader import data_of, read_config, started_in
from latent_nerfstudio.errors import MOST_SEED, is_debugging, is_worded, problem
from latent_nerfstudio.files.places import data_folder
from latent_nerfstudio.files.replacing import full_disk
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig, check_not_retired, locate
from latent_nerfstudio.latent_space.shipped import FOLDERS
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.shared_bundle import locate_bundle

PATHS = ("data", "load_dir", "load_checkpoint", "real_images", "source", "shared_bundle", "latent_cache")
"""Settings that may name a file or folder; some of them may be a word instead, or a Hub id."""

WORDS = ("memory", "disk", "identity", *FOLDERS)
"""Such words, which mean the same where a folder of that name lies in the present one."""

BEGINNINGS = ("config.yml", Path(CAMERAS).name, "events.out.tfevents")
"""Names, or how they begin, of files that a run writes before its first step."""

LEAST: Dict[str, Union[int, float]] = {
    **dict.fromkeys(("max_num_iterations", "crop", "max_render_height"), 1),
    **dict.fromkeys(("eval_num_rays_per_chunk", "real_images_per_batch"), 1),
    "camera_res_scale_factor": 1e-3,
    **dict.fromkeys(("joint_training_start", "whole_pictures_start", "fit_scene_weights"), 0),
    **{f"steps_per_{what}": 0 for what in ("save", "eval_batch", "eval_image", "eval_all_images", "pictures")},
}
"""Least values of settings, by name, wherever they are in a config; None is left out."""

ENDINGS = ("_weight", "_mult", "lr", "floor", "alignment_factor", "max_norm")
"""How weights and rates are called, which are finite and not below 0."""


def make_absolute(config: TrainerConfig) -> None:
    """Makes the paths of a config absolute, as far as they lead somewhere, so that config.yml opens from any folder."""
    config.output_dir = Path(os.path.abspath(config.output_dir))
    for part in parts_of(config):
        for name in PATHS:
            value = getattr(part, name, None)
            if isinstance(value, (str, Path)) and value not in WORDS and os.path.exists(value):
                setattr(part, name, type(value)(os.path.abspath(value)))


def parts_of(config: Any) -> Iterator[Any]:
    """A config and the configs within it."""
    if is_dataclass(config) and not isinstance(config, type):
        yield config
        for field in fields(config):
            yield from parts_of(getattr(config, field.name, None))


def check_numbers(config: TrainerConfig) -> None:
    """Refuses numbers out of their range, and gradient accumulation that Nerfstudio would stumble over later."""
    check_ranges(config)
    devices = config.machine.num_devices * config.machine.num_machines
    if devices != 1:
        do = "fit scenes on several with `lns fit-scenes --workers N`, or --workers ray on several machines"
        raise ValueError(problem("machine.num_devices", "1", devices, do))
    seed, groups = config.machine.seed, config.optimizers
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(problem("machine.seed", "0 to 2^32 - 1", seed, "give another --machine.seed"))
    for name, count in config.gradient_accumulation_steps.items():
        if name not in groups or count < 1:
            expected, do = f"1 or more of {', '.join(groups)}", "correct or leave out --gradient-accumulation-steps"
            raise ValueError(problem("gradient_accumulation_steps", expected, f"{name} {count}", do))
    if config.load_step is not None and config.load_dir is None:
        do = "give --load-dir, or leave out --load-step"
        raise ValueError(problem("load_step", "a folder of checkpoints with it", "no --load-dir", do))


def check_ranges(config: Any) -> None:
    """Refuses numbers of a config, and of those within it, that are out of their range."""
    for path, value in numbers_of(config):
        name = path.rpartition(".")[2]
        least = LEAST.get(name, 0 if name.endswith(ENDINGS) else None)
        if least is not None and not least <= value < math.inf:
            do = f"correct or leave out --{path.replace('_', '-')}"
            raise ValueError(problem(path, f"a finite number of at least {least}", value, do))


def numbers_of(config: Any, path: str = "") -> Iterator[Tuple[str, Union[int, float]]]:
    """The numbers in a config of dataclasses and dictionaries, with the names that lead to each."""
    items = config if isinstance(config, dict) else {f.name: getattr(config, f.name) for f in fields(config)}
    for name, value in items.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield path + name, value
        elif isinstance(value, dict) or (is_dataclass(value) and not isinstance(value, type)):
            yield from numbers_of(value, f"{path}{name}.")


def check_place(config: TrainerConfig) -> None:
    """Refuses to write over the checkpoints of a run that this one does not go on from."""
    found = checkpoints_of(config.get_checkpoint_dir())
    if not found:
        return
    newest, path = next(iter(found.items()))
    source, step = config.load_checkpoint, newest if config.load_step is None else config.load_step
    if config.load_dir is not None:
        source = config.load_dir / f"step-{step:09d}.ckpt"
    if source is None or source.resolve() != path.resolve():
        expected, got = "a folder without checkpoints", f"a run of {newest + 1} steps"
        do = f"go on from its last step with --load-dir {path.parent}, or give another --timestamp"
        raise FileExistsError(problem(config.get_base_dir(), expected, got, do))


def follow_checkpoint(config: TrainerConfig) -> None:
    """Names what the run was made with that this one goes on from, see `name_sources`."""
    if config.load_dir is None:
        return name_sources(config, config.load_checkpoint)
    found = checkpoints_of(config.load_dir)
    name_sources(config, found.get(max(found, default=0) if config.load_step is None else config.load_step))


def check_sources(config: TrainerConfig) -> None:
    """Refuses autoencoders and shared bundles that are not there, and one that can encode nothing."""
    for part in parts_of(config):
        if isinstance(part, AutoencoderConfig) and part.source != "identity":
            check_not_retired(part.source)
            locate(part.source, part.subfolder)
        if isinstance(part, LatentModelConfig) and part.shared_bundle is not None:
            locate_bundle(part.shared_bundle)


def check_data(config: TrainerConfig) -> None:
    """Refuses data without a scene, and to go on from a run with other data than it was trained on."""
    if not data_of(config).exists():
        raise FileNotFoundError(problem(data_of(config), "a data folder", "nothing there", "check --data"))
    if isinstance(config.pipeline.datamanager.dataparser, ScenesDataParserConfig):  # type: ignore[attr-defined]
        find_scenes(data_folder(data_of(config)))
    if config.load_dir is None:
        return
    file = config.load_dir.absolute().parent / "config.yml"
    before = read_config(file) if file.is_file() else None
    if not isinstance(before, TrainerConfig):
        return
    meant, ours = started_in(before, file.parent) / data_of(before), data_of(config)
    if meant.exists() and ours.exists() and not meant.samefile(ours):
        do = f"pass --data {meant}, or --load-checkpoint FILE instead of --load-dir to go on with other data"
        raise ValueError(problem("data", f"{meant}, on which {file.parent} was trained", ours.absolute(), do))


def take_back(folder: Path, output: Path) -> None:
    """Removes a run's folder of nothing but what is written before the first step, and empty ones around it."""
    if any(path.is_file() and not path.name.startswith(BEGINNINGS) for path in folder.rglob("*")):
        return
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # of the first that is not empty
        for place in folder.parents:
            if output not in place.parents:
                break
            place.rmdir()


def show_errors_in_one_line() -> None:
    """From now on, worded errors end the process with one line, and others with their traceback."""
    shows_traceback = sys.excepthook

    def show(kind: Any, error: BaseException, trace: Any) -> None:
        line = str(error) if is_worded(error) else ""
        asked = re.search(r"you tried to allocate (\d+) bytes", str(error))
        if asked and isinstance(error, RuntimeError):  # of torch, on the host
            expected, do = "room on the host", "lower nerf.field.resolution, rays-per-batch or images-per-batch"
            line = problem("memory", expected, f"{int(asked[1]):,} bytes asked for at once", do)
        line = line or full_disk(error)
        if not line or is_debugging():
            shows_traceback(kind, error, trace)
        else:
            sys.stderr.write(f"Error: {line}\n")

    sys.excepthook = show
