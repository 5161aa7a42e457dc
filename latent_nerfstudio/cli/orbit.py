"""`lns orbit`: a video of scenes that turn beside each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from latent_nerfstudio.cli.words import OfScenes, Rows, SceneNames, Size
from latent_nerfstudio.errors import problem


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
        from latent_nerfstudio.api.loading import check_scenes
        from latent_nerfstudio.api.progress import progress
        from latent_nerfstudio.videos.turning import turning
        from latent_nerfstudio.videos.writing import check_video, write_video

        check_video(self.output)
        check_numbers(self.views, self.fps, self.size)
        scenes = self.open()
        names = check_scenes(scenes, self.scenes)
        frames = progress(turning(scenes, names, self.rows, self.views, self.size), "Rendering frames", self.views)
        write_video(self.output, frames, self.fps)
        print(f"Wrote {self.views} frames of {len(names)} scene(s) to {self.output}")


def check_numbers(views: int, fps: int, size: Optional[int]) -> None:
    """Refuses numbers that are out of their ranges.

    Raises:
        ValueError: such a number.
    """
    from latent_nerfstudio.api.cameras import check_side

    for name, value in (("views", views), ("fps", fps)):
        if value < 1:
            raise ValueError(problem(name, "at least 1", value, f"raise --{name}"))
    if size is not None:
        check_side(size)
