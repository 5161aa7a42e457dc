"""Pictures and masks of all modes come out as what they show, and broken ones by their name."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from scene_folders import edited
from tiny import write_ball

from latent_nerfstudio.data.picture_dataset import PictureDataset
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.pictures import read_mask, read_picture

RED = Image.new("RGB", (8, 8), (200, 30, 10))
INK = Image.new("CMYK", (8, 8), (51, 102, 0, 51))
"""A fifth of cyan, two fifths of magenta, a fifth of black: 0.8 x 0.8 of the paper's red, 0.6 x 0.8 of its green."""
CLEAR = Image.new("RGBA", (8, 8), (200, 30, 10, 0))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (RED, (200, 30, 10)),
        (CLEAR, (200, 30, 10, 0)),
        (RED.quantize(4), (200, 30, 10)),
        (Image.new("L", (8, 8), 90), (90, 90, 90)),
        (Image.new("LA", (8, 8), (90, 40)), (90, 90, 90, 40)),
        (Image.fromarray(np.full((8, 8), 90 * 256 + 7, np.uint16)), (90, 90, 90)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (INK, (163, 122, 204)),
        (Image.new("CMYK", (8, 8)), (255, 255, 255)),
    ],
    ids=["RGB", "RGBA", "palette", "grey", "grey with alpha", "16 bits", "one bit", "CMYK", "CMYK without ink"],
)
def test_modes(picture, expected, tmp_path):
    picture.save(tmp_path / "picture", "tiff" if picture.mode == "CMYK" else "png")
    got = read_picture(tmp_path / "picture")
    assert got.shape == (8, 8, len(expected)) and got.dtype == np.uint8
    assert (got == np.array(expected)).all()


def test_a_grey_of_sixteen_bits_that_is_transparent(tmp_path):
    """As a chunk of a PNG says, which Pillow does not write of such pictures: of two greys the brighter."""
    values = np.array([[1000, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    chunk = b"tRNS" + struct.pack(">H", 40000)
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content = (tmp_path / "grey.png").read_bytes()
    (tmp_path / "grey.png").write_bytes(content.replace(content[33:], chunk + content[33:]))
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), [[[3, 3, 3, 255], [156, 156, 156, 0]]])


def test_ink_of_a_jpeg_and_a_scale(tmp_path):
    """Stored the other way round, as Adobe's programs do, and with an error of compression."""
    INK.save(tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    got = read_picture(tmp_path / "a.jpg", 0.5)
    assert got.shape == (4, 4, 3) and np.abs(got - np.array([163.0, 122.0, 204.0])).max() <= 2


HOLE = np.ones((8, 8), dtype=bool)
HOLE[2:5, 3:7] = False


def as_mask(kind):
    """The same mask, white outside the hole, as files of several kinds have it."""
    grey = Image.fromarray((HOLE * 255).astype(np.uint8))
    if kind == "palette":  # the hole has the index 1, which is black
        image = Image.fromarray((~HOLE).astype(np.uint8))
        image.putpalette([255, 255, 255, 0, 0, 0])
        return image
    if kind == "transparent black":
        return Image.merge("RGBA", [*Image.new("RGB", (8, 8)).split(), grey])
    numbers = {"zeros and ones": np.uint8, "16 bits": np.uint16, "float": np.float32}
    return Image.fromarray(HOLE.astype(numbers[kind])) if kind in numbers else grey.convert(kind)


@pytest.mark.parametrize(
    "kind", ["L", "1", "RGB", "RGBA", "LA", "palette", "transparent black", "zeros and ones", "16 bits", "float"]
)
def test_masks_are_read_by_value(kind, tmp_path):
    mask = as_mask(kind)
    mask.save(tmp_path / "mask", "tiff" if mask.mode == "F" else "png")
    assert (read_mask(tmp_path / "mask") == HOLE).all()


def test_a_jpeg_mask_is_cut_at_half(tmp_path):
    mask = np.kron(HOLE, np.ones((6, 6), dtype=bool))
    Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "mask.jpg", quality=75)
    assert np.asarray(Image.open(tmp_path / "mask.jpg"))[~mask].max() > 0
    assert (read_mask(tmp_path / "mask.jpg") == mask).all()


def test_masks_of_some_pictures(tmp_path):
    """The second picture has a named mask, the third instant-ngp's of what moves, the first is kept whole."""
    folder = write_ball(tmp_path / "scene", views=3, width=8, height=8)
    with edited(folder / "transforms.json") as meta:
        meta["frames"][1]["mask_path"] = "mask.png"
        meta["train_filenames"] = [frame["file_path"] for frame in meta["frames"]]
    as_mask("palette").save(folder / "mask.png")
    Image.fromarray((~HOLE).astype(np.uint8)).save(folder / "images" / "dynamic_mask_0002.png")
    dataset = PictureDataset(ScenesDataParserConfig(data=folder).setup().get_dataparser_outputs("train"))
    kept = {p.stem: dataset.get_data(i, "uint8")["mask"][..., 0] for i, p in enumerate(dataset.image_filenames)}
    kinds = {"uint8": torch.uint8, "float32": torch.float32}
    assert {kind: dataset.get_data(0, kind)["image"].dtype for kind in kinds} == kinds
    for name, mask in kept.items():
        assert (mask.numpy() == (True if name == "0000" else HOLE)).all()


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pictures_whose_white_nobody_knows_are_refused(mode, tmp_path):
    Image.new(mode, (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif: expected grey or colours .* mode {mode}; save"):
        read_picture(tmp_path / "a.tif")
