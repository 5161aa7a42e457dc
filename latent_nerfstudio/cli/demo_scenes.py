"""`lns demo-scenes`: generated scenes to try everything with; nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from latent_nerfstudio.cli.words import Overwrite, Workers
from latent_nerfstudio.files.places import check_folder, check_free


@dataclass
class DemoScenes:
    """Generates scenes of cars, or of things that an inventory may hold: images and cameras, ready to train on."""

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
        from latent_nerfstudio.errors import check_least
        from latent_nerfstudio.meshes.jobs import demo_jobs, make_scenes

        check_least(self, num_scenes=1, views=2, size=8, seed=0, start=0, workers=1)
        indices = range(self.start, self.start + self.num_scenes)
        jobs = demo_jobs(self.output, indices, self.seed, self.views, self.size, self.family)
        check_free([job.folder for job in jobs], self.overwrite)
        make_scenes(jobs, self.workers)
        print(f"Wrote {len(jobs)} scenes of {self.views} views to {self.output}")
