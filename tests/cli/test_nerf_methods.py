"""The other NeRFs, Nerfstudio's own among them, by the official commands on one small scene."""

import json

import numpy as np
import pytest
import torch
from official import checkpoints, evaluated, train, train_arguments, train_config
from PIL import Image
from tiny import TINTS, write_ball

SIZES = {
    "nerfacto": "--num-levels 3 --max-res 16 --log2-hashmap-size 10 --num-nerf-samples-per-ray 8 "
    "--num-proposal-samples-per-ray 12 8 --proposal-weights-anneal-max-num-iters 4",
    "tensorf": "--init-resolution 6 --final-resolution 12 --upsampling-iters 2 8 --num-uniform-samples 12 "
    "--num-samples 8",
    "vanilla-nerf": "--hidden-layers 2 --hidden-width 16 --num-coarse-samples 8 --num-importance-samples 6",
    "instant-ngp": "--num-levels 4 --max-res 32 --log2-hashmap-size 10 --grid-resolution 12 --steps-across-box 32",
    "rgb-kplanes": "--field.resolution 8 --field.features 4 --proposal-resolutions 8 --num-proposal-samples 12 "
    "--num-samples 8",
}
"""Flags of the NeRF inside that make a step take milliseconds."""

GROUPS = {
    "latent-nerfacto": {"fields", "proposal_networks", "decoder"},
    "latent-tensorf": {"fields", "encodings", "decoder"},
    "latent-vanilla-nerf": {"fields", "decoder"},
    "latent-instant-ngp": {"fields", "decoder"},
    "latent-kplanes": {"planes", "mlp", "proposal_networks", "decoder"},
    "rgb-kplanes": {"planes", "mlp", "proposal_networks"},
}
"""Parameter groups of each method's checkpoints."""


@pytest.fixture(scope="session")
def ball(once):
    """A scene of one ball, twelve views of 32 x 32, of which two are held out."""
    return once("one_blue_ball", lambda folder: write_ball(folder / "blue", TINTS[2], views=12, seed=1)) / "blue"


def arguments(method, data, output, steps, *more):
    """Arguments of ns-train for a small run at output/balls/METHOD/run."""
    sizes = SIZES.get(method.removeprefix("latent-"), "").replace("--", "--pipeline.model.nerf.").split()
    return train_arguments(method, data, output, steps, *sizes, *more, is_plane=False)


@pytest.mark.parametrize("method", [name for name in GROUPS if name.startswith("latent")])
def test_a_run_of_both_stages_evaluates(method, ball, random_autoencoder, tmp_path):
    more = ["--pipeline.rgb-alignment-start", 3, "--pipeline.model.autoencoder.source", random_autoencoder]
    run = train(*arguments(method, ball, tmp_path, 6, *more))
    (checkpoint,) = (run.parent / "nerfstudio_models").iterdir()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    assert set(state["optimizers"]) == GROUPS[method]
    assert not [name for name in state["pipeline"] if "lpips" in name or ".vae.encoder." in name]
    assert json.loads((run.parent / "training.json").read_text())["bytes_per_scene"] > 1000
    evaluation = evaluated(run, tmp_path / "eval.json")
    assert evaluation["method_name"] == method
    assert all(np.isfinite(evaluation["results"][name]) for name in ("psnr", "ssim", "latent_psnr", "autoencoder_psnr"))


def test_kplanes_learns_colours(ball, tmp_path):
    run = train(*arguments("rgb-kplanes", ball, tmp_path, 80))
    (path,) = (run.parent / "nerfstudio_models").iterdir()
    assert set(torch.load(path, weights_only=True)["optimizers"]) == GROUPS["rgb-kplanes"]
    sheet = np.asarray(Image.open(run.parent / "contact_sheet.png").convert("RGB")).astype(float)
    assert sheet.std() > 10
    assert evaluated(run, tmp_path / "eval.json")["results"]["psnr"] > 20


def test_splatfacto_is_configured_without_cuda():
    config = train_config("latent-splatfacto", "--pipeline.model.nerf.num-random", 123)
    assert config.pipeline.model.nerf.num_random == 123
    assert set(config.optimizers) == {"means", "scales", "quats", "features", "opacities", "decoder"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_splatfacto_trains_and_resumes_on_cuda(ball, random_autoencoder, tmp_path):
    more = ["--pipeline.rgb-alignment-start", 20, "--pipeline.model.autoencoder.source", random_autoencoder]
    more += ["--machine.device-type", "cuda", "--pipeline.model.nerf.num-random", 500]
    more += ["--pipeline.model.nerf.warmup-length", 5, "--pipeline.model.nerf.refine-every", 5]
    run = train(*arguments("latent-splatfacto", ball, tmp_path, 40, *more))
    resume = ["--load-dir", run.parent / "nerfstudio_models"]
    train(*arguments("latent-splatfacto", ball, tmp_path / "more", 44, *more, *resume))
    assert checkpoints(tmp_path / "more") == ["step-000000043.ckpt"]
