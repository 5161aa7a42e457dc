"""One run of each method, trained by ns-train once for all tests of the official commands."""

import os
from pathlib import Path

import pytest
from official import PROGRAMS, succeed, train_arguments
from tiny import TINTS, save_kl, write_ball

from latent_nerfstudio.cli.link_ffmpeg import link_ffmpeg


@pytest.fixture(scope="session")
def two_balls(tmp_path_factory):
    """Folder of the scenes blue and red: balls, twelve views of 32 x 32, of which two are held out."""
    folder = tmp_path_factory.mktemp("two") / "balls"
    write_ball(folder / "blue", TINTS[2], views=12, seed=1)
    write_ball(folder / "red", TINTS[0], views=12, seed=2)
    return folder


@pytest.fixture(scope="session")
def random_autoencoder(tmp_path_factory):
    """Folder of an AutoencoderKL with random weights, factor 8 and 4 channels."""
    return save_kl(tmp_path_factory.mktemp("autoencoder"), levels=4)


@pytest.fixture(scope="session")
def latent_training(tmp_path_factory, two_balls, random_autoencoder):
    """Output and run folder of a latent-triplane run of 12 steps, 6 of each stage, in a fresh home without network."""
    output = tmp_path_factory.mktemp("latent_run")
    more = ["--pipeline.rgb-alignment-start", 6, "--pipeline.model.autoencoder.source", random_autoencoder]
    arguments = train_arguments("latent-triplane", two_balls, output, 12, *more)
    home = tmp_path_factory.mktemp("fresh_home")
    return succeed("ns-train", *arguments, home=home), output / "balls" / "latent-triplane" / "run"


@pytest.fixture(scope="session")
def latent_run(latent_training) -> Path:
    """config.yml of the latent-triplane run."""
    return latent_training[1] / "config.yml"


@pytest.fixture(scope="session")
def rgb_run(tmp_path_factory, two_balls) -> Path:
    """config.yml of a triplane run of 100 steps, after which the balls show their colours."""
    output = tmp_path_factory.mktemp("rgb_run")
    succeed("ns-train", *train_arguments("triplane", two_balls, output, 100))
    return output / "balls" / "triplane" / "run" / "config.yml"


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """An ffmpeg on PATH: imageio-ffmpeg's, as `lns link-ffmpeg` provides it."""
    link_ffmpeg(tmp_path / "ffmpeg")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), str(PROGRAMS), os.environ["PATH"]]))
