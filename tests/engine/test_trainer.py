"""The run: schedules, resuming, and what is written beside config.yml."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from small_runs import GROUPS, run_config
from tiny import pipeline_config_of, spoil_latents, write_ball

from latent_nerfstudio.engine import progress as progress_module
from latent_nerfstudio.engine import trainer as trainer_module
from latent_nerfstudio.engine.progress import Clock, Progress
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig, stage_factor
from latent_nerfstudio.models.shared_bundle import read_shared_bundle


def trainer_of(data, source, out, steps=6, pipeline=None, **settings):
    pipeline = pipeline_config_of(data, source, **(pipeline or {"rgb_alignment_start": 4}))
    trainer = run_config(pipeline, out, steps, **settings).setup()
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
    first = run_with_seconds(balls, kl, tmp_path)
    steps = steps_of(first)
    first.train()
    assert steps == [0, 1, 2, 3, 4, 5]
    assert [path.name for path in first.checkpoint_dir.iterdir()] == ["step-000000005.ckpt"]
    summary = summary_of(first)
    assert (summary["method"], summary["steps"]) == ("tiny", 6)
    assert summary["scenes"] == ["a", "b", "c"] and summary["device"] == "cpu"
    assert summary["bytes_per_scene"] == 4 * 3 * 4 * 8 * 8
    assert (first.base_dir / "contact_sheet.png").is_file()
    spent = summary["seconds"]
    assert spent > SPENT and float(seconds_of(first)) == pytest.approx(spent, abs=0.01)

    more = {"write_bundle": True, "steps_per_pictures": 3, "load_dir": first.checkpoint_dir}
    second = trainer_of(balls, kl, tmp_path, steps=9, **more)
    for name, value in first.pipeline.state_dict().items():
        assert torch.equal(second.pipeline.state_dict()[name], value), name
    steps = steps_of(second)
    second.train()
    assert steps == [6, 7, 8]
    assert [path.name for path in second.checkpoint_dir.iterdir()] == ["step-000000008.ckpt"]
    summary = summary_of(second)
    assert summary["steps"] == 9 and spent < summary["seconds"] < spent + SPENT / 2
    assert summary["seconds_per_scene"] == pytest.approx(summary["seconds"] / 3, abs=0.01)
    assert read_shared_bundle(str(second.base_dir)).facts["seconds"] == summary["seconds"]
    (row,) = map(json.loads, (second.base_dir / "metrics.jsonl").read_text().splitlines())
    assert spent < row["seconds"] <= summary["seconds"]
    rate = second.optimizers.optimizers["planes"].param_groups[0]["lr"]
    assert rate == pytest.approx(0.01 * stage_factor(9, 4, 9, 20, 0.05, 1.0))

    with pytest.raises(ValueError, match="max_num_iterations: expected more than the 9 steps of the loaded .* got 9"):
        trainer_of(balls, kl, tmp_path / "third", steps=9, load_dir=second.checkpoint_dir)


def test_schedules_learn_where_the_stages_end(balls, kl, tmp_path):
    """Unless they have ends of their own, as the MLP's here."""
    optimizers = {name: {"optimizer": AdamOptimizerConfig(), "scheduler": StagedSchedulerConfig()} for name in GROUPS}
    optimizers["mlp"]["scheduler"] = StagedSchedulerConfig(max_steps=40, alignment_start=10)
    alignment = {"rgb_alignment_start": 30}
    trainer = trainer_of(balls, kl, tmp_path, steps=50, optimizers=optimizers, pipeline=alignment)
    for name, start, end in (("planes", 30, 50), ("mlp", 10, 40), ("decoder", 30, 50)):
        (factor,) = trainer.optimizers.schedulers[name].lr_lambdas
        for step in (0, 10, 29, 30, 49):
            assert factor(step) == stage_factor(step, start, end, 20, 0.05, 1.0)
    assert trainer.config.optimizers["planes"]["scheduler"].max_steps is None
    assert sorted(trainer.optimizers.optimizers) == ["decoder", "mlp", "planes"]


