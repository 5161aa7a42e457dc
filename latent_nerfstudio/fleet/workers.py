"""Who fits the chunks: this process, processes of this machine, or tasks of a Ray cluster.

Nothing is lost with a worker but its chunk in progress: each scene's file is written at once, and a chunk that is given
out again leaves out the scenes that have theirs.
"""

import contextlib
import os
import signal
from collections import Counter, deque
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import Any, Callable, Deque, Dict, Iterator, List, Literal, Optional, Sequence, Tuple, Union

from latent_nerfstudio.data.storage import free_host_bytes
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fleet.request import import_ray
from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.fleet.status import SceneStatus
from latent_nerfstudio.fleet.worker_process import begin, is_lasting, result_of
from latent_nerfstudio.names import equal_parts
from latent_nerfstudio.threads import VARIABLES, usable_cores

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

SECONDS_BETWEEN_LOOKS = 10.0
"""Between looks at what a cluster has, while no task ends."""

QUEUED_PER_SLOT = 2
"""Chunks that Ray is given for each that it can run, so that a cluster that can grow knows that it should."""


@dataclass(frozen=True)
class Crew:
    """Who fits chunks, connected and ready."""

    workers: Union[int, Literal["ray"]]
    """A number of processes, or a Ray cluster."""
    gpus_per_task: Optional[float] = None
    """Of Ray's tasks; None for one each where the cluster has some."""

    @property
    def slots(self) -> int:
        """Chunks that are fitted at the same time."""
        return ray_slots(import_ray(), self.gpus_per_task) if self.workers == "ray" else self.workers

    def free_bytes(self) -> float:
        """Memory that each of them may take: of the GPUs where there are some, else of the host."""
        if self.workers != "ray":
            return free_bytes() / self.workers
        nodes = [node["Resources"] for node in import_ray().nodes() if node["Alive"]]
        shares = (own["memory"] / max(1, own.get("CPU", 1)) for own in nodes if "memory" in own)
        return min(shares, default=free_bytes())

    def run(self, jobs: Sequence[ChunkJob], function: FitFunction, on_progress: OnProgress) -> Results:
        """The rows of chunks, as they come; what the function, importable by name, raises stops the others."""
        if self.workers == "ray":
            return run_on_ray(jobs, function, on_progress, self.gpus_per_task)
        if self.workers == 1:
            return run_here(jobs, function, on_progress)
        return run_local(jobs, self.workers, function, on_progress)


@contextlib.contextmanager
def crew_of(workers: Union[int, Literal["ray"]], gpus_per_task: Optional[float] = None) -> Iterator[Crew]:
    """Gets workers ready: 1 to stay in this process, more for processes of this machine, `ray` for tasks of the Ray
    cluster at hand, or of one that ends with this process, whose nodes see data and output under the same path."""
    if workers != "ray":
        yield Crew(workers)
        return
    ray = import_ray()
    is_ours = not ray.is_initialized()
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    try:
        yield Crew(workers, gpus_per_task)
    finally:
        if is_ours:
            ray.shutdown()


