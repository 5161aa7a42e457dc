"""`lns blend`: a video of a scene that becomes another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from latent_nerfstudio.cli.words import OfScenes, Rows, Size
from latent_nerfstudio.errors import check_least


@dataclass
class Blend(OfScenes):
    """Writes a video of a scene that turns, becomes another and then itself again: micro planes and scene weights
    interpolated, between the two scenes."""

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FIRST")]
    """Name of the scene at the beginning."""
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SECOND")]
    """Name of the scene that it becomes."""
    output: Path
    """Video to write: .mp4 or .gif; one that is there is replaced."""
    rows: Rows = ("rgb", "latent", "depth")
    views: int = 120
    """Frames of the turn."""
    size: Size = None
    fps: int = 24
    """Frames a second."""

    def main(self) -> None:
        """Writes the video."""
        from latent_nerfstudio.api.cameras import check_side
        from latent_nerfstudio.api.progress import progress
        from latent_nerfstudio.videos.turning import blending
        from latent_nerfstudio.videos.writing import check_video, write_video

        check_video(self.output)
        check_least(self, views=1, fps=1)
        check_side(self.size)
        scenes = self.open()
        blended = blending(scenes, self.first, self.second, self.rows, self.views, self.size)
        write_video(self.output, progress(blended, "Rendering frames", self.views), self.fps)
        print(f"Wrote {self.views} frames of {self.first} and {self.second} to {self.output}")