class Killed(BaseException):
    """What `kill -9` is to a process."""


BEFORE_THE_SHEET, BEFORE_THE_SUMMARY = "write_contact_sheet", "write_text"


def killed(monkeypatch, place, trainer):
    """Trains, and is killed where it calls a function of the trainer's module."""

    def kill(*arguments):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trainer_module, place, kill)
        trainer.train()


def contents_of(folder):
    """Bytes of checkpoint, bundle and contact sheet by path."""
    names = ("nerfstudio_models/*", "shared_bundle/*", "contact_sheet.png")
    return {path: path.read_bytes() for name in names for path in folder.glob(name) if path.is_file()}


@pytest.mark.parametrize("place", [BEFORE_THE_SHEET, BEFORE_THE_SUMMARY])
def test_what_the_end_of_a_killed_run_has_not_written_is_written_without_a_step(
    place, balls, kl, tmp_path, monkeypatch, steps_of
):
    whole = trainer_of(balls, kl, tmp_path / "whole", write_bundle=True)
    whole.train()
    torch.manual_seed(0)
    first = run_with_seconds(balls, kl, tmp_path / "run", write_bundle=True)
    killed(monkeypatch, place, first)
    folder, before = first.base_dir, contents_of(first.base_dir)
    (last,), spent = first.checkpoint_dir.iterdir(), float(seconds_of(first))
    shutil.copy(last, last.with_name("step-000000003.ckpt"))  # which it had still to remove
    assert (folder / "contact_sheet.png").is_file() == (place == BEFORE_THE_SUMMARY)
    assert not (folder / "training.json").exists() and len(before) >= 3

    second = trainer_of(balls, kl, tmp_path / "run", write_bundle=True, load_dir=first.checkpoint_dir)
    steps = steps_of(second)
    second.train()
    assert steps == [] and list(first.checkpoint_dir.iterdir()) == [last]
    expected, summary = summary_of(whole), summary_of(second)
    assert spent > SPENT and summary["seconds"] == pytest.approx(spent, abs=0.01)
    timed = ("seconds", "seconds_per_scene")
    assert {k: v for k, v in summary.items() if k not in timed} == {k: v for k, v in expected.items() if k not in timed}
    after = contents_of(folder)
    assert {path: after[path] for path in before} == before
    assert (folder / "contact_sheet.png").read_bytes() == (whole.base_dir / "contact_sheet.png").read_bytes()

    with pytest.raises(ValueError, match="expected more than the 6 steps of the loaded checkpoint, got 6; raise"):
        trainer_of(balls, kl, tmp_path / "run", write_bundle=True, load_dir=first.checkpoint_dir)


def test_scenes_end_at_their_own_box_but_for_those_of_a_bundle(kl, tmp_path):
    """A later scene of the bundle may have no box, and what it shares must be empty all around it."""
    write_ball(tmp_path / "data" / "a")
    write_ball(tmp_path / "data" / "b", aabb=[[-0.5] * 3, [0.5] * 3])
    usual = trainer_of(tmp_path / "data", kl, tmp_path / "usual").pipeline.model
    assert [placement.box for placement in usual.placements] == [None, ((-0.5,) * 3, (0.5,) * 3)]
    handed_on = trainer_of(tmp_path / "data", kl, tmp_path / "handed_on", write_bundle=True).pipeline.model
    assert [placement.box for placement in handed_on.placements] == [None, None]


