"""When scenes end: the rule against curves, the states, and what a checkpoint keeps of them."""

import pytest
import torch

from latent_nerfstudio.pipelines.scene_progress import (
    COOLING,
    FAILED,
    STOPPED,
    TRAINING,
    PlateauConfig,
    SceneProgress,
    judge,
)

INFINITY = float("inf")


def progress_of(count=2, **settings):
    settings = {"every": 10, "patience": 2, "tolerance": 0.5, "minimum_steps": 0, "cooldown": 4, **settings}
    progress = SceneProgress([f"scene {i}" for i in range(count)], PlateauConfig(**settings))
    progress.enter(0)
    return progress


def count(progress, scenes, times=1, together=False):
    for _ in range(times):
        progress.count(torch.tensor(scenes), 1.0, together)


def ends_at(curve, **settings):
    """Measurement after which a scene with a curve of PSNRs begins its cool-down, None if it never does."""
    progress = progress_of(1, **settings)
    for index, psnr in enumerate(curve):
        count(progress, [0], progress.config.every)
        progress.record(progress.due(), torch.tensor([psnr]), together=False)
        if int(progress.state[0]) == COOLING:
            return index
    return None


def test_the_rule_by_hand():
    best, stale = judge(
        torch.tensor([20.5, 20.4, 20.0, float("nan"), -5.0]),
        torch.tensor([20.0, 20.0, 20.0, 20.0, -INFINITY]),
        torch.tensor([3, 3, 3, 3, 0]),
        tolerance=0.5,
    )
    assert best.tolist() == [20.5, 20.0, 20.0, 20.0, -5.0] and stale.tolist() == [0, 4, 4, 4, 0]
    best, stale = judge(torch.tensor([20.0, 20.1]), torch.tensor([20.0, 20.0]), torch.tensor([0, 0]), tolerance=0.0)
    assert stale.tolist() == [1, 0]


def test_a_curve_ends_where_it_gains_no_more():
    """20 (1 - e^-k) gains less than 0.5 dB from the fifth measurement on: 20 e^-k (1 - e^-1) < 0.5 for k > 3.2."""
    curve = [20 * (1 - 2.718281828**-k) for k in range(20)]
    late = next(k for k in range(1, 20) if curve[k] - curve[k - 1] < 0.5)
    best = max(k for k in range(20) if all(curve[k] >= curve[j] + 0.5 for j in range(k)))
    assert late - 1 == best == 4
    assert ends_at(curve, patience=2) == best + 2
    assert ends_at(curve, patience=3) == best + 3


def test_slow_gains_add_up():
    """0.3 dB a measurement is a gain at every second one, which is less than a patience of two."""
    assert ends_at([20 + 0.3 * k for k in range(50)], patience=2) is None
    assert ends_at([20 + 0.3 * k for k in range(50)], patience=1) == 1


def test_noise_below_the_tolerance_is_no_gain():
    assert ends_at([20.0, 20.4, 20.2, 20.4], patience=2) == 2


def test_no_scene_ends_before_the_minimum():
    flat = [20.0] * 10
    assert ends_at(flat, patience=2) == 2
    assert ends_at(flat, patience=2, minimum_steps=60) == 5  # measured after 60 steps


def test_scenes_are_judged_alone_or_by_their_mean():
    falling, rising = 20.0 - torch.arange(6), 20.0 + 3 * torch.arange(6)
    alone, together = progress_of(), progress_of()
    for psnr in torch.stack([falling, rising], dim=1):
        for progress, are_together in ((alone, False), (together, True)):
            count(progress, [0, 1], 10, are_together)
            progress.record(progress.due(), psnr[progress.due()], are_together)
    assert alone.state.tolist() == [COOLING, TRAINING] and together.state.tolist() == [TRAINING, TRAINING]


def test_steps_are_those_of_the_scene():
    progress = progress_of(every=3)
    count(progress, [0], 2)
    count(progress, [0, 1])
    assert progress.due().tolist() == [0]
    assert progress.steps.tolist() == [3, 1] and progress.seconds.tolist() == [2.5, 0.5]


def test_the_rate_falls_in_a_straight_line_and_the_scene_stops():
    progress = progress_of()
    progress.state[0], progress.cooling_from[0] = COOLING, 0
    rates = []
    for step in range(4):
        rates.append(progress.rates().tolist())
        count(progress, [0, 1])
        stopped = progress.stop_cooled(100 + step)
    assert rates == [[1.0, 1.0], [0.75, 1.0], [0.5, 1.0], [0.25, 1.0]]
    assert stopped.tolist() == [0] and progress.state.tolist() == [STOPPED, TRAINING]
    assert progress.ended_at.tolist() == [103, -1] and progress.rates().tolist() == [0, 1]
    assert progress.is_active().tolist() == [False, True] and progress.due().tolist() == []


def test_without_a_cooldown_scenes_stop_at_once():
    progress = progress_of(cooldown=0)
    progress.state[1] = COOLING
    assert progress.stop_cooled(7).tolist() == [1]


def test_a_new_stage_goes_on_with_stopped_scenes_but_not_with_failed_ones():
    progress = progress_of(4)
    progress.state[:] = torch.tensor([TRAINING, COOLING, STOPPED, FAILED])
    progress.best.fill_(30.0)
    assert not progress.enter(0) and progress.state.tolist() == [TRAINING, COOLING, STOPPED, FAILED]
    assert progress.enter(2) and progress.state.tolist() == [TRAINING, TRAINING, TRAINING, FAILED]
    assert progress.best.tolist() == [-INFINITY] * 4
    progress.state[0], progress.config.every = STOPPED, 0
    assert progress.enter(2) and progress.state.tolist()[0] == TRAINING


def test_a_checkpoint_keeps_every_number():
    progress = progress_of(3)
    for name, buffer in progress.named_buffers():
        buffer.copy_(torch.arange(buffer.numel()).view_as(buffer) + len(name))
    other = progress_of(3)
    other.load_state_dict(progress.state_dict())
    for name, buffer in other.named_buffers():
        assert torch.equal(buffer, getattr(progress, name)), name
    assert len(progress.state_dict()) == 11


def test_nothing_is_kept_where_there_is_nothing_to_tell():
    progress = progress_of(every=0)
    assert not progress.state_dict()
    progress.fail(torch.tensor([1]), 5)
    assert progress.state_dict()["state"].tolist() == [TRAINING, FAILED]


def test_rows_and_their_table():
    progress = progress_of(30)
    progress.psnr[:29] = torch.arange(29.0)
    progress.fail(torch.tensor([3]), 12)
    rows = progress.rows()
    assert rows[3] == {
        "scene": "scene 3",
        "state": "failed",
        "psnr": 3.0,
        "steps": 0,
        "seconds": 0.0,
        "ended_at": 12,
    }
    assert rows[29]["psnr"] is None and rows[0]["ended_at"] is None
    table = progress.table()
    assert table.row_count == 20 and next(iter(table.columns[0].cells)) == "scene 3"
    assert "29 training, 0 cooling down, 0 stopped, 1 failed" in str(table.title)


@pytest.mark.parametrize(
    ("name", "value", "low"), [("every", -1, 0), ("patience", 0, 1), ("tolerance", -0.1, 0), ("cooldown", -5, 0)]
)
def test_settings_without_meaning(name, value, low):
    flag = f"--pipeline.plateau.{name}"
    with pytest.raises(ValueError, match=f"plateau.{name}: expected at least {low}, got {value}; correct {flag}"):
        SceneProgress(["a"], PlateauConfig(**{name: value}))
