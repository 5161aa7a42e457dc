"""ns-train, and what follows it, of K-Planes, Instant-NGP and Splatfacto on one small scene."""

import json

import numpy as np
import pytest
import torch
from official import checkpoints, train, train_config
from PIL import Image
from tiny import TINTS, write_ball

SMALL = {
    "rgb-kplanes": [
        *("--pipeline.model.nerf.field.resolution", 8, "--pipeline.model.nerf.field.features", 4),
        *("--pipeline.model.nerf.proposal-resolutions", 8, "--pipeline.model.nerf.num-proposal-samples", 12),
        *("--pipeline.model.nerf.num-samples", 8),
    ],
    "instant-ngp": [
        *("--pipeline.model.nerf.num-levels", 4, "--pipeline.model.nerf.max-res", 32),
        *("--pipeline.model.nerf.log2-hashmap-size", 10, "--pipeline.model.nerf.grid-resolution", 12),
        *("--pipeline.model.nerf.steps-across-box", 32),
    ],
}
"""Flags that make a NeRF small."""

GROUPS = {
    "latent-kplanes": {"planes", "mlp", "proposal_networks", "decoder"},
    "rgb-kplanes": {"planes", "mlp", "proposal_networks"},
    "latent-instant-ngp": {"fields", "decoder"},
}
"""Parameter groups of each method's checkpoints."""


@pytest.fixture(scope="session")
def ball(once):
    """A scene of one ball, twelve views of 32 x 32, of which two are held out."""
    return once("one_blue_ball", lambda folder: write_ball(folder / "blue", TINTS[2], views=12, seed=1)) / "blue"


def arguments(method, data, output, steps, *more):
    """Arguments of ns-train for a run at output/ball/METHOD/run."""
    return [
        *(method, "--output-dir", str(output), "--experiment-name", "ball", "--timestamp", "run"),
        *("--vis", "tensorboard", "--max-num-iterations", str(steps), "--machine.device-type", "cpu"),
        *("--pipeline.datamanager.rays-per-batch", "256", "--pipeline.datamanager.latent-cache", "memory"),
        *("--data", str(data), *SMALL.get(method.removeprefix("latent-"), []), *more),
    ]


@pytest.mark.parametrize("method", ["latent-kplanes", "latent-instant-ngp"])
def test_both_stages_and_evaluation(method, ball, random_autoencoder, tmp_path):
    from nerfstudio.scripts.eval import ComputePSNR

    more = ["--pipeline.rgb-alignment-start", 3, "--pipeline.model.autoencoder.source", random_autoencoder]
    run = train(*arguments(method, ball, tmp_path, 6, *more))
    state = torch.load(run.parent / "nerfstudio_models" / "step-000000005.ckpt", weights_only=True)
    assert set(state["optimizers"]) == GROUPS[method]
    assert json.loads((run.parent / "training.json").read_text())["bytes_per_scene"] > 0
    ComputePSNR(run, tmp_path / "eval.json").main()
    results = json.loads((tmp_path / "eval.json").read_text())["results"]
    assert all(np.isfinite(results[name]) for name in ("psnr", "ssim", "latent_psnr", "autoencoder_psnr"))


def test_kplanes_learns_colours(ball, tmp_path):
    run = train(*arguments("rgb-kplanes", ball, tmp_path, 80))
    (path,) = (run.parent / "nerfstudio_models").iterdir()
    assert set(torch.load(path, weights_only=True)["optimizers"]) == GROUPS["rgb-kplanes"]
    sheet = np.asarray(Image.open(run.parent / "contact_sheet.png").convert("RGB")).astype(float)
    assert sheet.std() > 10

    from nerfstudio.scripts.eval import ComputePSNR

    ComputePSNR(run, tmp_path / "eval.json").main()
    assert json.loads((tmp_path / "eval.json").read_text())["results"]["psnr"] > 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_splatfacto_says_what_it_needs_before_any_work(tmp_path):
    needs = "latent-splatfacto: expected a CUDA device, which gsplat's rasteriser needs, got none; use latent-nerfacto"
    with pytest.raises(RuntimeError, match=needs):
        train(*arguments("latent-splatfacto", tmp_path / "no_data", tmp_path, 2))
    assert checkpoints(tmp_path) == []


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
