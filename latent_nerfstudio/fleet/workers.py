"""Who fits the chunks: this process, processes of this machine, or tasks of a Ray cluster.

Nothing is lost with a worker but its chunk in progress: each scene's file is written at once, and a chunk that is given
out again leaves out the scenes that have theirs.
"""

import contextlib
import os
import signal
from collections import Counter, deque
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, Deque, Dict, Iterator, List, Literal, Optional, Sequence, Tuple, Union

from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.fleet.status import SceneStatus

Workers = Union[int, Literal["ray"]]
"""A number of processes, or a Ray cluster."""

FitFunction = Callable[..., List[SceneStatus]]
"""Takes a job and, where it is told to anybody, a function that takes the share that is done; see `fit_chunk`."""

OnProgress = Callable[[ChunkJob, float, str], None]
"""Takes a job, the share of it that is done, 0 when it begins, and its worker."""

Results = Iterator[Tuple[ChunkJob, List[SceneStatus]]]
"""Jobs that are over with rows of their scenes; without rows where the job will be given out again."""

DEATHS = 2
"""Workers that a chunk may cost before it is given out in halves."""

SECONDS_TO_END = 5.0
"""How long an idle worker may take to leave."""

QUEUED_PER_SLOT = 2
"""Chunks that Ray is given for each that it can run, so that a cluster that can grow knows that it should."""


def run_chunks(jobs: Sequence[ChunkJob], workers: Workers, function: FitFunction, on_progress: OnProgress) -> Results:
    """The rows of chunks, as they come.

    Args:
        jobs: chunks of at least one scene.
        workers: 1 to stay in this process, more for processes of this machine, `ray` for tasks of a cluster.
        function: what fits a chunk; importable by name.
        on_progress: see `OnProgress`; tasks of a cluster tell of their beginning only.

    Raises:
        ValueError: Ray is asked for and not installed; or what the function raised.
        OSError: what the function raised. The other chunks are stopped.
    """
    if workers == "ray":
        return run_on_ray(jobs, function, on_progress)
    return run_here(jobs, function, on_progress) if workers == 1 else run_local(jobs, workers, function, on_progress)


def run_here(jobs: Sequence[ChunkJob], function: FitFunction, on_progress: OnProgress) -> Results:
    """Chunks one after the other, in this process."""
    name = f"process {os.getpid()}"
    for job in jobs:
        on_progress(job, 0.0, name)
        yield job, function(job, lambda share, job=job: on_progress(job, share, name))


class Backlog:
    """Chunks that are to be given out, and how many workers each has cost."""

    def __init__(self, jobs: Sequence[ChunkJob]):
        self.jobs: Deque[ChunkJob] = deque(jobs)
        self.deaths: Counter[Tuple[str, ...]] = Counter()

    def take_back(self, job: ChunkJob, reason: str) -> List[SceneStatus]:
        """Takes back a chunk whose worker died: to be given out again, and split when that has happened often."""
        self.deaths[job.names] += 1
        if self.deaths[job.names] >= DEATHS:
            return self.split(job, reason)
        self.jobs.appendleft(job)
        return []

    def split(self, job: ChunkJob, reason: str) -> List[SceneStatus]:
        """Takes back a chunk in halves, as memory may have been what it lacked; a row where a single scene is left."""
        if len(job.names) == 1:
            return [SceneStatus(job.names[0], "failed", f"{DEATHS} worker(s) died of it, the last of {reason}")]
        self.jobs.extendleft(job.halves())
        return []


