"""`lns render-latents`: raw latents of a path of cameras, for methods that work on latents in 2D."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

from latent_nerfstudio.cli.words import OfScenes, Overwrite, Size
from latent_nerfstudio.errors import check_least
from latent_nerfstudio.files.places import check_file, check_free


@dataclass
class RenderLatents(OfScenes):
    """Writes the raw, un-normalised latents of a path of cameras, in the convention of the autoencoder: `vae.decode` of
    diffusers takes them as they are. `lns decode-latents` is the way back."""

    output: Path
    """File to write, .safetensors."""
    scene: Optional[str] = None
    """Name of the scene; by default the first."""
    camera_path: Optional[Path] = None
    """Camera path of the viewer (JSON); by default `path`."""
    path: Literal["orbit", "training"] = "orbit"
    """Path without a camera path of the viewer: a walk around the scene, or its training cameras."""
    views: int = 60
    """Pictures of the walk."""
    size: Size = None
    precision: Literal["float32", "float16"] = "float32"
    """Precision of the latents."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_file(self.output, ".safetensors")
        from latent_nerfstudio.api.cameras import camera_path, check_side
        from latent_nerfstudio.api.latent_files import render_latents, write_latents

        check_free([self.output], self.overwrite)
        check_least(self, views=1)
        check_side(self.size)
        cameras = None if self.camera_path is None else camera_path(self.camera_path)
        scenes = self.open()
        scene = self.scene or scenes.names[0]
        if cameras is None:
            is_orbit = self.path == "orbit"
            cameras = scenes.orbit(scene, self.views, self.size) if is_orbit else scenes.cameras(scene)
        file = render_latents(scenes, scene, cameras)
        count = write_latents(self.output, file, self.precision)
        shape = " x ".join(map(str, file.latents.shape))
        print(f"Wrote latents {shape} of {scene}, for pictures of {file.height} x {file.width}: {count:,} bytes")
