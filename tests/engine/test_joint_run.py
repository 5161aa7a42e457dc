"""A run of `ig-ae`: what it writes, resuming it in either stage, accumulated gradients, numbers that are none."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny import joint_config_of

from latent_nerfstudio.engine.schedulers import stage_factor
from latent_nerfstudio.method_configs.igae import RATES, ig_ae
from latent_nerfstudio.models.shared_bundle import read_shared_bundle

START = 4
"""First step of joint training in these tests."""


def trainer_of(data, source, out, steps=7, pipeline=None, **settings):
    """The official method, on a small pipeline of the same random planes each time."""
    torch.manual_seed(0)
    own = {"experiment_name": "balls", "timestamp": "now", "output_dir": out, "vis": "tensorboard"}
    own |= {"max_num_iterations": steps, "steps_per_save": 1000, **settings}
    own["pipeline"] = joint_config_of(data, source, **{"joint_training_start": START, **(pipeline or {})})
    config = replace(copy.deepcopy(ig_ae.config), **own)
    config.machine.device_type = "cpu"
    trainer = config.setup()
    trainer.setup()
    return trainer


def encoder_of(vae):
    """Copies of an encoder's tensors by name."""
    state = vae.state_dict()
    return {name: value.clone() for name, value in state.items() if name.startswith(("encoder.", "quant_conv."))}


def equal(states, others):
    return states.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in states.items())


@pytest.fixture(scope="module")
def run(balls, kl, tmp_path_factory):
    """A finished run of seven steps, three of them of joint training, that saved a checkpoint on its way."""
    settings = {"steps_per_save": 5, "steps_per_pictures": 3, "save_only_latest_checkpoint": False}
    trainer = trainer_of(balls, kl, tmp_path_factory.mktemp("joint"), **settings)
    trainer.train()
    return trainer


def test_a_run_writes_checkpoints_with_its_encoder_a_bundle_and_pictures(run):
    names = {path.name for path in run.base_dir.iterdir()}
    assert {"training.json", "contact_sheet.png", "shared_bundle", "autoencoder", "pictures", "metrics.jsonl"} <= names
    assert sorted(path.name for path in run.checkpoint_dir.iterdir()) == ["step-000000005.ckpt", "step-000000006.ckpt"]
    summary = json.loads((run.base_dir / "training.json").read_text())
    assert (summary["method"], summary["steps"], summary["alignment_start"]) == ("ig-ae", 7, START)
    for step in (3, 6):
        with Image.open(run.base_dir / "pictures" / f"step-{step:09d}.png") as sheet:
            assert sheet.size[1] > 3 * 32
    stored = torch.load(run.checkpoint_dir / "step-000000006.ckpt", weights_only=True)
    names = {name for name in stored["pipeline"] if ".vae.encoder." in name or ".vae.quant_conv." in name}
    assert len(names) == len(encoder_of(run.pipeline.space.autoencoder.vae))
    assert set(stored["optimizers"]) == {"planes", "shared_planes", "mlp", "decoder", "encoder"}


def test_metrics_of_the_way(run):
    """Of renders, of the autoencoder and of latents, and the gap between the first two."""
    lines = [json.loads(line) for line in (run.base_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    for line in lines:
        assert {"psnr", "ssim", "autoencoder_psnr", "latent_psnr", "gap"} <= set(line)
        assert all(math.isfinite(value) for value in line.values())
        assert line["gap"] == pytest.approx(line["autoencoder_psnr"] - line["psnr"])
    assert lines[0]["autoencoder_psnr"] != lines[1]["autoencoder_psnr"]  # the ceiling is the trained autoencoder's


def test_the_bundle_is_that_of_the_last_step(run):
    bundle, pipeline = read_shared_bundle(str(run.base_dir)), run.pipeline
    assert (bundle.step, bundle.num_scenes, bundle.facts["method"]) == (6, 3, "ig-ae")
    field, space = pipeline.model.nerf.field, pipeline.space
    assert torch.equal(bundle.tensors["field.base_planes"], field.base_planes)
    assert torch.equal(bundle.tensors["mean_scene_weights"], field.scene_weights.mean(dim=0))
    assert torch.equal(bundle.tensors["normalizer.std"], space.normalizer.std)
    with torch.no_grad():
        plain = space.encode(torch.ones(1, 64, 64, 3))[0]
    torch.testing.assert_close(bundle.tensors["background"], plain, atol=2e-3, rtol=0)


def test_schedules_know_where_joint_training_begins(run):
    for name, (warm_up, joint) in RATES.items():
        (factor,) = run.optimizers.schedulers[name].lr_lambdas
        expected = [stage_factor(step, START, 7, 20, 0.05, joint / warm_up) for step in range(7)]
        assert [factor(step) for step in range(7)] == expected
        assert run.optimizers.optimizers[name].defaults["lr"] == warm_up


def test_gradients_of_two_steps_move_the_encoder_once(balls, kl, tmp_path, monkeypatch):
    """Not after the first of them, and not in the warm-up, where it has no gradient at all."""
    accumulation = {"encoder": 2, "decoder": 2}
    trainer = trainer_of(balls, kl, tmp_path, START + 4, gradient_accumulation_steps=accumulation)
    encoders, gradients = [], []
    iterate, encoder = trainer.train_iteration, trainer.pipeline.space.autoencoder.encoder_parameters()

    def watched(step):
        result = iterate(step)
        encoders.append(encoder_of(trainer.pipeline.space.autoencoder.vae))
        gradients.append([None if p.grad is None else p.grad.clone() for p in encoder])
        return result

    monkeypatch.setattr(trainer, "train_iteration", watched)
    trainer.train()
    moved = [not equal(before, after) for before, after in zip(encoders, encoders[1:], strict=False)]
    assert moved == [False] * START + [True, False, True][: len(moved) - START]
    assert all(gradient is None for gradient in gradients[START - 1])


def test_a_parameter_that_is_no_number_is_never_saved(balls, kl, tmp_path, monkeypatch):
    trainer = trainer_of(balls, kl, tmp_path, steps_per_save=5)
    trainer.train()
    kept = {path: path.read_bytes() for path in trainer.checkpoint_dir.iterdir()}
    bundle = read_shared_bundle(str(trainer.base_dir)).hash
    with torch.no_grad():
        trainer.pipeline.model.nerf.field.base_planes[1, 0, 0, 3, 3] = math.nan
    with pytest.raises(FloatingPointError, match=r"parameter _model.nerf.field.base_planes at step 7: expected finite"):
        trainer.save_checkpoint(7)
    assert {path: path.read_bytes() for path in trainer.checkpoint_dir.iterdir()} == kept
    assert read_shared_bundle(str(trainer.base_dir)).hash == bundle
