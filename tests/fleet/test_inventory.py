"""An inventory as a whole: what is given out, tried again, and left when it is stopped."""

import dataclasses
import io
import json
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from inventories import inventory_of
from tqdm import tqdm

from latent_nerfstudio.files import locks
from latent_nerfstudio.fleet.fit_chunk import fit_chunk
from latent_nerfstudio.fleet.inventory import fit_inventory, fit_jobs
from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.fleet.status import SceneStatus, StatusTable
from latent_nerfstudio.fleet.workers import Crew


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

    *_, table = fit_inventory(dataclasses.replace(inventory, chunk=8), ["a", "b", "c"], fit)
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
        list(fit_inventory(dataclasses.replace(inventory, chunk=1), ["a", "b", "c"], fit))
    assert states_on_disk(inventory) == {"a": "done", "b": "waiting", "c": "waiting"}


def test_a_second_call_for_one_folder_is_refused(inventory):
    def fit(job, on_progress):
        with ThreadPoolExecutor() as pool, pytest.raises(BlockingIOError, match="got process .* at work"):
            pool.submit(next, fit_inventory(inventory, ["a", "b"], function=fit)).result()
        return [SceneStatus(name, "done") for name in job.names]

    *_, table = fit_inventory(dataclasses.replace(inventory, chunk=2), ["a", "b"], fit)
    assert table.counts() == {"done": 2} and not (inventory.output / locks.LOCK).exists()


def no_job(job, on_progress):
    raise AssertionError("expected no job")


def test_a_call_that_goes_on_knows_what_is_done_and_who_fitted_it(inventory):
    list(fit_inventory(inventory, ["a"]))
    here = f"{socket.gethostname()}:{os.getpid()}"
    (table,) = fit_inventory(inventory, ["a"], function=no_job)
    assert table.counts() == {"done": 1} and table.rows["a"].worker == here and table.rows["a"].stamp


def test_other_pictures_are_fitted_again_and_scenes_of_another_folder_refused(inventory, tmp_path, capsys):
    def fit(job, on_progress):
        given.append(job.names)
        return fit_chunk(job)

    given = []
    for name in ("one", "two"):
        shutil.copytree(inventory.data / "a", tmp_path / name / "a")
    pictures = tmp_path / "two" / "a" / "images"
    shutil.copy(pictures / "0001.png", pictures / "0002.png")
    one, two = (dataclasses.replace(inventory, data=tmp_path / name) for name in ("one", "two"))
    list(fit_inventory(one, ["a"], function=fit))
    file = inventory.scene_path("a").read_bytes()
    with pytest.raises(ValueError, match="expected the scenes of .*one, got other pictures .*two, .* another --output"):
        list(fit_inventory(two, ["a"], function=fit))
    assert inventory.scene_path("a").read_bytes() == file and given == [("a",)]
    shutil.copy(pictures / "0002.png", tmp_path / "one" / "a" / "images" / "0002.png")
    *_, table = fit_inventory(one, ["a"], function=fit)
    assert given == [("a",)] * 2 and table.counts() == {"done": 1}
    assert "Fitted again, as their pictures or cameras have changed: a" in capsys.readouterr().err


def test_parts_write_beside_each_other_and_a_call_for_all_waits_for_them(inventory):
    def fit(job, on_progress):
        other = dataclasses.replace(inventory, shard="2/2")
        *_, table = fit_inventory(other, ["b"], function=lambda job, _: [SceneStatus("b", "done")])
        assert table.counts() == {"done": 1}
        with ThreadPoolExecutor() as pool, pytest.raises(BlockingIOError, match="got process .* at work"):
            pool.submit(next, fit_inventory(inventory, ["a", "b"], function=no_job)).result()
        return [SceneStatus("a", "done")]

    *_, table = fit_inventory(dataclasses.replace(inventory, shard="1/2"), ["a"], function=fit)
    assert table.path == inventory.output / "shards" / "1-of-2" / "status.json"


def test_what_a_killed_call_left_is_removed(inventory):
    left = [inventory.output / ".writing-0123456789abcdef", inventory.output / "scenes" / ".writing-0123456789abcdef"]
    for folder in left:
        folder.mkdir(parents=True)
    list(fit_inventory(inventory, ["a"], function=lambda job, _: [SceneStatus("a", "done")]))
    assert not any(folder.exists() for folder in left)


def test_the_bar_counts_chunks_in_progress_by_their_share(inventory, tmp_path):
    table, bar, done = StatusTable(tmp_path / "status.json", "abcd"), tqdm(total=4, file=io.StringIO()), []

    def fit(job, on_progress):
        for share in (0.25, 0.75):
            on_progress(share)
            done.append(bar.n)
        return [SceneStatus(job.names[0], "done"), SceneStatus(job.names[1], "failed")]

    list(fit_jobs([ChunkJob(inventory, ("a", "b")), ChunkJob(inventory, ("c", "d"))], table, bar, Crew(1), fit))
    assert [*done, bar.n] == [0.5, 1.5, 2.5, 3.5, 4.0]
