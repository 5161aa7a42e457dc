"""`lns gallery`: a page of scenes that turn."""

from dataclasses import dataclass
from pathlib import Path

from latent_nerfstudio.cli.words import OfScenes, Overwrite, SceneNames
from latent_nerfstudio.files.places import check_folder, check_free


@dataclass
class Gallery(OfScenes):
    """Writes a folder with one HTML page that needs no server and no network: a thumbnail of each scene that turns when
    it is dragged, with name, PSNR and bytes, to be searched, sorted and filtered."""

    output: Path
    """Folder to write: index.html, and a strip of pictures of each scene."""
    scenes: SceneNames = ()
    title: str = ""
    """Title of the page; by default the source's name, of a run its experiment's."""
    views: int = 24
    """Pictures of a turn."""
    size: int = 192
    """Side of a thumbnail, pixels."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        from latent_nerfstudio.api.loading import check_scenes
        from latent_nerfstudio.gallery.page import check_strip, write_gallery

        check_strip(self.views, self.size)
        check_free([self.output], self.overwrite)
        scenes = self.open()
        names = check_scenes(scenes, self.scenes)
        page = write_gallery(self.output, scenes, names, self.views, self.size, self.title)
        print(f"Wrote {len(names)} scene(s): open {page}")
