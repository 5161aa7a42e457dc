"""`lns render-latents`: raw latents of a path of cameras, for methods that work on latents in 2D."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Optional

from latent_nerfstudio.cli.words import OfScenes, Overwrite, Size
from latent_nerfstudio.errors import problem

if TYPE_CHECKING:
    from nerfstudio.cameras.cameras import Cameras

    from latent_nerfstudio.api.scenes import Scenes


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
        """Writes the file."""
        from latent_nerfstudio.api.cameras import camera_path
        from latent_nerfstudio.api.latent_files import render_latents, write_latents
        from latent_nerfstudio.cli.export_scenes import check_free
        from latent_nerfstudio.cli.orbit import check_numbers

        if self.output.suffix != ".safetensors":
            raise ValueError(problem("output", "a .safetensors file", self.output, "change its ending"))
        check_free([self.output], self.overwrite)
        check_numbers(self.views, 1, self.size)
        given = None if self.camera_path is None else camera_path(self.camera_path)
        scenes = self.open()
        scene = self.scene or scenes.names[0]
        file = render_latents(scenes, scene, self.cameras(scenes, scene) if given is None else given)
        count = write_latents(self.output, file, self.precision)
        shape = " x ".join(map(str, file.latents.shape))
        print(f"Wrote latents {shape} of {scene}, for pictures of {file.height} x {file.width}: {count:,} bytes")

    def cameras(self, scenes: "Scenes", scene: str) -> "Cameras":
        """The cameras without a camera path."""
        return scenes.cameras(scene) if self.path == "training" else scenes.orbit(scene, self.views, self.size)
