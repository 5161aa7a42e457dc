"""Scenes of mesh files and of generated objects, rendered and written in Nerfstudio's format, a process a core."""

import json
import os
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.camera_file import pinhole, write_pictures
from latent_nerfstudio.files.places import check_free
from latent_nerfstudio.files.reading import read_text
from latent_nerfstudio.files.replacing import check_replaceable, remove_left_behind, replacing_folder
from latent_nerfstudio.meshes.cars import car
from latent_nerfstudio.meshes.goods import kind_of, thing
from latent_nerfstudio.meshes.mesh_files import hashes_of
from latent_nerfstudio.meshes.raycast import SAMPLES_PER_AXIS, Raycaster, import_embree
from latent_nerfstudio.meshes.surface import Shading, Surface, UpAxis, load_surface, unit_box_map
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, framing_radius, hemisphere
from latent_nerfstudio.names import check_names, name_key

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
Family = Literal["cars", "goods", "mixed"]
"""Families of generated objects."""
TEST_EVERY = 10
"""Every tenth view is a test view."""
AABB_MARGIN = 0.02
"""Share of each side that the box of a scene is wider on either end than its mesh."""
AABB_THINNEST = 0.03
"""Share of the mesh's longest side that each side of its box has at least: a sheet has a box as well."""
SCENE_FILES = r"transforms\.json|images/\d+\.png"
"""Names of the files of a scene, which alone are replaced."""


@dataclass(frozen=True)
class SceneJob:
    """One scene to make, of a mesh file or of a generated object."""

    folder: Path
    views: int
    resolution: int
    """Width and height of the views, pixels."""
    seed: int
    """Of the camera positions, and of a generated object."""
    mesh: Optional[Path] = None
    """The mesh file; None for a generated object."""
    kind: str = "car"
    """What to generate, if there is no mesh file: `car`, or a kind of `goods.KINDS`."""
    shading: Shading = "smooth"
    up_axis: UpAxis = "z"
    """Of the mesh."""

    def surface(self) -> Surface:
        if self.mesh is not None:
            return load_surface(self.mesh)
        return car(self.seed) if self.kind == "car" else thing(self.seed)

    def options(self) -> dict[str, Any]:
        """What decides how its pictures look, besides the files of its mesh."""
        of_mesh = {"shading": self.shading, "up_axis": self.up_axis} if self.mesh else {"kind": self.kind}
        return {"views": self.views, "size": self.resolution, "seed": self.seed, **of_mesh}


def demo_jobs(out: Path, indices: range, seed: int, views: int, resolution: int, family: Family) -> list[SceneJob]:
    """Generated scenes: `out/car_0000` or `out/mug_0001` and on, each with its own cameras, whatever else is made; the
    car of an index is the same in `mixed`, where every fourth scene is one, as in `cars`."""
    jobs = []
    for index in indices:
        own = scene_seed(seed, index)
        is_car = family == "cars" or (family == "mixed" and index % 4 == 0)
        kind = "car" if is_car else kind_of(own)
        jobs.append(SceneJob(out / f"{kind}_{index:04d}", views, resolution, own, kind=kind))
    return jobs


def mesh_jobs(
    files: dict[str, Path], out: Path, seed: int, up_axis: Optional[UpAxis] = None, **options: Any
) -> list[SceneJob]:
    """The scenes of mesh files by name, each with its own cameras; `options` are other fields of `SceneJob`."""
    return [
        SceneJob(
            out / name,
            seed=scene_seed(seed, zlib.crc32(name.encode())),
            mesh=path,
            up_axis=up_axis or usual_up_axis(path),
            **options,
        )
        for name, path in files.items()
    ]


def usual_up_axis(path: Path) -> UpAxis:
    """The up axis that a mesh file most likely has: y of glTF by its standard, of obj by the habit of its exporters."""
    return "y" if path.suffix.lower() in (".glb", ".gltf", ".obj") else "z"


def scene_seed(family: int, index: int) -> int:
    """A seed for scene `index` of a family; scenes of different families differ."""
    return int(np.random.SeedSequence([family, index]).generate_state(1, np.uint64)[0])


def find_meshes(folder: Path) -> dict[str, Path]:
    """Mesh files in a folder and below (or one file), by the names that their scenes will have: the files' own, with
    folders in front where files are called the same, and the format behind if all else is alike."""
    if not folder.exists():
        raise FileNotFoundError(problem(folder, "a folder of meshes", "nothing there", "check the path"))
    root, candidates = (folder.parent, [folder]) if folder.is_file() else (folder, sorted(folder.rglob("*")))
    # Names with a leading dot are left-overs of macOS archives (._chair.obj).
    meshes = [path for path in candidates if path.suffix.lower() in MESH_SUFFIXES and path.is_file()]
    paths = [path for path in meshes if not path.name.startswith(".")]
    if not paths:
        expected = f"mesh files ({' '.join(MESH_SUFFIXES)})"
        raise FileNotFoundError(problem(folder, expected, "none", "convert yours to one of these"))
    names = scene_names([path.relative_to(root) for path in paths])
    check_names(names, folder)
    return dict(zip(names, paths, strict=True))


