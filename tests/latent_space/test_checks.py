"""What an autoencoder from a stranger may not say."""

import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from scene_folders import edited

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.checks import numbers_in


@pytest.fixture
def folder(taesd, tmp_path):
    """A copy of a small autoencoder of 4 channels."""
    return shutil.copytree(taesd, tmp_path / "tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": ["AutoencoderTiny"]}, "expected a JSON object with a _class_name"),
        ({"num_encoder_blocks": [1, 10**6]}, "num_encoder_blocks: expected a number up to 256, got 1000000"),
        ({"encoder_block_out_channels": [4] * 100}, "length of encoder_block_out_channels: expected"),
        ({"encoder_block_out_channels": [-4, 4]}, "encoder_block_out_channels: expected a number up to 65536, got -4"),
        ({"scaling_factor": "large"}, "scaling_factor: expected a number, got 'large'"),
        ({"encoder_block_out_channels": [60000, 60000]}, "expected 2,147,483,648 numbers at most"),
        ({"encoder_block_out_channels": [4] * 64}, "block_out_channels: expected 11 widths at most, got 64"),
        ({"out_channels": 4}, "out_channels: expected 3, as pictures have here, got 4"),
        ({"latent_channels": int("9" * 400)}, "a whole number of 400 digits"),
        ({"x": "y" * (1 << 22)}, "expected 4,194,304 bytes at most"),
    ],
)
def test_configs_that_are_none(folder, changes, message):
    with edited(folder / "config.json") as settings:
        settings.update(changes)
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(source=str(folder)).setup()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"std": "one"}', "latent_space.json, std: expected one positive finite number or 4.*, got 'one'"),
        ('{"mean": NaN}', "latent_space.json: expected JSON with finite numbers"),
    ],
)
def test_latent_spaces_that_are_none(folder, text, message):
    (folder / "latent_space.json").write_text(text)
    with pytest.raises(ValueError, match=f"{message}.*; remove or repair it"):
        AutoencoderConfig(source=str(folder)).setup()


def test_weights_that_are_not_finite(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    tensors = {name: value.clone() for name, value in load_file(file).items()}
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = torch.inf
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match=f"{name}: expected finite weights, got NaN or infinity; take another copy"):
        AutoencoderConfig(source=str(folder)).setup()


@pytest.mark.parametrize("name", ["config.json", "latent_space.json", "diffusion_pytorch_model.safetensors"])
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises((ValueError, FileNotFoundError), match=r"expected a (regular file|folder in diffusers format)"):
        AutoencoderConfig(source=str(folder)).setup()


def test_numbers_are_found_with_the_names_they_stand_under():
    found = list(numbers_in({"a": 1, "b": [2, {"c": [3.5]}], "d": True, "e": "x", "f": None}))
    assert found == [("a", 1), ("b", 2), ("c", 3.5)]
