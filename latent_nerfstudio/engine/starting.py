"""Before a run: paths that hold from any folder, a folder that no other run has filled, and errors in one line."""

import dataclasses
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator

from nerfstudio.engine.trainer import TrainerConfig

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, find_scenes
from latent_nerfstudio.data.training_cameras import CAMERAS
from latent_nerfstudio.engine.checkpoints import checkpoints_of, name_sources
from latent_nerfstudio.engine.config_loader import data_of, read_config, started_in
from latent_nerfstudio.engine.ranges import check_ranges
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
    yield config
    for field in dataclasses.fields(config):
        value = getattr(config, field.name, None)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from parts_of(value)


def check_devices(count: int) -> None:
    if count != 1:
        do = "fit scenes on several with `lns fit-scenes --workers N`, or --workers ray on several machines"
        raise ValueError(problem("machine.num_devices", "1", count, do))


def check_numbers(config: TrainerConfig) -> None:
    """Refuses numbers out of their range, and gradient accumulation that Nerfstudio would stumble over later."""
    check_ranges(config)
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


def check_place(config: TrainerConfig) -> None:
    """Refuses to write over the checkpoints of a run that this one does not go on from."""
    found = checkpoints_of(config.get_checkpoint_dir())
    if not found:
        return
    newest, path = next(iter(found.items()))
    source = config.load_checkpoint
    if config.load_dir is not None:
        step = newest if config.load_step is None else config.load_step
        source = config.load_dir / f"step-{step:09d}.ckpt"
    if source is None or source.resolve() != path.resolve():
        expected, got = "a folder without checkpoints", f"a run of {newest + 1} steps"
        do = f"go on from its last step with --load-dir {path.parent}, or give another --timestamp"
        raise FileExistsError(problem(config.get_base_dir(), expected, got, do))


def follow_checkpoint(config: TrainerConfig) -> None:
    """Names what the run was made with that this one goes on from, see `name_sources`."""
    found = {} if config.load_dir is None else checkpoints_of(config.load_dir)
    newest = next(iter(found.values()), None)
    name_sources(config, newest if config.load_step is None else found.get(config.load_step))
    if config.load_dir is None:
        name_sources(config, config.load_checkpoint)


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
    if not file.is_file():
        return
    before = read_config(file)
    if not isinstance(before, TrainerConfig):
        return
    meant, ours = started_in(before, file.parent) / data_of(before), data_of(config)
    if meant.exists() and ours.exists() and not meant.samefile(ours):
        do = f"pass --data {meant}, or --load-checkpoint FILE instead of --load-dir to go on with other data"
        raise ValueError(problem("data", f"{meant}, on which {file.parent} was trained", ours.absolute(), do))


def take_back(folder: Path, output: Path) -> None:
    """Removes a run's folder, and those around it within `output` that are empty then, if nothing lies in it but what
    is written before the first step."""
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