def scene_names(paths: list[Path]) -> list[str]:
    """A name for each relative path, as short as keeps them different."""
    choices = [
        [path.stem for path in paths],
        ["_".join(path.with_suffix("").parts) for path in paths],
        ["_".join(path.parts).replace(".", "_") for path in paths],
    ]
    counts = [Counter(map(name_key, names)) for names in choices]
    shortest = []
    for path, *names in zip(paths, *choices, strict=True):
        own = [name for name, count in zip(names, counts, strict=True) if count[name_key(name)] == 1]
        if not own:
            raise ValueError(problem(path, "a name of its own", "one like another file's", "rename the file"))
        shortest.append(own[0])
    return shortest


def left_to_make(jobs: list[SceneJob], overwrite: bool) -> list[SceneJob]:
    """The scenes that are not there yet, or all where they are to be replaced; refuses where anything else is there."""
    left = [job for job in jobs if overwrite or not is_made(job)]
    check_free([job.folder for job in left], overwrite, "nothing there, or the same scene with the same options")
    return left


def is_made(job: SceneJob) -> bool:
    """Whether the scene is there, whole, of the same files and with the same options."""
    try:
        meta = json.loads(read_text(job.folder / "transforms.json"))
        files = meta["made_from"].pop("files")
        is_same = meta["made_from"] == job.options() and (not job.mesh or files == hashes_of(job.mesh, files))
        return is_same and all((job.folder / frame["file_path"]).is_file() for frame in meta["frames"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no scene, or not of ours
        return False


def failure_of(job: SceneJob) -> str:
    """Makes one scene; what is wrong with its mesh if that cannot be rendered, else nothing."""
    try:
        write_scene(job.surface(), job)
    except (ValueError, FileNotFoundError, MemoryError) as error:
        text = str(error) or type(error).__name__
        return text if text.startswith(str(job.mesh)) else f"{job.mesh}: {text}"
    return ""


def write_scene(surface: Surface, job: SceneJob) -> None:
    """Renders a surface and writes `transforms.json` and `images/*.png`; replaces an older scene whole. The surface is
    centred on the origin and brought to the longest side 1, and the cameras stand so far away that none cuts it off: a
    point x of the mesh is at applied_scale * applied_transform [x, 1] in the scene."""
    focal = FOCAL_PER_WIDTH * job.resolution
    turn, shift, size = unit_box_map(surface.triangles, job.up_axis)
    placed = surface.normalized(job.up_axis)
    points = placed.triangles.reshape(-1, 3)
    radius = framing_radius(points, job.views, job.seed)
    poses = hemisphere(job.views, job.seed, radius)
    caster = Raycaster(placed, shading=job.shading, samples_per_unit=SAMPLES_PER_AXIS * focal / radius)
    low, high = points.min(0), points.max(0)
    sides = high - low
    margin = np.maximum(AABB_MARGIN * sides, (AABB_THINNEST * sides.max() - sides) / 2)

    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(job.folder, SCENE_FILES) as writing:
        write_pictures(
            writing,
            (caster.render(pose, job.resolution) for pose in poses),
            poses,
            held_out_every=TEST_EVERY,
            **pinhole(job.resolution, job.resolution, focal, focal),
            aabb=[(low - margin).tolist(), (high + margin).tolist()],
            applied_transform=np.concatenate([turn, shift[:, None]], axis=1),
            applied_scale=1 / size,
            made_from={**job.options(), "files": dict(surface.files)},
        )


def make_scenes(jobs: list[SceneJob], num_workers: Optional[int] = None) -> list[str]:
    """Makes scenes in `num_workers` processes, None for one a core, and returns what is wrong with the meshes that
    cannot be rendered; what killed runs have left there is removed first."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    from tqdm import tqdm

    import_embree()  # where it is missing, this is said once, and not of each mesh
    for folder in {job.folder.parent for job in jobs}:
        remove_left_behind(folder)
    for job in jobs:
        check_replaceable(job.folder, SCENE_FILES)
    count = max(1, min(num_workers or os.cpu_count() or 1, len(jobs)))
    if count == 1:
        return list(filter(None, map(failure_of, tqdm(jobs, "Rendering", unit="scene", delay=2))))
    # Spawned: a fork of a process that has threads (torch, embree) can hang.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(failure_of, job) for job in jobs]
        try:
            done = tqdm(as_completed(pending), total=len(jobs), desc="Rendering", unit="scene", delay=2)
            return sorted(filter(None, (future.result() for future in done)))
        except BrokenProcessPool as error:
            expected, do = "processes that end by themselves", "use fewer --workers; memory may have run out"
            raise ChildProcessError(problem("workers", expected, "a killed one", do)) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # work that has not begun is dropped
            raise
