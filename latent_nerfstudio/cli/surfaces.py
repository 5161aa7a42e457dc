"""`lns export-points` and `lns export-mesh`: a scene as a coloured point cloud, and as a coloured mesh."""

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


@dataclass
class ExportMesh(OfScenes):
    """Writes a scene as a mesh with vertex colours, in the units of the scene: marching cubes on its density, colours
    from decoded views."""

    output: Path
    """File to write: .glb (y up, as glTF has it), .ply or .obj."""
    scene: Optional[str] = None
    """Name of the scene; by default the first."""
    size: int = 128
    """Points along the longest side of the scene box."""
    level: Optional[float] = None
    """Density of the surface; by default half of the light is absorbed within a fiftieth of the box's longest side."""
    views: int = 24
    """Number of views that the colours are taken from."""
    overwrite: Overwrite = False

    def main(self) -> None:
        from latent_nerfstudio.api.surfaces import SUFFIXES, save_mesh

        check_file(self.output, *SUFFIXES)
        check_free([self.output], self.overwrite)
        scenes = self.open()
        name = self.scene or scenes.names[0]
        surface = scenes.mesh(name, self.size, self.level, self.views)
        save_mesh(surface, self.output)
        counts = f"{len(surface.vertices):,} vertices and {len(surface.faces):,} faces"
        print(f"Wrote {counts} of {name} to {self.output}: {self.output.stat().st_size:,} bytes")