def run_local(jobs: Sequence[ChunkJob], count: int, function: FitFunction, on_progress: OnProgress) -> Results:
    """Chunks in processes of this machine; one that dies is replaced, and its chunk given out again."""
    backlog = Backlog(jobs)
    workers = [LocalWorker(index, count, function) for index in range(min(count, len(jobs)))]
    try:
        while True:
            for worker in workers:
                if worker.job is None and backlog.jobs:
                    worker.begin(backlog.jobs.popleft(), on_progress)
            busy = {worker.pipe: worker for worker in workers if worker.job is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                result = busy[pipe].listen(backlog, on_progress)  # type: ignore[index]
                if result is not None:
                    yield result
    finally:
        for worker in workers:
            worker.end()


class LocalWorker:
    """A process that fits one chunk after the other.

    Args:
        index: of the worker.
        count: of the workers, which share processors and GPUs.
        function: what fits a chunk.
    """

    def __init__(self, index: int, count: int, function: FitFunction):
        self.function = function
        self.variables = worker_environment(index, count)
        self.job: Optional[ChunkJob] = None
        self.start()

    def start(self) -> None:
        """Starts the process."""
        context = get_context("spawn")  # a fork of a process that has threads, as torch has, can hang
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.function), daemon=True)
        with environment(self.variables):
            self.process.start()
        theirs.close()  # so that its death closes the pipe
        self.name = f"process {self.process.pid}"

    def begin(self, job: ChunkJob, on_progress: OnProgress) -> None:
        """Has it begin a chunk."""
        self.job = job
        on_progress(job, 0.0, self.name)
        with contextlib.suppress(OSError):  # a dead one is noticed when it is listened to
            self.pipe.send(job)

    def listen(self, backlog: Backlog, on_progress: OnProgress) -> Optional[Tuple[ChunkJob, List[SceneStatus]]]:
        """What it has to say: its chunk is over, or, None, goes on. Where it died it is started again."""
        job = self.job
        assert job is not None
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            rows = backlog.take_back(job, self.cause_of_death())
            self.job = None
            self.start()
            return job, rows
        if kind == "error":
            raise value
        if kind == "progress":
            on_progress(job, value, self.name)
            return None
        self.job = None
        return job, value

    def cause_of_death(self) -> str:
        """In words."""
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Stops it, whatever it does."""
        self.pipe.close()
        if self.job is None:
            self.process.join(SECONDS_TO_END)
        self.process.terminate()
        self.process.join()


def serve(pipe: Connection, function: FitFunction) -> None:
    """What a local worker does until its pipe is closed: fits chunks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(result_of(function, pipe.recv(), pipe))


def result_of(function: FitFunction, job: ChunkJob, pipe: Connection) -> Tuple[str, Any]:
    """`done` with rows, or `error` with what was raised."""

    def report(share: float) -> None:
        with contextlib.suppress(OSError):  # who listened was killed; the chunk's files are worth having still
            pipe.send(("progress", share))

    try:
        return "done", function(job, report)
    except (ValueError, OSError) as error:
        return "error", error
    except Exception as error:  # of any kind, perhaps of one that cannot be sent
        return "error", RuntimeError(f"{type(error).__name__}: {error}")


def worker_environment(index: int, count: int) -> Dict[str, str]:
    """Environment of a local worker: its GPU, by turns, and its share of the processors.

    Set before it starts: some libraries look for GPUs when they are imported.
    """
    import torch

    variables = {}
    if "OMP_NUM_THREADS" not in os.environ:
        variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // count))
    if torch.cuda.is_available():
        listed = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        devices = listed.split(",")
        variables["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return variables


@contextlib.contextmanager
def environment(variables: Dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a while, for processes that are started then."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_on_ray(jobs: Sequence[ChunkJob], function: FitFunction, on_progress: OnProgress) -> Results:
    """Chunks as tasks of the Ray cluster at hand, or of one on this machine that ends with this process.

    Data and output must be on disks that all nodes see under the same path, and this package installed on them.
    """
    ray = import_ray()
    is_ours = not ray.is_initialized()
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    gpus = ray.cluster_resources().get("GPU", 0)
    task = ray.remote(function).options(max_retries=DEATHS - 1, num_cpus=1, num_gpus=1 if gpus else 0)
    backlog, pending = Backlog(jobs), {}
    try:
        while backlog.jobs or pending:
            while backlog.jobs and len(pending) < QUEUED_PER_SLOT * ray_slots(ray):
                job = backlog.jobs.popleft()
                pending[task.remote(job)] = job
                on_progress(job, 0.0, "ray")
            (result, *_), _ = ray.wait(list(pending))
            job = pending.pop(result)
            try:
                rows = ray.get(result)
            except ray.exceptions.RayTaskError as error:  # what the function raised
                raise error.cause if isinstance(error.cause, (ValueError, OSError)) else error from None
            except ray.exceptions.RayError as error:  # what became of the worker or of its node
                rows = backlog.split(job, type(error).__name__)
            yield job, rows
    finally:
        for result in pending:
            ray.cancel(result, force=True)
        if is_ours:
            ray.shutdown()


def import_ray() -> Any:
    """Ray, which is an extra.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(
            "workers: expected Ray for --workers ray, got none installed; pip install 'latent-nerfstudio[ray]', or "
            "give a number of processes of this machine"
        ) from error
    return ray


def ray_slots(ray: Any) -> int:
    """Tasks that the cluster runs at the same time: a GPU each where there are some, else a processor."""
    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU") or resources.get("CPU", 1)))