def test_a_bundle_that_is_asked_for_later_is_written_without_a_step(balls, kl, tmp_path, steps_of):
    """Contact sheet and summary stay as they are."""
    first = trainer_of(balls, kl, tmp_path)
    first.train()
    kept = {name: (first.base_dir / name).read_bytes() for name in ("training.json", "contact_sheet.png")}
    second = trainer_of(balls, kl, tmp_path, write_bundle=True, load_dir=first.checkpoint_dir)
    steps = steps_of(second)
    second.train()
    bundle = read_shared_bundle(str(first.base_dir))
    assert steps == [] and (bundle.step, bundle.facts["seconds"]) == (5, summary_of(first)["seconds"])
    assert {name: (first.base_dir / name).read_bytes() for name in kept} == kept


def test_the_summary_of_a_run_that_went_on_and_was_killed_is_not_that_of_its_first_part(
    balls, kl, tmp_path, monkeypatch, steps_of
):
    first = trainer_of(balls, kl, tmp_path, steps=3)
    first.train()
    killed(monkeypatch, BEFORE_THE_SUMMARY, trainer_of(balls, kl, tmp_path, steps=5, load_dir=first.checkpoint_dir))
    assert not (first.base_dir / "training.json").exists()
    third = trainer_of(balls, kl, tmp_path, steps=5, load_dir=first.checkpoint_dir)
    steps = steps_of(third)
    third.train()
    assert steps == [] and summary_of(third)["steps"] == 5
    assert [path.name for path in third.checkpoint_dir.iterdir()] == ["step-000000004.ckpt"]


SPENT = 1000.0
"""Seconds that a run has on its clock before its first step here; its few steps take far less."""


def run_with_seconds(data, source, out, **settings):
    """A run that has made its steps in a long time."""
    trainer = trainer_of(data, source, out, **settings)
    trainer.clock.before = SPENT
    return trainer


def seconds_of(trainer):
    return torch.load(next(trainer.checkpoint_dir.iterdir()), weights_only=True)["pipeline"]["training_seconds"]


def test_evaluation_and_pictures_are_no_training(balls, tmp_path, monkeypatch, capsys):
    """Each takes a minute on a clock of our own, and a step a second."""
    now = [0.0]
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    trainer = trainer_of(balls, "identity", tmp_path, steps=4, steps_per_pictures=2, contact_sheet=False)

    def takes(seconds, function):
        def slow(*arguments, **settings):
            now[0] += seconds
            return function(*arguments, **settings)

        return slow

    for name in ("get_eval_loss_dict", "get_average_eval_image_metrics", "get_eval_image_metrics_and_images"):
        monkeypatch.setattr(trainer.pipeline, name, takes(60, getattr(trainer.pipeline, name)))
    monkeypatch.setattr(trainer_module, "draw_views", takes(60, trainer_module.draw_views))
    monkeypatch.setattr(trainer.pipeline, "stage_losses", takes(1, trainer.pipeline.stage_losses))
    trainer.train()
    assert now[0] == 184 and summary_of(trainer)["seconds"] == 4
    assert "latent supervision  1/4" in capsys.readouterr().out
    assert not (trainer.base_dir / "contact_sheet.png").exists()  # without one


def test_the_time_that_is_left_is_told_by_the_pace_of_this_process(capsys):
    Progress(Clock(SPENT), start=3, end=9).update(3, "latent supervision", torch.tensor(0.0), {})
    assert " 0 s left" in capsys.readouterr().out


def test_a_scene_that_failed_has_failed_in_a_resumed_run(balls, tmp_path):
    frozen = {"train_base_planes": False, "train_mlp": False, "rgb_alignment_start": None}
    first = trainer_of(balls, "identity", tmp_path / "first", steps=2, pipeline=frozen)
    spoil_latents(first.pipeline, 1)
    first.train()
    assert summary_of(first)["failed"] == {"b": 0}
    kept = first.pipeline.model.nerf.field.micro_planes[1].clone()
    second = trainer_of(balls, "identity", tmp_path / "second", steps=4, pipeline=frozen, load_dir=first.checkpoint_dir)
    second.train()
    assert summary_of(second)["failed"] == {"b": 0}
    assert torch.equal(second.pipeline.model.nerf.field.micro_planes[1], kept)
