"""An inventory as a whole: what is given out, tried again, and left when it is stopped."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from inventories import inventory_of
from rich.progress import Progress

from latent_nerfstudio.files import locks
from latent_nerfstudio.fleet.fit_chunk import fit_chunk
from latent_nerfstudio.fleet.inventory import ProgressBar, fit_inventory
from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.fleet.status import SceneStatus, StatusTable


@pytest.fixture
def inventory(balls, tmp_path, bundle):
    return inventory_of(balls, tmp_path / "out", bundle)


def states_on_disk(inventory):
    rows = json.loads((inventory.output / "status.json").read_text())["scenes"]
    return {row["name"]: row["state"] for row in rows}


def test_failed_scenes_are_tried_once_more_by_themselves(inventory):
    given, running = [], []

    def fit(job, on_progress):
        given.append(job.names)
        running.append(states_on_disk(inventory))
        failing = {"b"} if len(given) == 1 else set()
        failing.add("c")
        return [SceneStatus(name, "failed" if name in failing else "done", psnr=1.0) for name in job.names]

    *_, table = fit_inventory(inventory, ["a", "b", "c"], chunk=8, function=fit)
    assert given == [("a", "b", "c"), ("b",), ("c",)]
    assert running[0] == dict.fromkeys("abc", "running")
    assert running[1] == {"a": "done", "b": "running", "c": "failed"}
    assert states_on_disk(inventory) == {"a": "done", "b": "done", "c": "failed"}
    assert [row.name for row in table.failed()] == ["c"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), OSError("disk full")])
def test_what_stops_an_inventory_leaves_a_status_that_is_true(inventory, error):
    def fit(job, on_progress):
        if "b" in job.names:
            raise error
        return [SceneStatus("a", "done")]

    with pytest.raises(type(error)):
        list(fit_inventory(inventory, ["a", "b", "c"], chunk=1, function=fit))
    assert states_on_disk(inventory) == {"a": "done", "b": "waiting", "c": "waiting"}


def test_a_second_call_for_one_folder_is_refused(inventory):
    def fit(job, on_progress):
        with (
            ThreadPoolExecutor() as pool,
            pytest.raises(BlockingIOError, match="got process .* at work"),
        ):
            pool.submit(next, fit_inventory(inventory, ["a", "b"], function=fit)).result()
        return [SceneStatus(name, "done") for name in job.names]

    *_, table = fit_inventory(inventory, ["a", "b"], chunk=2, function=fit)
    assert table.counts() == {"done": 2} and not (inventory.output / locks.LOCK).exists()


def test_nothing_is_given_out_where_all_is_done(inventory):
    fit_chunk(ChunkJob(inventory, ("a", "b")))

    def fit(job, on_progress):
        raise AssertionError("expected no job")

    (table,) = fit_inventory(inventory, ["a", "b"], function=fit)
    assert table.counts() == {"done": 2}


def test_who_fitted_a_scene_is_known_to_a_call_that_goes_on(inventory):
    def workers():
        rows = json.loads((inventory.output / "status.json").read_text())["scenes"]
        return {row["name"]: row.get("worker") for row in rows}

    list(fit_inventory(inventory, ["a"]))
    here = f"{socket.gethostname()}:{os.getpid()}"
    assert workers() == {"a": here}
    assert next(fit_inventory(inventory, ["a", "b"])).rows["a"].worker == here
    assert workers()["a"] == here
    for damaged in ("{", "[]", '{"scenes": [1]}'):
        (inventory.output / "status.json").write_text(damaged)
        assert next(fit_inventory(inventory, ["a"])).rows["a"].worker == ""


def test_the_bar_counts_chunks_in_progress_by_their_share(inventory, tmp_path):
    table = StatusTable(tmp_path / "status.json", "abcd")
    with Progress(disable=True) as progress:
        bar = ProgressBar(progress, table)
        first, second = ChunkJob(inventory, ("a", "b")), ChunkJob(inventory, ("c", "d"))
        done = []
        for job, share in ((first, 0.5), (second, 0.25), (first, 0.75)):
            bar.set_share(job, share)
            done.append(progress.tasks[0].completed)
        table.update([SceneStatus("a", "done"), SceneStatus("b", "failed")])
        bar.set_share(first, None)
        done.append(progress.tasks[0].completed)
    assert done == [1.0, 1.5, 2.0, 2.5]
