"""`lns orbit` and `lns blend`, videos of scenes that turn beside each other, and of one that becomes another; and `lns
link-ffmpeg`, an ffmpeg for ns-render, which looks for one on PATH, without a system package."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Iterator, Optional

import tyro

from latent_nerfstudio.cli.words import OfScenes, Rows, SceneNames, Size
from latent_nerfstudio.errors import check_least
from latent_nerfstudio.files.places import check_folder

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

        check_video(self.output, self.fps)
        check_least(self, views=1)
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


@dataclass
class LinkFfmpeg:
    """Puts imageio-ffmpeg's program beside the ns-* commands as `ffmpeg`; does nothing where PATH has one."""

    output: Optional[Path] = None
    """Folder to link it into; by default that of the running Python, where the ns-* commands are."""

    def main(self) -> None:
        check_folder(self.output)
        target = (self.output or Path(sys.executable).parent) / ("ffmpeg.exe" if sys.platform == "win32" else "ffmpeg")
        found = shutil.which("ffmpeg")
        if found is None and not target.exists():
            link_ffmpeg(target)
        print(f"ffmpeg: {found or target}")


def link_ffmpeg(target: Path) -> None:
    """Makes `target` a link to imageio-ffmpeg's program, or a copy where links are not allowed."""
    from latent_nerfstudio.files.locks import writable
    from latent_nerfstudio.videos.writing import find_ffmpeg

    program = find_ffmpeg()
    with writable(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(program)
    except OSError:
        shutil.copy2(program, target)
