"""Fits an inventory: plans it, gives out its chunks, keeps its status, and tries failed scenes once more."""

import contextlib
import dataclasses
import sys
from typing import Dict, Iterator, Optional, Sequence, Tuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from latent_nerfstudio.files.replacing import sole_writer
from latent_nerfstudio.fleet.fit_chunk import fit_chunk
from latent_nerfstudio.fleet.plan import chunk_that_fits, finished, plan_jobs
from latent_nerfstudio.fleet.settings import ChunkJob, Inventory, keep_settings
from latent_nerfstudio.fleet.status import FILE, SceneStatus, StatusTable, workers_of
from latent_nerfstudio.fleet.workers import FitFunction, Workers, run_chunks
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle


def fit_inventory(
    inventory: Inventory,
    names: Sequence[str],
    workers: Workers = 1,
    chunk: Optional[int] = None,
    function: FitFunction = fit_chunk,
) -> Iterator[StatusTable]:
    """Fits all scenes that are not finished; yields the table whenever scenes are, and at first.

    Args:
        inventory: what to fit, and where to.
        names: of its scenes.
        workers: see `run_chunks`.
        chunk: scenes that are fitted together at most; None for what memory allows.
        function: what fits a chunk.

    Raises:
        ValueError: the output folder holds scenes of other settings, or the bundle is not as it should be.
        OSError: the output folder cannot be written to, or another `lns fit-scenes` is at work in it.
    """
    with sole_writer(inventory.output, "scenes"):
        yield from fit_alone(inventory, names, workers, chunk, function)


def fit_alone(
    inventory: Inventory, names: Sequence[str], workers: Workers, chunk: Optional[int], function: FitFunction
) -> Iterator[StatusTable]:
    """The same, while nobody else writes into the output folder."""
    bundle = read_shared_bundle(inventory.bundle)
    keep_settings(inventory.output, inventory.settings)
    table = StatusTable(inventory.output / FILE, names, costs_of(bundle))
    known, done = workers_of(table.path), finished(inventory, bundle, names)
    table.update(dataclasses.replace(row, worker=known.get(row.name, "")) for row in done.values())
    yield table
    left = [row.name for row in table.rows.values() if row.state != "done"]
    count = workers if isinstance(workers, int) else 1
    size = chunk or chunk_that_fits(inventory, bundle, left, count)
    with shown_progress(table) as bar:
        yield from fit_jobs(plan_jobs(inventory, left, size, count), table, bar, workers, function)
        again = [ChunkJob(inventory, (row.name,)) for row in table.failed()]
        yield from fit_jobs(again, table, bar, workers, function)


def costs_of(bundle: SharedBundle) -> Dict[str, float]:
    """Bytes of a bundle on disk, encoder and decoder included, and the seconds in which it says that it was learned."""
    size = sum(path.stat().st_size for path in bundle.folder.rglob("*.safetensors"))
    return {"bytes": float(size), "seconds": float(bundle.facts.get("seconds", 0.0))}


def fit_jobs(
    jobs: Sequence[ChunkJob], table: StatusTable, bar: "ProgressBar", workers: Workers, function: FitFunction
) -> Iterator[StatusTable]:
    """Fits chunks; yields the table after each."""
    if not jobs:
        return

    def on_progress(job: ChunkJob, share: float, worker: str) -> None:
        if share == 0:
            table.update(SceneStatus(name, "running", worker=worker) for name in job.names if is_left(table, name))
        bar.set_share(job, share)

    try:
        for job, rows in run_chunks(jobs, workers, function, on_progress):
            table.update(rows)
            bar.set_share(job, None)
            yield table
    finally:
        table.stop()


def is_left(table: StatusTable, name: str) -> bool:
    """Whether a scene is not done yet."""
    return table.rows[name].state != "done"


class ProgressBar:
    """A bar over scenes; those of chunks in progress count by the share that is done."""

    def __init__(self, progress: Progress, table: StatusTable):
        self.progress, self.table = progress, table
        self.shares: Dict[Tuple[str, ...], float] = {}
        self.over = self.count_over()
        self.task = progress.add_task("Fitting scenes", total=len(table.rows), completed=self.over)

    def set_share(self, job: ChunkJob, share: Optional[float]) -> None:
        """Takes the share of a chunk that is done, None where it is over."""
        if share is None:
            self.shares.pop(job.names, None)
            self.over = self.count_over()
        else:
            self.shares[job.names] = share * len(job.names)
        self.progress.update(self.task, completed=self.over + sum(self.shares.values()))

    def count_over(self) -> int:
        """Scenes that are done or failed."""
        counts = self.table.counts()
        return counts.get("done", 0) + counts.get("failed", 0)


@contextlib.contextmanager
def shown_progress(table: StatusTable) -> Iterator[ProgressBar]:
    """The bar on the error stream of this moment: while a chunk is fitted in this process, messages go into its log."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn("left"), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, *left, console=console, redirect_stdout=False, redirect_stderr=False) as progress:
        yield ProgressBar(progress, table)
