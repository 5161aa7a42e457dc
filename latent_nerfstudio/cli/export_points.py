"""`lns export-points`: a scene as a coloured point cloud."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from latent_nerfstudio.cli.words import OfScenes, Overwrite
from latent_nerfstudio.files.places import check_file, check_free


@dataclass
class ExportPoints(OfScenes):
    """Writes a scene as a coloured point cloud (PLY), in the units of the scene: pixels of decoded views, at their
    depth."""

    output: Path
    """File to write, .ply."""
    scene: Optional[str] = None
    """Name of the scene; by default the first."""
    points: int = 200_000
    """Number of points at most."""
    views: int = 24
    """Number of views that they are taken from."""
    seed: int = 0
    """Seed of the choice of points."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_file(self.output, ".ply")
        check_free([self.output], self.overwrite)
        scenes = self.open()
        name = self.scene or scenes.names[0]
        cloud = scenes.point_cloud(name, self.views, self.points, self.seed)
        cloud.save(self.output)
        print(f"Wrote {len(cloud):,} points of {name} to {self.output}: {self.output.stat().st_size:,} bytes")
