"""`lns orbit` and `lns blend`: videos of scenes that turn beside each other, and of one that becomes another."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Iterator

import tyro

from latent_nerfstudio.cli.words import OfScenes, Rows, SceneNames, Size
from latent_nerfstudio.errors import check_least

if TYPE_CHECKING:
    from latent_nerfstudio.api.scenes import Scenes
    from latent_nerfstudio.videos.grid import Page


@dataclass
class Video(OfScenes):
    """What both take."""

    output: Path
    """Video to write: .mp4 or .gif; one that is there is replaced."""
    rows: Rows = field(default=("rgb", "latent", "depth"), kw_only=True)
    views: int = field(default=72, kw_only=True)
    """Frames of a turn."""
    size: Size = field(default=None, kw_only=True)
    fps: int = field(default=24, kw_only=True)
    """Frames a second."""

    def open(self) -> "Scenes":
        """The scenes, once it is known that a video can be written."""
        from latent_nerfstudio.api.cameras import check_side
        from latent_nerfstudio.videos.writing import check_video

        check_video(self.output)
        check_least(self, views=1, fps=1)
        check_side(self.size)
        return super().open()

    def write(self, frames: "Iterator[Page]") -> None:
        from latent_nerfstudio.api.progress import progress
        from latent_nerfstudio.videos.writing import write_video

        write_video(self.output, progress(frames, "Rendering frames", self.views), self.fps)


@dataclass
class Orbit(Video):
    """Writes a video of scenes that turn beside each other, each about what its cameras looked at."""

    scenes: SceneNames = ()

    def main(self) -> None:
        from latent_nerfstudio.api.loading import check_scenes
        from latent_nerfstudio.videos.turning import turning

        scenes = self.open()
        names = check_scenes(scenes, self.scenes)
        self.write(turning(scenes, names, self.rows, self.views, self.size))
        print(f"Wrote {self.views} frames of {len(names)} scene(s) to {self.output}")


@dataclass
class Blend(Video):
    """Writes a video of a scene that turns, becomes another and then itself again: micro planes and scene weights
    interpolated, between the two scenes."""

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FIRST")]
    """Name of the scene at the beginning."""
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SECOND")]
    """Name of the scene that it becomes."""
    views: int = field(default=120, kw_only=True)
    """Frames of the turn."""

    def main(self) -> None:
        from latent_nerfstudio.videos.turning import blending

        self.write(blending(self.open(), self.first, self.second, self.rows, self.views, self.size))
        print(f"Wrote {self.views} frames of {self.first} and {self.second} to {self.output}")
