"""`lns demo-scenes`, `lns render-meshes` and `lns process-photos`: scenes to train on."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import tyro

from latent_nerfstudio.cli.words import Overwrite, Workers
from latent_nerfstudio.errors import check_least, problem
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.files.places import check_folder, check_free
from latent_nerfstudio.photos import PhotoOptions


def written(output: Path, views: int, new: int, there: int) -> str:
    """What a call has done that left `there` scenes, `new` of them its own."""
    rest = f"; {there - new} were there already" if there > new else ""
    return f"Wrote {new} scenes of {views} views to {output}{rest}"


@dataclass
class DemoScenes:
    """Generates scenes of cars, or of things that an inventory may hold: images and cameras, ready to train on. The
    same call again goes on where the last one ended."""

    output: Path
    """Folder to write the scenes to, one folder each: car_0000, car_0001, ..."""
    family: Literal["cars", "goods", "mixed"] = "cars"
    """Family of objects: cars; goods, which are bottles, mugs, tins, packages, vases, chairs and lamps; or both."""
    num_scenes: int = 4
    """Number of scenes."""
    views: int = 60
    """Images a scene; every tenth is a test view."""
    size: int = 128
    """Width and height of the images, pixels."""
    seed: int = 0
    """Seed of the family; scene i of a seed is the same however many are made."""
    start: int = 0
    """Index of the first scene, to add more to a folder later."""
    workers: Workers = None
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        from latent_nerfstudio.meshes.jobs import demo_jobs, left_to_make, make_scenes

        check_least(self, num_scenes=1, views=2, size=8, seed=0, start=0, workers=1)
        indices = range(self.start, self.start + self.num_scenes)
        jobs = demo_jobs(self.output, indices, self.seed, self.views, self.size, self.family)
        left = left_to_make(jobs, self.overwrite)
        make_scenes(left, self.workers)
        print(written(self.output, self.views, len(left), len(jobs)))


@dataclass
class RenderMeshes:
    """Renders mesh files (glb, gltf, obj, ply, stl, off) into scenes: images and cameras, ready to train on. The same
    call again goes on where the last one ended, and tries broken meshes again."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESHES")]
    """Folder with meshes, searched with all its subfolders; or one mesh file."""
    output: Annotated[Path, tyro.conf.arg(metavar="SCENES")]
    """Folder to write the scenes to, one folder each, named after the mesh file."""
    views: int = 60
    """Images a scene; every tenth is a test view."""
    size: int = 128
    """Width and height of the images, pixels."""
    seed: int = 0
    """Seed of the camera positions."""
    up_axis: Optional[Literal["y", "z"]] = None
    """Axis of the meshes that points up; by default y for glb, gltf and obj, z for the others."""
    shading: Literal["smooth", "flat"] = "smooth"
    """Shading: smooth over edges that bend by less than 40 degrees, or flat."""
    workers: Workers = None
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        from latent_nerfstudio.meshes.jobs import find_meshes, left_to_make, make_scenes, mesh_jobs

        check_least(self, views=2, size=8, seed=0, workers=1)
        files, options = find_meshes(self.source), {"resolution": self.size, "shading": self.shading}
        jobs = mesh_jobs(files, self.output, self.seed, self.up_axis, views=self.views, **options)
        left = left_to_make(jobs, self.overwrite)
        broken = make_scenes(left, self.workers)
        if len(broken) < len(jobs):
            print(written(self.output, self.views, len(left) - len(broken), len(jobs) - len(broken)))
        if len(jobs) == 1 and broken:
            raise ValueError(broken[0])
        for reason in broken[1:]:
            print(for_terminal(reason), file=sys.stderr)
        if broken:
            got = f"{len(broken)} of {len(jobs)} that do not: {broken[0]}"
            raise ValueError(problem(self.source, "meshes that render", got, "repair them, or take them away"))


@dataclass
class ProcessPhotos(PhotoOptions):
    """Finds where photos were taken from (COLMAP), and writes them as a scene, undistorted and ready to train on."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")]
    """Folder of photos; masks may lie in masks/ in it or beside it, named as the photos, white where kept."""
    output: Annotated[Path, tyro.conf.arg(metavar="SCENE")]
    """Folder to write the scene to."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        from latent_nerfstudio.photos.process import process_photos

        check_free([self.output], self.overwrite)
        print(process_photos(self.source, self.output, self))
