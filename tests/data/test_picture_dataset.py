"""Pictures of all modes come out as what they show, and broken ones by their name."""

import numpy as np
import pytest
from PIL import Image
from tiny import write_ball

from latent_nerfstudio.data.picture_dataset import PictureDataset
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig


def dataset_of(folder, picture, scale=1.0):
    """A data set of a scene whose training pictures are one picture of 8 x 8."""
    write_ball(folder, views=3, width=8, height=8)
    for path in (folder / "images").iterdir():
        picture.save(path, "tiff" if picture.mode == "CMYK" else None)  # which PNG does not have
    return PictureDataset(ScenesDataParserConfig(data=folder).setup().get_dataparser_outputs("train"), scale)


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
    got = dataset_of(tmp_path / "scene", picture).get_numpy_image(0)
    assert got.shape == (8, 8, len(expected)) and got.dtype == np.uint8
    assert (got == np.array(expected)).all()


def test_ink_of_a_jpeg(tmp_path):
    """Stored the other way round, as Adobe's programs do, and with an error of compression."""
    dataset = dataset_of(tmp_path / "scene", RED)
    for path in (tmp_path / "scene" / "images").iterdir():
        INK.save(path, "jpeg", quality=95)
    assert b"Adobe" in path.read_bytes()
    got = dataset.get_numpy_image(0)
    assert got.shape == (8, 8, 3) and np.abs(got - np.array([163.0, 122.0, 204.0])).max() <= 2


def test_a_scale(tmp_path):
    assert dataset_of(tmp_path / "scene", RED, scale=0.5).get_numpy_image(0).shape == (4, 4, 3)


def test_a_broken_picture_is_named(tmp_path):
    dataset = dataset_of(tmp_path / "scene", RED)
    (tmp_path / "scene" / "images" / "0001.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"images/0001\.png: expected a readable picture, got '.*'; export it again"):
        dataset.get_numpy_image(0)
