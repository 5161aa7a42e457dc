"""Frames to mp4 or gif, by the ffmpeg that comes with imageio-ffmpeg, whole or not at all."""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_file
from latent_nerfstudio.files.replacing import replacing_path

SETTINGS: Dict[str, Dict[str, Any]] = {
    # nearly without loss, and shown before it is loaded whole
    ".mp4": {"codec": "libx264", "output_params": ["-crf", "17", "-preset", "medium", "-movflags", "+faststart"]},
    # one palette for all frames, so that colours do not flicker
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "output_params": [
            *("-filter_complex", "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none"),
            *("-loop", "0"),
        ],
    },
}
"""What ffmpeg is told, by the file's ending."""

MOST_FPS = {".mp4": 240, ".gif": 50}
"""Frames a second at most: players take less than 2 hundredths between those of a gif for a mistake."""

Frame = UInt8[np.ndarray, "_ _ 3"]


def check_video(path: Path) -> None:
    """Refuses, before long work starts, a video that could not be written."""
    check_file(path, *SETTINGS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        got, do = f"'{error.strerror}'", "name another --output"
        raise type(error)(problem(path, "a path that can be written", got, do)) from error
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
    if fps < 1:
        raise ValueError(problem("fps", "at least 1", fps, "try 24"))
    check_video(path)
    with replacing_path(path, path.suffix) as written:
        send(written, iter(frames), min(fps, MOST_FPS[path.suffix.lower()]))


def send(path: Path, frames: Iterator[Frame], fps: int) -> None:
    import imageio_ffmpeg

    first = next(frames, None)
    if first is None:
        raise ValueError(problem("video", "at least one frame", "none", "ask for more views"))
    height, width = first.shape[:2]
    settings: Any = {"fps": fps, "quality": None, "macro_block_size": 2, "ffmpeg_log_level": "error"}
    settings.update(SETTINGS[path.suffix.lower()])
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), **settings)
    writer.send(None)
    try:
        for frame in itertools.chain([first], frames):
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()


def even(frames: UInt8[np.ndarray, "n _ _ 3"]) -> UInt8[np.ndarray, "n _ _ 3"]:
    """Frames whose sides are even numbers of pixels: the last row and column are repeated where they are not."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
