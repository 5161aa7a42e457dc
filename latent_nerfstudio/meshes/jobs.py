"""Makes many scenes, one process each core, with one progress bar."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from latent_nerfstudio.meshes.normalize import UpAxis
from latent_nerfstudio.meshes.scene_writer import ViewOptions, write_scene


@dataclass(frozen=True)
class SceneJob:
    """One scene to make: a car of a seed, or a mesh file."""

    folder: Path
    options: ViewOptions
    car_seed: Optional[int] = None
    mesh: Optional[Path] = None
    up_axis: UpAxis = "z"


def make_scene(job: SceneJob, on_view: Callable[[], None] | None = None) -> None:
    """Makes one scene.

    Raises:
        ValueError: the mesh cannot be read or has no faces.
    """
    from latent_nerfstudio.meshes.cars import car
    from latent_nerfstudio.meshes.surface import load_surface, surface_of

    if job.mesh is not None:
        surface = load_surface(job.mesh)
    else:
        surface = surface_of(car(job.car_seed or 0))
    write_scene(surface.normalized(job.up_axis), job.folder, job.options, on_view)


def make_scenes(jobs: list[SceneJob], num_workers: Optional[int] = None) -> None:
    """Makes scenes in parallel; the first error stops the rest.

    Args:
        jobs: what to make.
        num_workers: processes; None for one a core, 1 to stay in this process.
    """
    from tqdm import tqdm

    workers = min(num_workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        with tqdm(total=sum(job.options.views for job in jobs), desc="Rendering", unit="view") as bar:
            for job in jobs:
                make_scene(job, lambda: bar.update() and None)
        return
    # Processes are spawned: a fork of a process with threads (torch, embree) can hang.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(make_scene, job) for job in jobs]
        try:
            for done in tqdm(as_completed(pending), total=len(pending), desc="Rendering", unit="scene"):
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
