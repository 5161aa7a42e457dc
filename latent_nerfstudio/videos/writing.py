"""Frames to mp4, by the ffmpeg that comes with imageio-ffmpeg, or to gif, whole or not at all."""

import shutil
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any, Iterable, Iterator, List

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.replacing import replacing_path

SUFFIXES = (".mp4", ".gif")
"""Of the files that can be written."""

QUALITY = ("-crf", "17", "-preset", "medium", "-movflags", "+faststart")
"""What ffmpeg is told: nearly without loss, and to be shown before it is loaded whole."""

PALETTE = 256
"""Colours of a gif, one for all its frames, so that they do not flicker."""

NEARLY_WHITE = 246
"""From which on all parts of a colour, of 255, are taken for white. Pages are white, and PIL, which looks colours up in
steps of 4, would take any such colour of the palette for it."""

PROBED = 12
"""Frames that a gif's colours are taken from."""

Frame = UInt8[np.ndarray, "_ _ 3"]


def check_video(path: Path) -> None:
    """Refuses, before long work starts, a video that could not be written.

    Raises:
        ValueError: another ending than .mp4 and .gif.
        FileNotFoundError: no ffmpeg.
        OSError: a path that cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(problem("output", " or ".join(SUFFIXES), path, "change its ending"))
    if path.is_dir():
        raise IsADirectoryError(problem("output", "a file", f"the folder {path}", "name a file in it"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        got, do = f"'{error.strerror}'", "name another --output"
        raise type(error)(problem(path, "a path that can be written", got, do)) from error
    if path.suffix.lower() == ".mp4":
        check_ffmpeg()


def check_ffmpeg() -> None:
    """Refuses to go on without an ffmpeg."""
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        program = "none"
    if shutil.which(program) is None:
        do = "install ffmpeg with the system's packages, point IMAGEIO_FFMPEG_EXE to one, or write a .gif"
        raise FileNotFoundError(problem("ffmpeg", "a program, as imageio-ffmpeg brings", program, do))


def write_video(path: Path, frames: Iterable[Frame], fps: int) -> int:
    """Writes a video, whole or not at all.

    Args:
        path: .mp4 (H.264) or .gif, which is repeated for ever.
        frames: of one size, of even numbers of pixels.
        fps: frames a second, at least 1.

    Returns:
        Number of frames.

    Raises:
        ValueError: no frame, another ending, or a number out of its range.
        OSError: no room, or a path that cannot be written.
    """
    if fps < 1:
        raise ValueError(problem("fps", "at least 1", fps, "try 24"))
    check_video(path)
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ValueError(problem("video", "at least one frame", "none", "ask for more views"))
    write = write_gif if path.suffix.lower() == ".gif" else write_mp4
    with replacing_path(path, path.suffix) as written:
        return write(written, first, rest, fps)


def write_mp4(path: Path, first: Frame, rest: Iterator[Frame], fps: int) -> int:
    """Writes an mp4."""
    import imageio_ffmpeg

    height, width = first.shape[:2]
    settings: Any = {"fps": fps, "codec": "libx264", "quality": None, "macro_block_size": 2}
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), output_params=list(QUALITY), **settings)
    writer.send(None)
    count = 0
    try:
        for frame in chain([first], rest):
            writer.send(np.ascontiguousarray(frame))
            count += 1
    finally:
        writer.close()
    return count


def write_gif(path: Path, first: Frame, rest: Iterator[Frame], fps: int) -> int:
    """Writes a gif; its frames are held in memory."""
    pictures = [Image.fromarray(frame) for frame in (first, *rest)]
    palette = palette_of(pictures)
    drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    duration = max(20, round(100 / fps) * 10)  # in hundredths of a second; players take less than 2 for a mistake
    drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=duration, loop=0, optimize=False)
    return len(drawn)


def palette_of(pictures: List[Image.Image]) -> Image.Image:
    """A palette that suits a few frames of a video, and so all; white is white, since pages are."""
    chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(PROBED, len(pictures))).round().astype(int)]
    together = Image.fromarray(np.concatenate([np.asarray(picture) for picture in chosen]))
    palette = together.quantize(PALETTE, method=Image.Quantize.MEDIANCUT)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(axis=1) >= NEARLY_WHITE] = 255
    palette.putpalette(colours.flatten().tolist())
    return palette


def even(frames: UInt8[np.ndarray, "n _ _ 3"]) -> UInt8[np.ndarray, "n _ _ 3"]:
    """Frames whose sides are even numbers of pixels: the last row and column are repeated where they are not."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