def free_bytes() -> int:
    """Bytes that are free: of the GPU where there is one, else of the host."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else free_host_bytes()


def run_here(jobs: Sequence[ChunkJob], function: FitFunction, on_progress: OnProgress) -> Results:
    name, backlog = f"process {os.getpid()}", Backlog(jobs)
    while backlog.jobs:
        job = backlog.jobs.popleft()
        on_progress(job, 0.0, name)
        try:
            rows = function(job, lambda share, job=job: on_progress(job, share, name))
        except OSError as error:
            if is_lasting(error):
                raise
            rows = backlog.take_back(job, f"{type(error).__name__}: {error}")
        yield job, rows


class Backlog:
    """Chunks that are to be given out, and how many workers each has cost."""

    def __init__(self, jobs: Sequence[ChunkJob]):
        self.jobs: Deque[ChunkJob] = deque(jobs)
        self.deaths: Counter[Tuple[str, ...]] = Counter()

    def take_back(self, job: ChunkJob, reason: str) -> List[SceneStatus]:
        """Takes back a chunk whose worker died, to be given out again; when that has happened often, in halves, as
        memory may have been what it lacked. A row where a single scene is left."""
        self.deaths[job.names] += 1
        if self.deaths[job.names] < DEATHS:
            self.jobs.appendleft(job)
            return []
        if len(job.names) == 1:
            got = f"{reason}, {DEATHS} time(s)"
            text = problem("its worker", "to live", got, "look at its log, or give it more memory")
            return [SceneStatus(job.names[0], "failed", text)]
        self.jobs.extendleft(replace(job, names=tuple(half)) for half in equal_parts(job.names, 2))
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
    """A process that fits one chunk after the other; `count` of them share processors and GPUs."""

    def __init__(self, index: int, count: int, function: FitFunction):
        self.function = function
        self.variables = worker_environment(index, count)
        self.job: Optional[ChunkJob] = None
        self.start()

    def start(self) -> None:
        context = get_context("spawn")  # a fork of a process that has threads, as torch has, can hang
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=begin, args=(theirs,), daemon=True)
        with environment(self.variables):
            self.process.start()
        theirs.close()  # so that its death closes the pipe
        with contextlib.suppress(OSError):  # a dead one is noticed when it is listened to
            self.pipe.send(self.function)
        self.name = f"process {self.process.pid}"

    def begin(self, job: ChunkJob, on_progress: OnProgress) -> None:
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
        except Exception:  # it is dead, or what it sent cannot be read
            rows = backlog.take_back(job, self.cause_of_death())
            self.job = None
            self.start()
            return job, rows
        if kind == "progress":
            on_progress(job, value, self.name)
            return None
        self.job = None
        return job, rows_of(kind, value, job, backlog)

    def cause_of_death(self) -> str:
        self.process.join(SECONDS_TO_END)
        self.process.terminate()
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


def rows_of(kind: str, value: Any, job: ChunkJob, backlog: Backlog) -> List[SceneStatus]:
    """The rows of a chunk by what `result_of` says of it; what the function raised is raised."""
    if kind == "done":
        return value
    if kind == "lost":
        return backlog.take_back(job, value)
    raise {"ValueError": ValueError, "OSError": OSError}.get(kind, RuntimeError)(value)


def worker_environment(index: int, count: int) -> Dict[str, str]:
    """Environment of a local worker, set before it starts: its GPU, by turns, and its share of the processors."""
    import torch

    threads = int(os.environ.get("OMP_NUM_THREADS") or usable_cores())
    own = str(max(1, min(threads, usable_cores() // count)))
    variables: Dict[str, str] = dict.fromkeys(VARIABLES, own)
    if torch.cuda.is_available():
        listed = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        devices = listed.split(",")
        variables["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return variables


@contextlib.contextmanager
def environment(variables: Dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a while, for processes that are started then."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


def run_on_ray(
    jobs: Sequence[ChunkJob], function: FitFunction, on_progress: OnProgress, gpus_per_task: Optional[float]
) -> Results:
    """Chunks as tasks of a Ray cluster, which tries none again itself: it would try what is too large for ever."""
    ray = import_ray()
    task = ray.remote(result_of)
    backlog, pending = Backlog(jobs), {}
    try:
        while backlog.jobs or pending:
            while backlog.jobs and len(pending) < QUEUED_PER_SLOT * ray_slots(ray, gpus_per_task):
                job = backlog.jobs.popleft()
                options = {"max_retries": 0, "num_cpus": 1, "num_gpus": ray_gpus(ray, gpus_per_task)}
                pending[task.options(**options).remote(function, job)] = job
                on_progress(job, 0.0, "ray")
            finished, _ = ray.wait(list(pending), timeout=SECONDS_BETWEEN_LOOKS)
            for result in finished:  # none where it is time to see whether the cluster has grown
                job = pending.pop(result)
                yield job, ray_rows(ray, result, job, backlog)
    finally:
        for result in pending:
            ray.cancel(result, force=True)


def ray_rows(ray: Any, result: Any, job: ChunkJob, backlog: Backlog) -> List[SceneStatus]:
    try:
        kind, value = ray.get(result)
    except ray.exceptions.RayTaskError as error:  # before the function began
        do = "install this package, of the same version, on every node"
        raise ValueError(problem("workers", "nodes that can run it", f"'{error.cause}'", do)) from None
    except ray.exceptions.RayError as error:  # what became of the worker, of its node, or of its memory
        return backlog.take_back(job, type(error).__name__)
    return rows_of(kind, value, job, backlog)


def ray_gpus(ray: Any, gpus_per_task: Optional[float]) -> float:
    """GPUs of a task that is given out now; those that join later are known then."""
    if gpus_per_task is not None:
        return gpus_per_task
    return 1.0 if ray.cluster_resources().get("GPU") else 0.0


def ray_slots(ray: Any, gpus_per_task: Optional[float] = None) -> int:
    """Tasks that the cluster runs at the same time, each of which takes a processor and its GPUs."""
    resources, gpus = ray.cluster_resources(), ray_gpus(ray, gpus_per_task)
    processors = resources.get("CPU", 1)
    return max(1, int(min(processors, resources.get("GPU", 0) / gpus) if gpus else processors))
