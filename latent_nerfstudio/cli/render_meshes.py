"""`lns render-meshes`: turns mesh files into scenes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import tyro


@dataclass
class RenderMeshes:
    """Renders mesh files (glb, gltf, obj, ply, stl, off) into scenes: images and cameras, ready to train on."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder with meshes, searched with all its subfolders; or one mesh file."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write the scenes to, one folder each, named after the mesh file."""
    views: int = 60
    """Images a scene; every tenth is a test view."""
    resolution: int = 128
    """Width and height of the images, pixels."""
    seed: int = 0
    """Seed of the camera positions."""
    up_axis: Optional[Literal["y", "z"]] = None
    """Axis of the meshes that points up; by default y for glb, gltf and obj, z for the others."""
    shading: Literal["smooth", "flat"] = "smooth"
    """Smooth over edges that bend by less than 40 degrees, or flat."""
    num_workers: Optional[int] = None
    """Processes; by default one a core."""
    overwrite: bool = False
    """Replace scenes of the same name."""

    def main(self) -> None:
        """Writes the scenes; all meshes are read once before the first is rendered.

        Raises:
            ValueError: a number is out of its range, or a mesh cannot be read or has no faces.
            FileNotFoundError: there are no meshes.
            FileExistsError: a scene of the same name exists.
        """
        from latent_nerfstudio.meshes.jobs import check_meshes, find_meshes, make_scenes, mesh_jobs, worker_count
        from latent_nerfstudio.meshes.scene_writer import ViewOptions, check_free, check_view_options

        check_view_options(self.views, self.resolution, self.seed)
        files = find_meshes(self.folder)
        worker_count(self.num_workers, len(files))
        options = ViewOptions(self.views, self.resolution, self.seed, shading=self.shading)
        jobs = mesh_jobs(files, self.out, options, self.up_axis)
        check_free([job.folder for job in jobs], self.overwrite)
        check_meshes(jobs, self.num_workers)
        make_scenes(jobs, self.num_workers)
        print(f"Wrote {len(jobs)} scenes of {self.views} views to {self.out}")
