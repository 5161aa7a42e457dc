"""Real images: which files, what is read of them, and the crops of a step."""

import numpy as np
import pytest
import torch
from PIL import Image

from latent_nerfstudio.data import real_images
from latent_nerfstudio.data.real_images import RealImages, find_images, random_crop, read_image, resized_part
from latent_nerfstudio.pictures import SUFFIXES


def noise(height, width, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def write(folder, count=3, height=40, width=50, start=0):
    folder.mkdir(exist_ok=True)
    for index in range(start, start + count):
        Image.fromarray(noise(height, width, seed=index)).save(folder / f"{index:02d}.png")
    return folder


def contains(picture, crop):
    """Whether a crop, perhaps mirrored, is a part of a picture."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, crop.shape)[:, :, 0]
    return any((windows == part).all(axis=(2, 3, 4)).any() for part in (crop, crop[:, ::-1]))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (11, 30)])
def test_crops_are_parts_of_the_pictures(tmp_path, height, width):
    images = RealImages(write(tmp_path), height, width)
    assert len(images) == 3
    batch = images.batch(0, 12)
    assert batch.shape == (12, height, width, 3) and batch.dtype == torch.float32
    assert float(batch.min()) >= 0 and 0.9 < float(batch.max()) <= 1
    pictures = [images.read(index) for index in range(3)]
    crops = (batch * 255).round().byte().numpy()
    whole = sum(any(contains(picture, crop) for picture in pictures) for crop in crops)
    assert 4 <= whole < 12  # about a third is shrunk first
    shapes = [tuple(images.batch(0, 2, side).shape[1:3]) for side in (None, 8, 100)]
    assert shapes == [(height, width), (8, 8), (height, width)]


def test_batches_are_functions_of_seed_and_step(tmp_path):
    first, second = (RealImages(write(tmp_path), 16, 16) for _ in range(2))
    for step in range(3):
        second.batch(step, 5)
    assert torch.equal(first.batch(7, 4), second.batch(7, 4))
    assert torch.equal(first.batch(7, 4, 8), second.batch(7, 4, 8))
    assert not torch.equal(first.batch(7, 4), first.batch(8, 4))
    assert not torch.equal(first.batch(7, 4), RealImages(tmp_path, 16, 16, seed=1).batch(7, 4))


def test_enlarging_keeps_the_aspect_and_half_of_the_crops_are_mirrored():
    """A picture of half the height is enlarged to twice its size: stripes of 5 pixels become 10 wide."""
    picture, mirrored = np.zeros((10, 20, 3), dtype=np.uint8), 0
    picture[:, 5:10, 0] = picture[:, 15:, 0] = 255
    picture[..., 1] = 10 * np.arange(20)
    random = np.random.default_rng(0)
    for _ in range(100):
        crop = random_crop(picture, (20, 31), random)
        edges = np.flatnonzero(np.diff(crop[10, :, 0] > 127))
        assert crop.shape == (20, 31, 3) and np.diff(edges).tolist() == [10, 10]
        mirrored += crop[0, 0, 1] > crop[0, -1, 1]
    assert 35 < mirrored < 65


def test_shrunk_pictures_are_at_most_a_fifth_smaller(monkeypatch):
    sizes, part = [], real_images.resized_part

    def noted(picture, whole, corner, size):
        if whole != picture.shape[:2]:
            sizes.append(whole)
        return part(picture, whole, corner, size)

    monkeypatch.setattr(real_images, "resized_part", noted)
    random = np.random.default_rng(0)
    crops = [random_crop(noise(100, 50), (10, 10), random) for _ in range(90)]
    assert {crop.shape for crop in crops} == {(10, 10, 3)} and 15 < len(sizes) < 45
    assert all(80 <= height <= 100 and 40 <= width <= 50 for height, width in sizes)
    sizes.clear()
    crops = [random_crop(noise(100, 50), (10, 48), random) for _ in range(90)]
    assert sizes and all(48 <= width <= 50 for _, width in sizes)


@pytest.mark.parametrize("whole", [(83, 120), (97, 149), (150, 240)])
def test_a_part_is_that_of_the_whole_picture_resized(whole):
    smooth = Image.fromarray(noise(10, 15)).resize((150, 100), Image.Resampling.BICUBIC)
    picture, random = np.asarray(smooth), np.random.default_rng(1)
    resized = np.asarray(Image.fromarray(picture).resize(whole[::-1], Image.Resampling.BICUBIC))
    for top, left in [(0, 0), (whole[0] - 30, whole[1] - 20), *random.integers(0, 50, (8, 2)).tolist()]:
        part = resized_part(picture, whole, (top, left), (30, 20)).astype(int)
        assert np.abs(part - resized[top : top + 30, left : left + 20]).max() <= 2


def test_what_is_transparent_becomes_white(tmp_path):
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [100, 0, 50, 51]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    expected = [[200, 0, 0], [255, 255, 255], [224, 204, 214]]  # 0.2 of the colour and 0.8 of white
    np.testing.assert_allclose(read_image(tmp_path / "rgba.png")[0], expected, atol=1)
    palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read_image(tmp_path / "palette.png")[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_folders_are_searched_with_their_subfolders_in_order_of_names(tmp_path):
    write(tmp_path / "b", 1)
    write(tmp_path / "a", 2)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    Image.new("RGB", (9, 9)).save(tmp_path / "c.JPG", "jpeg")
    names = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert names == ["a/00.png", "a/01.png", "b/00.png", "c.JPG"]


def test_pictures_are_kept_within_a_bound(tmp_path, monkeypatch):
    """Large pictures and then many small ones: what counts are bytes, not pictures."""
    write(tmp_path, 2, height=20, width=20)  # 1200 bytes each
    write(tmp_path, 20, height=4, width=5, start=2)  # 60 bytes each
    monkeypatch.setattr(real_images, "KEPT_BYTES", 2500)
    images = RealImages(tmp_path, 4, 4)
    for index in [*range(22), 0, 1, 5, 0]:
        expected = np.asarray(Image.open(images.paths[index]))
        assert np.array_equal(images.read(index), expected)
        assert sum(picture.nbytes for picture in images._kept.values()) <= 2500
    assert index in images._kept and len(images._kept) > 2
    first = images.read(0)
    assert images.read(0) is first
    monkeypatch.setattr(real_images, "KEPT_BYTES", 10)
    images.read(3)
    assert list(images._kept) == [3]


def test_folders_without_pictures_of_too_many_pixels_or_of_many_pictures(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(FileNotFoundError, match=r"real images .*: expected .* got a folder without any; name a folder"):
        RealImages(tmp_path, 8, 8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"real images .*: expected a readable image, got '.*exceeds limit.*'; export"):
        RealImages(write(tmp_path), 8, 8)
    read = []
    monkeypatch.setattr(real_images, "read_image", lambda path: (read.append(path.name), noise(8, 8))[1])
    RealImages(write(tmp_path, 60, height=2, width=2), 8, 8)
    assert len(read) == len(set(read)) == real_images.PROBED and {"00.png", "59.png"} <= set(read)


@pytest.mark.parametrize("suffix", [SUFFIXES[0], SUFFIXES[-1]])
def test_a_text_file_by_the_name_of_a_picture(tmp_path, suffix):
    write(tmp_path, 2)
    (tmp_path / f"broken{suffix}").write_text("this is text")
    with pytest.raises(ValueError, match=rf"real images .*broken{suffix}: expected a readable image, got another"):
        RealImages(tmp_path, 8, 8)
