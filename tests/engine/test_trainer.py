"""The run: schedules, resuming, and what is written beside config.yml."""

import json

import pytest
import torch
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from tiny import pipeline_config_of

from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig, stage_factor
from latent_nerfstudio.engine.trainer import LatentTrainerConfig

GROUPS = ("planes", "shared_planes", "mlp", "decoder")


def trainer_of(data, source, out, steps=6, optimizers=None, **settings):
    pipeline = settings.pop("pipeline", None) or {"rgb_alignment_start": 4}
    config = LatentTrainerConfig(
        method_name="tiny",
        experiment_name="balls",
        timestamp="now",
        output_dir=out,
        max_num_iterations=steps,
        steps_per_save=1000,
        steps_per_eval_batch=3,
        steps_per_eval_image=1000,
        steps_per_eval_all_images=1000,
        pipeline=pipeline_config_of(data, source, **pipeline),
        optimizers=optimizers
        or {g: {"optimizer": AdamOptimizerConfig(lr=0.01), "scheduler": StagedSchedulerConfig()} for g in GROUPS},
        viewer=ViewerConfig(),
        vis="tensorboard",
        **settings,
    )
    config.machine.device_type = "cpu"
    trainer = config.setup()
    trainer.setup()
    return trainer


def summary_of(trainer):
    return json.loads((trainer.base_dir / "training.json").read_text())


@pytest.fixture
def steps_of(monkeypatch):
    """Makes a trainer list the steps that it takes."""

    def listen(trainer):
        steps, iterate = [], trainer.train_iteration
        monkeypatch.setattr(trainer, "train_iteration", lambda step: (steps.append(step), iterate(step))[1])
        return steps

    return listen


def test_a_run_and_its_continuation(balls, kl, tmp_path, steps_of):
    first = trainer_of(balls, kl, tmp_path / "first")
    steps = steps_of(first)
    first.train()
    assert steps == [0, 1, 2, 3, 4, 5]
    assert [path.name for path in first.checkpoint_dir.iterdir()] == ["step-000000005.ckpt"]
    summary = summary_of(first)
    assert (summary["method"], summary["steps"], summary["steps_of_this_process"]) == ("tiny", 6, 6)
    assert summary["scenes"] == ["a", "b", "c"] and summary["seconds"] > 0 and summary["device"] == "cpu"
    assert summary["bytes_per_scene"] == 4 * 3 * 4 * 8 * 8
    assert (first.base_dir / "contact_sheet.png").is_file()

    second = trainer_of(balls, kl, tmp_path / "second", steps=9, load_dir=first.checkpoint_dir)
    for name, value in first.pipeline.state_dict().items():
        assert torch.equal(second.pipeline.state_dict()[name], value), name
    steps = steps_of(second)
    second.train()
    assert steps == [6, 7, 8]
    assert [path.name for path in second.checkpoint_dir.iterdir()] == ["step-000000008.ckpt"]
    summary = summary_of(second)
    assert (summary["steps"], summary["steps_of_this_process"]) == (9, 3)
    rate = second.optimizers.optimizers["planes"].param_groups[0]["lr"]
    assert rate == pytest.approx(0.01 * stage_factor(9, 4, 9, 20, 0.05, 1.0))

    with pytest.raises(ValueError, match="max_num_iterations: expected more than the 9 steps of the loaded .* got 9"):
        trainer_of(balls, kl, tmp_path / "third", steps=9, load_dir=second.checkpoint_dir)


def test_a_resumed_run_is_the_run_that_was_not_stopped(balls, kl, tmp_path):
    """But for the jitter of samples, which is switched off."""

    def still(trainer):
        trainer.pipeline.latent_model.nerf.sampler.train_stratified = False
        trainer.train()
        return trainer

    schedule = {g: {"optimizer": AdamOptimizerConfig(lr=0.01), "scheduler": None} for g in GROUPS}
    torch.manual_seed(0)
    whole = still(trainer_of(balls, kl, tmp_path / "whole", steps=6, optimizers=schedule))
    torch.manual_seed(0)
    part = still(trainer_of(balls, kl, tmp_path / "part", steps=3, optimizers=schedule))
    rest = still(trainer_of(balls, kl, tmp_path / "rest", steps=6, optimizers=schedule, load_dir=part.checkpoint_dir))
    for name, value in whole.pipeline.state_dict().items():
        torch.testing.assert_close(rest.pipeline.state_dict()[name], value, msg=name)


def test_schedules_learn_where_the_stages_end(balls, kl, tmp_path):
    trainer = trainer_of(balls, kl, tmp_path, steps=50, pipeline={"rgb_alignment_start": 30})
    for name in ("planes", "mlp", "decoder"):
        (factor,) = trainer.optimizers.schedulers[name].lr_lambdas
        assert [factor(step) for step in (0, 29, 30, 49)] == [
            stage_factor(step, 30, 50, 20, 0.05, 1.0) for step in (0, 29, 30, 49)
        ]
    assert trainer.config.optimizers["planes"]["scheduler"].max_steps is None
    assert sorted(trainer.optimizers.optimizers) == ["decoder", "mlp", "planes"]


def test_schedules_with_ends_of_their_own(balls, kl, tmp_path):
    schedule = StagedSchedulerConfig(max_steps=40, alignment_start=10)
    optimizers = {g: {"optimizer": AdamOptimizerConfig(lr=0.01), "scheduler": schedule} for g in GROUPS}
    trainer = trainer_of(balls, kl, tmp_path, steps=50, optimizers=optimizers)
    (factor,) = trainer.optimizers.schedulers["mlp"].lr_lambdas
    assert factor(10) == stage_factor(10, 10, 40, 20, 0.05, 1.0)


def test_a_run_without_alignment_or_contact_sheet(balls, tmp_path, capsys):
    pipeline = {"rgb_alignment_start": None}
    trainer = trainer_of(balls, "identity", tmp_path, steps=2, contact_sheet=False, pipeline=pipeline)
    trainer.train()
    assert summary_of(trainer)["steps"] == 2 and not (trainer.base_dir / "contact_sheet.png").exists()
    assert "latent supervision  1/2" in capsys.readouterr().out
