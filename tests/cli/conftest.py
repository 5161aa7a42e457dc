"""One run of each method, trained once for all tests of the official commands, on however many workers."""

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from filelock import FileLock
from official import PROGRAMS, succeed, train, train_arguments
from tiny import TINTS, save_kl, write_ball

from latent_nerfstudio.cli.videos import link_ffmpeg


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id) -> Callable[[str, Callable[[Path], Any]], Path]:
    """Makes a folder by name once for all of pytest-xdist's workers; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def make_once(name: str, make: Callable[[Path], Any]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def two_balls(once) -> Path:
    """Folder of the scenes blue and red: balls, twelve views of 32 x 32, of which two are held out."""

    def make(folder: Path) -> None:
        write_ball(folder / "blue", TINTS[2], views=12, seed=1)
        write_ball(folder / "red", TINTS[0], views=12, seed=2)

    return once("two_balls", make)


@pytest.fixture(scope="session")
def random_autoencoder(once) -> Path:
    """Folder of an AutoencoderKL with random weights, factor 8 and 4 channels."""
    return once("random_autoencoder", lambda folder: save_kl(folder, levels=4))


@pytest.fixture(scope="session")
def latent_training(once, two_balls, random_autoencoder):
    """Output and run folder of a latent-triplane run of 12 steps, 6 of each stage, in a fresh home without network."""
    more = ["--pipeline.rgb-alignment-start", 6, "--pipeline.model.autoencoder.source", random_autoencoder]

    def make(folder: Path) -> None:
        (folder / "home").mkdir()
        arguments = train_arguments("latent-triplane", two_balls, folder, 12, *more)
        (folder / "log.txt").write_text(succeed("ns-train", *arguments, home=folder / "home"), encoding="utf-8")

    folder = once("latent_training", make)
    return (folder / "log.txt").read_text(encoding="utf-8"), folder / "balls" / "latent-triplane" / "run"


@pytest.fixture(scope="session")
def latent_run(latent_training) -> Path:
    """config.yml of the latent-triplane run."""
    return latent_training[1] / "config.yml"


@pytest.fixture(scope="session")
def rgb_run(once, two_balls) -> Path:
    """config.yml of a triplane run of 100 steps, after which the balls show their colours."""
    folder = once("rgb_run", lambda path: train(*train_arguments("triplane", two_balls, path, 100)))
    return folder / "balls" / "triplane" / "run" / "config.yml"


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """An ffmpeg on PATH: imageio-ffmpeg's, as `lns link-ffmpeg` provides it."""
    link_ffmpeg(tmp_path / "ffmpeg")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), str(PROGRAMS), os.environ["PATH"]]))
