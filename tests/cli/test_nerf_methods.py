"""Nerfstudio's own models in the latent space, by the official commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from official import train
from PIL import Image
from tiny import TINTS, write_ball

SIZES = {
    "latent-nerfacto": "--num-levels 3 --max-res 16 --log2-hashmap-size 10 --num-nerf-samples-per-ray 8 "
    "--num-proposal-samples-per-ray 12 8 --proposal-weights-anneal-max-num-iters 4",
    "latent-tensorf": "--init-resolution 6 --final-resolution 12 --upsampling-iters 2 8 --num-uniform-samples 12 "
    "--num-samples 8",
    "latent-vanilla-nerf": "--hidden-layers 2 --hidden-width 16 --num-coarse-samples 8 --num-importance-samples 6",
}
"""Flags of the NeRF inside that make a step take milliseconds."""

METHODS = pytest.mark.parametrize("method", list(SIZES))


@pytest.fixture(scope="module")
def ball(once) -> Path:
    """A scene of twelve views of 32 x 32, of which two are held out."""
    return once("one_ball", lambda folder: write_ball(folder / "ball", TINTS[0], views=12, seed=2)) / "ball"


def arguments(method, data, autoencoder, output, steps, *more):
    """Arguments of ns-train for a run at output/ball/METHOD/run, whose second stage begins at step 6."""
    flags = [flag.replace("--", "--pipeline.model.nerf.") for flag in SIZES[method].split()]
    return [
        *(method, "--output-dir", output, "--experiment-name", "ball", "--timestamp", "run", "--vis", "tensorboard"),
        *("--max-num-iterations", steps, "--machine.device-type", "cpu", "--pipeline.rgb-alignment-start", 6),
        *("--pipeline.datamanager.rays-per-batch", 128, "--pipeline.datamanager.latent-cache", "memory"),
        *("--pipeline.model.autoencoder.source", autoencoder, *flags, *more, "--data", data),
    ]


@pytest.fixture(scope="module")
def runs(once, ball, random_autoencoder):
    """config.yml of a run of ten steps of a method, five of each stage."""

    def run_of(method: str) -> Path:
        folder = once(f"run_{method}", lambda path: train(*arguments(method, ball, random_autoencoder, path, 10)))
        return folder / "ball" / method / "run" / "config.yml"

    return run_of


@METHODS
def test_training_leaves_a_run_that_evaluates_and_renders(method, runs, ffmpeg, tmp_path):
    from nerfstudio.scripts.eval import ComputePSNR
    from nerfstudio.scripts.render import DatasetRender

    run = runs(method)
    (checkpoint,) = (run.parent / "nerfstudio_models").iterdir()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    assert not [name for name in state["pipeline"] if "lpips" in name or ".vae.encoder." in name]
    assert json.loads((run.parent / "training.json").read_text())["bytes_per_scene"] > 1000
    ComputePSNR(run, tmp_path / "eval.json").main()
    evaluation = json.loads((tmp_path / "eval.json").read_text())
    assert evaluation["method_name"] == method
    assert all(np.isfinite(evaluation["results"][name]) for name in ("psnr", "ssim", "latent_psnr", "autoencoder_psnr"))
    DatasetRender(load_config=run, output_path=tmp_path / "views", image_format="png").main()
    split = tmp_path / "views" / "test"
    assert {path.name for path in split.iterdir()} == {"gt-rgb", "rgb", "latent", "depth", "accumulation"}
    pictures = [np.asarray(Image.open(path)) for path in sorted(split.rglob("*.png"))]
    assert {picture.shape[:2] for picture in pictures} == {(32, 32)}


def test_a_folder_of_many_scenes_is_refused(two_balls, random_autoencoder, tmp_path):
    with pytest.raises(ValueError, match=r"scenes: expected one scene, got 2 \(blue, red\); .* `scenes --scenes NAME`"):
        train(*arguments("latent-nerfacto", two_balls, random_autoencoder, tmp_path, 2))
    run = train(*arguments("latent-nerfacto", two_balls, random_autoencoder, tmp_path, 2), "scenes", "--scenes", "red")
    assert json.loads((run.parent / "training.json").read_text())["scenes"] == ["red"]
