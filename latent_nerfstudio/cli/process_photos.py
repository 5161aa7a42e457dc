"""`lns process-photos`: turns photos without poses into a scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from latent_nerfstudio.cli.words import Overwrite
from latent_nerfstudio.files.places import check_folder, check_free
from latent_nerfstudio.photos import PhotoOptions


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
