"""`make gpu-check` at toy size, on the CPU."""

import math
import sys
import time

import pytest
import torch
from shell_lines import ROOT, read_lns
from tiny import write_ball

sys.path.insert(0, str(ROOT / "scripts"))
import gpu_check
from gpu_check import GpuCheck, Row, Work, loss_row, relative_error, report


@pytest.fixture
def work(tmp_path):
    """What the sections share, with a ball instead of a car."""
    write_ball(tmp_path / "car", views=4)
    toy = GpuCheck(device="cpu", methods=("triplane",), steps=4, points=64, cars=2, views=3, sizes=(16,))
    return Work(toy, tmp_path, deadline=time.monotonic() + 3600)


def test_sections_of_toy_size(work, monkeypatch):
    (row,) = gpu_check.section("methods", work)
    assert row.check == "triplane, 4 steps" and row.ok
    rows = list(gpu_check.section("kernels", work))
    assert len(rows) == 10 and all(row.ok for row in rows), rows
    monkeypatch.setattr(gpu_check, "STAGES", {"latent supervision": ("triplane", {"rgb_alignment_start": None})})
    rows = list(gpu_check.section("steps", work))
    assert [row.check.partition(": ")[2] for row in rows[:2]] == ["a step", "waits a step"] and len(rows) == 12
    assert rows[1].measured == "0.0" and all(row.ok for row in rows)
    (row,) = gpu_check.section("frames", work)
    assert row.check == "frames of 16 x 16" and row.measured.endswith(" a second")


def test_an_inventory_is_fitted_by_the_commands_that_people_use(work, monkeypatch):
    lines = []

    def call(*words):
        lines.append([str(word) for word in words])
        if "fit-scenes" in words:
            (work.folder / "fitted" / "scenes").mkdir(parents=True)
            (work.folder / "fitted" / "scenes" / "car_0000.safetensors").touch()

    monkeypatch.setattr(work, "call", call)
    rows = list(gpu_check.section("inventory", work))
    assert [row.ok for row in rows] == [True, False]  # one of two is there
    for line in lines:
        read_lns(line[line.index("latent_nerfstudio.cli.main") :])


def test_what_fails_is_told(work):
    with pytest.raises(RuntimeError, match="(?s)raise ValueError.*ValueError: no room"):
        work.call(sys.executable, "-c", "raise ValueError('no room')")

    def fail(work):
        yield Row("before", "1")
        raise ValueError("no\nroom")

    gpu_check.SECTIONS["fails"] = fail
    before, failed = gpu_check.section("fails", work)
    assert before.ok and not failed.ok and failed.measured == "ValueError: no room"
    work.deadline = 0.0
    (late,) = gpu_check.section("fails", work)
    assert late.measured == "left out" and not late.ok
    del gpu_check.SECTIONS["fails"]
    assert report([failed])[-1] == "| fails | ValueError: no room | no error | FAILED |"


def test_losses_and_errors_by_hand():
    row = loss_row("m", {"cuda": [3.0] * 8 + [1.0, 2.0], "cpu": [9.0] * 8 + [1.0, 1.0]}, "cuda")
    assert not row.ok and row.measured == "loss 3.0000 to 1.5000, CPU 1.0000"
    assert loss_row("m", {"cuda": [2.0], "cpu": [1.9]}, "cuda").ok
    assert not loss_row("m", {"cuda": [math.nan], "cpu": [1.9]}, "cuda").ok
    assert loss_row("m", {"cuda": [2.0]}, "cuda").ok  # a method that no CPU runs
    assert relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx(0.2)
