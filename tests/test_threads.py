"""How many threads a command takes: idle cores, or what the user says, up to the cores."""

import os

import pytest

from latent_nerfstudio import threads


@pytest.mark.parametrize(
    ("given", "cores", "busy", "expected"),
    [("", 8, 0, 8), ("", 8, 6, 2), ("", 2, 5, 1), ("4", 8, 7, 4), ("64", 8, 0, 8), ("0", 8, 0, 8), ("many", 8, 0, 8)],
)
def test_threads_by_hand(given, cores, busy, expected, monkeypatch):
    for name in threads.VARIABLES:
        monkeypatch.setenv(name, given)
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    monkeypatch.setattr(threads, "busy_cores", lambda: busy)
    threads.choose_threads()
    assert [os.environ[name] for name in threads.VARIABLES] == [str(expected)] * 2


@pytest.mark.parametrize(("text", "expected"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None)])
def test_a_containers_share_of_the_cores_counts(text, expected, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert threads.usable_cores() == (expected or 16)


def test_somebody_is_busy_who_is_now_and_was_for_a_while(monkeypatch, tmp_path):
    """The load of a call that has just ended is no reason for fewer threads."""
    (tmp_path / "loadavg").write_text("3.90 2.0 1.0 1/300 4242\n")
    monkeypatch.setattr(threads, "LOAD", tmp_path / "loadavg")
    assert threads.busy_cores() == 0
    (tmp_path / "loadavg").write_text("3.90 2.0 1.0 6/300 4242\n")
    assert threads.busy_cores() == 4
    (tmp_path / "loadavg").unlink()
    assert threads.busy_cores() == 0


def test_a_number_for_one_library_holds_for_the_other(monkeypatch):
    """Torch computes with MKL's number whatever OpenMP's says."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    monkeypatch.setattr(threads, "busy_cores", lambda: 0)
    for given in threads.VARIABLES:
        for name in threads.VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(given, "3")
        threads.choose_threads()
        assert [os.environ[name] for name in threads.VARIABLES] == ["3", "3"]
