"""Frames to mp4 or gif, by the ffmpeg that comes with imageio-ffmpeg, whole or not at all."""

import itertools
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_file
from latent_nerfstudio.files.replacing import replacing_path

SETTINGS = {
    # nearly without loss, and shown before it is loaded whole
    ".mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "17", "-preset", "medium", "-movflags", "+faststart"],
    # one palette for all frames, so that colours do not flicker
    ".gif": [
        *("-c:v", "gif", "-pix_fmt", "pal8", "-loop", "0"),
        *("-filter_complex", "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none"),
    ],
}
"""What ffmpeg is told, by the file's ending."""

MOST_FPS = {".mp4": 240, ".gif": 50}
"""Frames a second at most: players take less than 2 hundredths between those of a gif for a mistake."""

Frame = UInt8[np.ndarray, "_ _ 3"]


def check_video(path: Path, fps: int) -> None:
    """Refuses, before long work starts, a video that could not be written, or not with so many frames a second."""
    check_file(path, *SETTINGS)
    most = MOST_FPS[path.suffix.lower()]
    if not 1 <= fps <= most:
        raise ValueError(problem("fps", f"1 to {most} frames a second of a {path.suffix}", fps, "try 24"))
    find_ffmpeg()


def find_ffmpeg() -> str:
    """The program of imageio-ffmpeg, which must be there."""
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        program = "none"
    if shutil.which(program) is None:
        do = "install ffmpeg with the system's packages, or point IMAGEIO_FFMPEG_EXE to one"
        raise FileNotFoundError(problem("ffmpeg", "a program, as imageio-ffmpeg brings", program, do))
    return program


def write_video(path: Path, frames: Iterable[Frame], fps: int) -> None:
    """Writes an .mp4 (H.264) or a .gif of frames of one size, of even numbers of pixels."""
    check_video(path, fps)
    with replacing_path(path, path.suffix) as written:
        send(written, iter(frames), fps)


def send(path: Path, frames: Iterator[Frame], fps: int) -> None:
    """Has ffmpeg write frames; where it cannot, on a full disk for instance, what it says is the error."""
    first = next(frames, None)
    if first is None:
        raise ValueError(problem("video", "at least one frame", "none", "ask for more views"))
    height, width = first.shape[:2]
    read = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-")
    command = [find_ffmpeg(), "-y", "-v", "error", *read, *SETTINGS[path.suffix.lower()], str(path.absolute())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            with suppress(BrokenPipeError):  # it has ended, and is asked why
                for frame in itertools.chain([first], frames):
                    process.stdin.write(frame.tobytes())  # type: ignore[union-attr]
            said = process.communicate()[1].decode(errors="replace").strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        got = said.splitlines()[-1] if said else f"an end with {process.returncode}"
        raise OSError(problem("video", "ffmpeg to write all frames", f"'{got}'", "make room, or name another --output"))


def even(frames: UInt8[np.ndarray, "n _ _ 3"]) -> UInt8[np.ndarray, "n _ _ 3"]:
    """Frames whose sides are even numbers of pixels: the last row and column are repeated where they are not."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
