"""Workers that die, raise, lose files, and tell how far they are."""

import errno
import os
from functools import partial
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch
from inventories import unread_inventory
from pretence import pretend

from latent_nerfstudio.fleet import workers
from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.fleet.workers import Backlog, Crew, crew_of, environment, ray_gpus, ray_slots


@pytest.fixture
def jobs(tmp_path):
    """Makes jobs of an inventory for which other processes need not import Nerfstudio."""
    inventory = unread_inventory(tmp_path)
    return lambda *groups: [ChunkJob(inventory, names) for names in groups]


def states(results):
    return {row.name: row.state for _, rows in results for row in rows}


def test_a_worker_that_dies_costs_no_other_chunk(jobs, monkeypatch, capfd):
    monkeypatch.setattr(workers, "DEATHS", 1)
    told = []
    results = list(
        workers.run_local(jobs(("bad",), ("y",)), 1, pretend, lambda job, *more: told.append((job.names, *more)))
    )
    assert states(results) == {"bad": "failed", "y": "done"}
    assert results[0][1][0].reason.startswith("its worker: expected to live, got SIGKILL, 1 time(s); ")
    assert [(names, share) for names, share, _ in told] == [(("bad",), 0), (("y",), 0), (("y",), 0.5)]
    assert all(name.startswith("process ") for _, _, name in told)
    assert "Warning" not in capfd.readouterr().err  # of the libraries that the processes import


def test_an_error_that_cannot_be_unpickled_is_sent_as_its_text(jobs):
    (job,) = jobs(("odd",))
    here, there = Pipe()
    there.send(workers.result_of(pretend, job))
    kind, value = here.recv()
    with pytest.raises(ValueError, match="^one and two$"):
        workers.rows_of(kind, value, job, Backlog([]))


def test_a_lost_file_is_tried_again_in_this_process_and_a_full_disk_stops(jobs):
    assert states(workers.run_here(jobs(("lost",)), pretend, lambda *progress: None)) == {"lost": "done"}

    def full(job, on_progress):
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        list(workers.run_here(jobs(("a",)), full, lambda *progress: None))


def test_ray_gives_a_chunk_out_again_whose_worker_was_killed(jobs, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'latent-nerfstudio[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]))
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    except Exception as error:  # its own limit, of 30 seconds
        assert "timed out during startup" in str(error)
        pytest.skip("Ray did not start within its own 30 seconds: the machine is too busy")
    try:
        with crew_of("ray") as crew:
            assert crew.slots == 2 and crew.free_bytes() > 0
            results = list(crew.run(jobs(("killed", "a"), ("b",)), pretend, lambda *progress: None))
    finally:
        ray.shutdown()
    assert states(results) == dict.fromkeys(("killed", "a", "b"), "done")
    assert [rows for _, rows in results].count([]) == 1


class Cluster:
    """Stands for Ray: tasks that run at once, a memory monitor that kills some, and GPUs that join later."""

    class exceptions:
        class RayError(Exception): ...

        class RayTaskError(RayError): ...

    def __init__(self, *resources):
        self.resources, self.asked = list(resources), []

    def cluster_resources(self):
        return self.resources[0] if len(self.resources) == 1 else self.resources.pop(0)

    def remote(self, function):
        return self

    def options(self, **options):
        self.asked.append(options)
        self.remote = lambda function, job: partial(function, job)  # a reference, which can be a key as Ray's
        return self

    def wait(self, pending, timeout):
        return pending[:1], pending[1:]

    def get(self, task):
        if len(task.args[0].names) > 1:
            raise self.exceptions.RayError("OutOfMemoryError")
        return "done", task(lambda share: None)


def test_a_chunk_that_is_too_large_for_rays_memory_is_halved_and_gpus_that_join_are_used(jobs, monkeypatch):
    cluster = Cluster(*[{"CPU": 4}] * 4, {"CPU": 4, "GPU": 1})
    monkeypatch.setattr(workers, "import_ray", lambda: cluster)
    results = list(Crew("ray").run(jobs(("a", "b", "c", "d")), pretend, lambda *progress: None))
    assert states(results) == dict.fromkeys("abcd", "done")
    assert all(options["max_retries"] == 0 for options in cluster.asked)
    assert (cluster.asked[0]["num_gpus"], cluster.asked[-1]["num_gpus"]) == (0, 1)


def test_tasks_of_a_cluster_by_hand():
    both = Cluster({"CPU": 8.0, "GPU": 2.0})
    assert (ray_slots(both), ray_slots(both, 0.5), ray_slots(both, 0.0)) == (2, 4, 8)
    assert (ray_slots(Cluster({"CPU": 3.0})), ray_gpus(Cluster({"CPU": 3.0}), None)) == (3, 0)


def test_a_chunk_is_given_out_whole_once_more_and_then_in_halves(jobs):
    backlog, (job, alone) = Backlog([]), jobs(("a", "b", "c"), ("a",))
    assert backlog.take_back(job, "SIGKILL") == [] and [j.names for j in backlog.jobs] == [("a", "b", "c")]
    backlog.jobs.clear()
    assert backlog.take_back(job, "SIGKILL") == []
    assert sorted(j.names for j in backlog.jobs) == [("a",), ("b", "c")]
    assert backlog.take_back(alone, "SIGKILL") == []
    (row,) = backlog.take_back(alone, "SIGKILL")
    assert (row.name, row.state) == ("a", "failed")


def test_workers_take_gpus_by_turns_share_processors_and_put_the_environment_back(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(workers, "usable_cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [workers.worker_environment(index, 3)["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["0", "1", "0"]
    assert workers.worker_environment(0, 3)["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own = {"CUDA_VISIBLE_DEVICES": "7", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert workers.worker_environment(1, 3) == own
    monkeypatch.setenv("LNS_ONE", "before")
    monkeypatch.delenv("LNS_TWO", raising=False)
    with environment({"LNS_ONE": "during", "LNS_TWO": "during"}):
        assert (os.environ["LNS_ONE"], os.environ["LNS_TWO"]) == ("during", "during")
    assert os.environ["LNS_ONE"] == "before" and "LNS_TWO" not in os.environ
