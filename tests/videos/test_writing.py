"""Videos as files, read back."""

import os

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from latent_nerfstudio.videos.writing import check_video, even, write_video


def colours(count=5, height=16, width=24):
    """Frames of one colour each."""
    return [np.full((height, width, 3), (40 * i, 200 - 40 * i, 90), np.uint8) for i in range(count)]


def test_an_mp4_read_back(tmp_path):
    path = tmp_path / "a:new" / "x.mp4"
    write_video(path, iter(colours()), fps=12)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    frames = [np.frombuffer(data, np.uint8).reshape(16, 24, 3) for data in reader]
    assert facts["size"] == (24, 16) and facts["fps"] == 12 and facts["codec"] == "h264" and len(frames) == 5
    for got, wanted in zip(frames, colours(), strict=True):
        assert np.abs(got.astype(int) - wanted).max() <= 6
    assert [file.name for file in path.parent.iterdir()] == ["x.mp4"]


def test_a_gif_read_back(tmp_path):
    path = tmp_path / "x.gif"
    write_video(path, iter(colours()), fps=20)
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0 and picture.info["duration"] == 50
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    for got, wanted in zip(frames, colours(), strict=True):
        assert np.abs(got.astype(int) - wanted).max() <= 4


def test_white_pages_stay_white_and_colours_that_are_alike_say_nothing(tmp_path, capfd):
    """ffmpeg would warn of colours of its palette that are there twice."""
    noise = np.random.default_rng(0).integers(0, 8, (64, 64, 3), np.uint8)
    write_video(tmp_path / "y.gif", iter([noise, noise]), fps=20)
    said = capfd.readouterr()
    assert said.err == said.out == ""
    nearly = np.random.default_rng(0).integers(244, 256, (40, 40, 3), dtype=np.uint8)
    frame = np.concatenate([np.full((8, 40, 3), 255, np.uint8), nearly])
    write_video(tmp_path / "x.gif", iter([frame]), fps=5)
    with Image.open(tmp_path / "x.gif") as picture:
        assert bool((np.asarray(picture.convert("RGB"))[:8] == 255).all())


def test_a_break_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"before")

    def breaking():
        yield colours()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, breaking(), fps=5)
    assert path.read_bytes() == b"before" and [file.name for file in tmp_path.iterdir()] == ["x.mp4"]


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
@pytest.mark.parametrize("name", ["x.mp4", "x.gif"])
def test_no_room_for_all_frames_leaves_what_was_there(name, tmp_path):
    """ffmpeg ends before its frames do, or after them where it has kept them back."""
    import resource

    path, limits = tmp_path / name, resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_bytes(b"before")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 64, 3), np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="video: expected ffmpeg to write all frames, got '.*'; make room"):
            write_video(path, iter(noise), fps=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"before" and [file.name for file in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(IsADirectoryError, match="output: expected a file, got the folder"):
        check_video(tmp_path / "folder.mp4", 24)
    with pytest.raises(ValueError, match="video: expected at least one frame, got none"):
        write_video(tmp_path / "x.gif", iter([]), fps=5)
    for name, fps, expected in (("x.gif", 0, "1 to 50"), ("x.GIF", 51, "1 to 50"), ("x.mp4", 241, "1 to 240")):
        with pytest.raises(ValueError, match=f"fps: expected {expected} frames a second of a .*, got {fps}"):
            write_video(tmp_path / name, iter(colours()), fps=fps)
    frames = np.random.default_rng(0).integers(0, 255, (2, 3, 5, 3), dtype=np.uint8)
    padded = even(frames)
    assert padded.shape == (2, 4, 6, 3)
    assert np.array_equal(padded[:, :3, :5], frames) and np.array_equal(padded[:, 3, :5], frames[:, 2])
    assert even(padded).shape == padded.shape


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything can be written")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="locked: expected a folder that can be written to, got a read-only one"):
        check_video(tmp_path / "locked" / "x.gif", 24)
