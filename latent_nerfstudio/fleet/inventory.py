"""Fits an inventory: plans it, gives out its chunks, keeps its status, and tries failed scenes once more."""

import contextlib
import sys
from pathlib import Path
from typing import Iterator, Sequence

from rich.console import Console
from tqdm import tqdm

from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.files.places import data_folder
from latent_nerfstudio.files.replacing import sole_writer
from latent_nerfstudio.fleet.fit_chunk import fit_chunk
from latent_nerfstudio.fleet.plan import chunk_that_fits, find_names, plan_jobs, survey
from latent_nerfstudio.fleet.request import FitRequest
from latent_nerfstudio.fleet.settings import SHARDS, ChunkJob, Inventory, keep_settings, resolved
from latent_nerfstudio.fleet.status import FILE, SceneStatus, StatusTable
from latent_nerfstudio.fleet.workers import Crew, FitFunction, crew_of
from latent_nerfstudio.models.shared_bundle import FORMER, SharedBundle, read_shared_bundle


def fit_scenes(request: FitRequest, method: LatentTrainerConfig) -> Iterator[StatusTable]:
    """Fits the scenes that are asked for and not finished by the config of `latent-triplane`; see `fit_inventory`."""
    request.check()
    names, part = find_names(data_folder(request.data), request.scenes), request.part()
    return fit_inventory(resolved(request, method), names if part is None else names[part[0] - 1 :: part[1]])


def fit_inventory(
    inventory: Inventory, names: Sequence[str], function: FitFunction = fit_chunk
) -> Iterator[StatusTable]:
    """Fits those of some scenes that are not finished, by chunks; yields the table at first and after each of them."""
    bundle = read_shared_bundle(inventory.bundle)
    with crew_of(inventory.workers, inventory.gpus_per_task) as crew, only_fitter(inventory):
        is_of_today = keep_settings(inventory.output, inventory.settings())
        size = sum(path.stat().st_size for path in bundle.folder.rglob("*.safetensors"))  # with encoder and decoder
        costs = {"bytes": float(size), "seconds": float(bundle.facts.get("seconds", 0.0))}
        table = StatusTable(inventory.place / FILE, names, costs, str(inventory.data))
        try:
            before = StatusTable.read(table.path)
        except (OSError, ValueError):
            before = StatusTable(table.path, ())  # of which nothing is known, whatever is there
        done, changed = survey(inventory, bundle, names, {row.name: row for row in before.done()})
        check_changed(inventory, before.data, changed)
        table.update(done.values())
        yield table
        left = [row.name for row in table.rows.values() if row.state != "done"]
        tell_replaced(inventory, bundle, len(left), is_of_today)
        size = inventory.chunk or chunk_that_fits(inventory, bundle, left, crew.free_bytes())
        # On the error stream of this moment: while a chunk is fitted in this process, messages go into its log.
        with tqdm(total=len(names), desc="Fitting scenes", unit="scene", file=sys.stderr, disable=None) as bar:
            yield from fit_jobs(plan_jobs(inventory, left, size, crew.slots), table, bar, crew, function)
            again = [ChunkJob(inventory, (row.name,)) for row in table.failed()]
            yield from fit_jobs(again, table, bar, crew, function)


@contextlib.contextmanager
def only_fitter(inventory: Inventory) -> Iterator[None]:
    """Keeps others out of the output, or out of this part of it, and removes what killed calls have left there."""
    with contextlib.ExitStack() as stack:
        if inventory.shard is None:
            for place in sorted((inventory.output / SHARDS).glob("*-of-*")):
                stack.enter_context(sole_writer(place))
        stack.enter_context(sole_writer(inventory.place, *([] if inventory.shard else ["scenes"])))
        yield


def check_changed(inventory: Inventory, before: str, changed: Sequence[str]) -> None:
    """Says which scenes are fitted again, as their pictures or cameras are others than those of their files."""
    if not changed:
        return
    if before and Path(before) != inventory.data and Path(before).is_dir():
        got = f"other pictures or cameras for {len(changed)} of them in {inventory.data}, such as '{changed[0]}'"
        raise ValueError(problem(inventory.output, f"the scenes of {before}", got, "give another --output"))
    tell(f"Fitted again, as their pictures or cameras have changed: {few_of(changed)}")


def tell_replaced(inventory: Inventory, bundle: SharedBundle, left: int, is_of_today: bool) -> None:
    """Says how the scenes that are left differ from finished ones, where the output was begun with a former version."""
    if left and not is_of_today:
        text = "Begun with other learning rates: finished scenes stay, and the"
        tell(f"{text} {left} left learn at today's; give another --output to fit all at these")
    if left and bundle.hash != inventory.bundle_hash:
        former, present = inventory.bundle_hash[:12], bundle.hash[:12]
        what, how = f"scene encoder of {inventory.bundle}", f"start from the present one ({present})"
        if inventory.bundle == FORMER:
            what, how = "bundle", "are fitted against it, without predictions"
        text = f"Begun with a former {what} ({former}): finished scenes stay, and the {left} left {how}"
        tell(f"{text}; give another --output for the present one")


def tell(text: str) -> None:
    Console(stderr=True).print(for_terminal(text), markup=False, soft_wrap=True)


def fit_jobs(
    jobs: Sequence[ChunkJob], table: StatusTable, bar: tqdm, crew: Crew, function: FitFunction
) -> Iterator[StatusTable]:
    """Fits chunks; yields the table after each. Those in progress count on the bar by the share that is done."""
    if not jobs:
        return
    over, shares = table.ended(), {}

    def show() -> None:
        bar.n = round(over + sum(shares.values()), 1)
        bar.refresh()

    def on_progress(job: ChunkJob, share: float, worker: str) -> None:
        if share == 0:
            left = [name for name in job.names if table.rows[name].state != "done"]
            table.update(SceneStatus(name, "running", worker=worker) for name in left)
        shares[job.names] = share * len(job.names)
        show()

    try:
        for job, rows in crew.run(jobs, function, on_progress):
            table.update(rows)
            shares.pop(job.names, None)
            over = table.ended()
            show()
            yield table
    finally:
        table.stop()
