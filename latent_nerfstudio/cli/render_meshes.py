"""`lns render-meshes`: turns mesh files into scenes."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import tyro

from latent_nerfstudio.cli.words import Overwrite, Workers
from latent_nerfstudio.files.places import check_folder, check_free


@dataclass
class RenderMeshes:
    """Renders mesh files (glb, gltf, obj, ply, stl, off) into scenes: images and cameras, ready to train on."""

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
        from latent_nerfstudio.errors import check_least, problem
        from latent_nerfstudio.escaping import for_terminal
        from latent_nerfstudio.meshes.jobs import find_meshes, make_scenes, mesh_jobs

        check_least(self, views=2, size=8, seed=0, workers=1)
        files, options = find_meshes(self.source), {"resolution": self.size, "shading": self.shading}
        jobs = mesh_jobs(files, self.output, self.seed, self.up_axis, views=self.views, **options)
        check_free([job.folder for job in jobs], self.overwrite)
        broken = make_scenes(jobs, self.workers)
        if len(broken) < len(jobs):
            print(f"Wrote {len(jobs) - len(broken)} scenes of {self.views} views to {self.output}")
        if len(jobs) == 1 and broken:
            raise ValueError(broken[0])
        for reason in broken[1:]:
            print(for_terminal(reason), file=sys.stderr)
        if broken:
            got = f"{len(broken)} of {len(jobs)} that do not: {broken[0]}"
            raise ValueError(problem(self.source, "meshes that render", got, "repair them, or take them away"))
