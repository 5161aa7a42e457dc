"""Learning rates over the stages: hand values, types, and what ends up in a checkpoint."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig, stage_factor

ONE = {"start": 100, "end": 100, "warmup": 10, "floor": 0.1, "alignment_factor": 0.5}
TWO = {"start": 60, "end": 100, "warmup": 10, "floor": 0.1, "alignment_factor": 0.5}


@pytest.mark.parametrize(
    ("step", "stages", "expected"),
    [
        (0, ONE, 1 / 10),
        (9, ONE, 0.1 + 0.45 * (1 + math.cos(math.pi * 0.09))),
        (50, ONE, 0.55),
        (100, ONE, 0.1),
        (500, ONE, 0.1),
        (500, {**ONE, "start": 300}, 0.1),
        (0, {**ONE, "warmup": 0}, 1.0),
        (1, {**ONE, "start": 1, "end": 1}, 0.1),
        (30, TWO, 0.55),
        (60, TWO, 0.5 / 10),
        (80, TWO, 0.5 * 0.55),
        (100, TWO, 0.5 * 0.1),
        (500, TWO, 0.5 * 0.1),
    ],
)
def test_by_hand(step, stages, expected):
    assert stage_factor(step, **stages) == pytest.approx(expected)


@given(st.integers(0, 3000), st.integers(0, 2000), st.integers(1, 2000), st.integers(0, 50), st.floats(0.001, 1))
def test_a_python_float_between_zero_and_one(step, start, end, warmup, floor):
    value = stage_factor(step, start, end, warmup, floor, 0.5)
    assert type(value) is float and 0 < value <= 1


def test_without_alignment_there_is_one_stage():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = StagedSchedulerConfig(max_steps=50).setup().get_scheduler(optimizer, 1.0)
    rates = []
    for _ in range(50):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([stage_factor(step, 50, 50, 20, 0.05, 0.5) for step in range(50)])
