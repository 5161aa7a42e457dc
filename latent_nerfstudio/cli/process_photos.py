"""`lns process-photos`: turns photos without poses into a scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import tyro

from latent_nerfstudio.cli.words import Overwrite
from latent_nerfstudio.files.places import check_folder, check_free


@dataclass
class ProcessPhotos:
    """Finds where photos were taken from (COLMAP), and writes them as a scene, undistorted and ready to train on."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")]
    """Folder of photos; masks may lie in masks/ in it or beside it, named as the photos, white where kept."""
    output: Annotated[Path, tyro.conf.arg(metavar="SCENE")]
    """Folder to write the scene to."""
    matching: Literal["exhaustive", "sequential"] = "exhaustive"
    """Pairs that are compared: every pair, or neighbours by name, for frames of a film."""
    lens: Literal["radial", "simple", "fisheye"] = "radial"
    """Distortion: radial and tangential (OpenCV), one number alone, or that of a fisheye."""
    longest_side: int = 1600
    """Longest side of the pictures, pixels; larger photos are made smaller."""
    background: Optional[str] = None
    """Background of one colour that is cut out: `auto` for that of the borders, a colour's name, or #rrggbb."""
    tolerance: float = 24.0
    """Tolerance: how far a channel may be from the background's colour, 0 to 255."""
    overwrite: Overwrite = False

    def main(self) -> None:
        """Writes the scene and says how many photos got poses."""
        check_folder(self.output)
        from latent_nerfstudio.photos.process import PhotoOptions, process_photos

        check_free([self.output], self.overwrite)
        options = PhotoOptions(self.matching, self.lens, self.longest_side, self.background, self.tolerance)
        print(process_photos(self.source, self.output, options))
