"""`lns orbit`: a video of scenes that turn beside each other."""

from dataclasses import dataclass
from pathlib import Path

from latent_nerfstudio.cli.words import OfScenes, Rows, SceneNames, Size
from latent_nerfstudio.errors import check_least


@dataclass
class Orbit(OfScenes):
    """Writes a video of scenes that turn beside each other, each about what its cameras looked at."""

    output: Path
    """Video to write: .mp4 or .gif; one that is there is replaced."""
    scenes: SceneNames = ()
    rows: Rows = ("rgb", "latent", "depth")
    views: int = 72
    """Frames of a turn."""
    size: Size = None
    fps: int = 24
    """Frames a second."""

    def main(self) -> None:
        """Writes the video."""
        from latent_nerfstudio.api.cameras import check_side
        from latent_nerfstudio.api.loading import check_scenes
        from latent_nerfstudio.api.progress import progress
        from latent_nerfstudio.videos.turning import turning
        from latent_nerfstudio.videos.writing import check_video, write_video

        check_video(self.output)
        check_least(self, views=1, fps=1)
        check_side(self.size)
        scenes = self.open()
        names = check_scenes(scenes, self.scenes)
        frames = progress(turning(scenes, names, self.rows, self.views, self.size), "Rendering frames", self.views)
        write_video(self.output, frames, self.fps)
        print(f"Wrote {self.views} frames of {len(names)} scene(s) to {self.output}")
