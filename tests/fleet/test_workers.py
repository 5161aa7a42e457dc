"""Workers that die, raise, and tell how far they are."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest
import torch
from inventories import fit_and_die_once, inventory_of
from pretence import pretend

from latent_nerfstudio.fleet import workers
from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.fleet.workers import Backlog, environment, run_chunks, worker_environment
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.scene_file import read_scene_file


@pytest.fixture
def inventory(balls, tmp_path, bundle):
    return inventory_of(balls, tmp_path / "out", bundle)


def light(inventory):
    """An inventory that other processes need not import Nerfstudio for."""
    return dataclasses.replace(inventory, method=None)


def rows_of(results):
    return {row.name: row for _, rows in results for row in rows}


def test_a_worker_that_dies_costs_no_other_chunk(inventory, monkeypatch):
    """`bad` kills each of its workers: its chunk is halved until it is alone."""
    monkeypatch.setattr(workers, "DEATHS", 1)
    jobs = [ChunkJob(light(inventory), names) for names in (("bad", "x"), ("y",))]
    told = []
    rows = rows_of(run_chunks(jobs, 2, pretend, lambda *progress: told.append(progress)))
    assert {name: row.state for name, row in rows.items()} == {"x": "done", "y": "done", "bad": "failed"}
    assert rows["bad"].reason == "1 worker(s) died of it, the last of SIGKILL"
    begun = [job.names for job, share, _ in told if share == 0]
    assert sorted(begun) == [("bad",), ("bad", "x"), ("x",), ("y",)]
    assert sorted(job.names for job, share, _ in told if share == 0.5) == [("x",), ("y",)]
    assert all(name.startswith("process ") for _, _, name in told)


def test_what_concerns_all_chunks_stops_them(inventory):
    jobs = [ChunkJob(light(inventory), (name,)) for name in ("refused", "x")]
    with pytest.raises(ValueError, match="shared bundle: expected another"):
        list(run_chunks(jobs, 2, pretend, lambda *progress: None))


def test_a_killed_process_leaves_its_finished_scenes_and_the_rest_is_fitted(inventory, bundle):
    jobs = [ChunkJob(inventory, ("a", "b")), ChunkJob(inventory, ("c",))]
    rows = rows_of(run_chunks(jobs, 2, fit_and_die_once, lambda *progress: None))
    assert {name: row.state for name, row in rows.items()} == dict.fromkeys("abc", "done")
    read = read_shared_bundle(str(bundle))
    assert [read_scene_file(inventory.scene_path(name), read).name for name in "abc"] == ["a", "b", "c"]
    assert len({row.worker for row in rows.values()}) >= 2


def test_ray_fits_all_scenes_although_a_worker_is_killed(inventory, bundle, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'latent-nerfstudio[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    try:
        jobs = [ChunkJob(inventory, ("a", "b")), ChunkJob(inventory, ("c",))]
        rows = rows_of(run_chunks(jobs, "ray", fit_and_die_once, lambda *progress: None))
    finally:
        ray.shutdown()
    assert {name: row.state for name, row in rows.items()} == dict.fromkeys("abc", "done")
    read = read_shared_bundle(str(bundle))
    assert [read_scene_file(inventory.scene_path(name), read).name for name in "abc"] == ["a", "b", "c"]


def test_without_ray_it_is_said_how_to_get_it(inventory, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"expected Ray for --workers ray, .* pip install 'latent-nerfstudio\[ray\]'"):
        list(run_chunks([ChunkJob(inventory, ("a",))], "ray", pretend, lambda *progress: None))


def test_a_chunk_is_given_out_whole_once_more_and_then_in_halves(inventory):
    backlog = Backlog([])
    job = ChunkJob(inventory, ("a", "b", "c"))
    assert backlog.take_back(job, "SIGKILL") == [] and [j.names for j in backlog.jobs] == [("a", "b", "c")]
    backlog.jobs.clear()
    assert backlog.take_back(job, "SIGKILL") == []
    assert sorted(j.names for j in backlog.jobs) == [("a",), ("b", "c")]
    (row,) = backlog.split(ChunkJob(inventory, ("a",)), "SIGKILL")
    assert (row.name, row.state) == ("a", "failed")


def test_workers_take_gpus_by_turns_and_share_processors(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [worker_environment(index, 3)["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["0", "1", "0"]
    assert worker_environment(0, 3)["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert worker_environment(1, 3) == {"CUDA_VISIBLE_DEVICES": "7"}


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("LNS_ONE", "before")
    monkeypatch.delenv("LNS_TWO", raising=False)
    with environment({"LNS_ONE": "during", "LNS_TWO": "during"}):
        assert (os.environ["LNS_ONE"], os.environ["LNS_TWO"]) == ("during", "during")
    assert os.environ["LNS_ONE"] == "before" and "LNS_TWO" not in os.environ
