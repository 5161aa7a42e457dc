"""Autoencoders: what is read from their files, encoding and decoding of any size, and what a stranger may not say."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scene_folders import edited
from tiny import save_dc, save_flux2, save_kl, save_tiny

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig, save_vae
from latent_nerfstudio.latent_space.checks import numbers_in

WEIGHTS = "diffusion_pytorch_model.safetensors"


def load(source, subfolder=None):
    return AutoencoderConfig(source=str(source), subfolder=subfolder).setup()


@pytest.mark.parametrize("save", [save_kl, save_tiny, save_dc, save_flux2])
@pytest.mark.parametrize(("levels", "factor", "channels"), [(2, 2, 3), (4, 8, 16)])
def test_factor_and_channels_are_those_of_what_it_encodes(tmp_path, save, levels, factor, channels):
    autoencoder = load(save(tmp_path, levels=levels, channels=channels))
    assert (autoencoder.downscale_factor, autoencoder.num_channels) == (factor, channels)
    latents = autoencoder.encode(torch.rand(1, 16, 24, 3))
    assert latents.shape == (1, 16 // factor, 24 // factor, channels)
    assert autoencoder.decode(latents).shape == (1, 16, 24, 3)


def test_prior_comes_from_scaling_and_shift(tmp_path, kl):
    scaled = load(save_kl(tmp_path, scaling_factor=0.25, shift_factor=0.5))
    assert (scaled.prior_mean, scaled.prior_std) == (0.5, 4.0)
    assert load(kl).prior_mean == 0.0 and load(kl).prior_std == pytest.approx(1 / 0.18215)
    with pytest.raises(ValueError, match=r"negative.config.json, std: expected one positive finite number .* got -1.0"):
        load(save_kl(tmp_path / "negative", scaling_factor=-1.0))


@pytest.mark.parametrize("enlarge, side, expected", [(1, 64, 16), (1, 128, 4), (2, 128, 1), (1, 512, 1), (2, 16, 4)])
def test_as_many_pictures_at_once_as_memory_and_the_caches_of_a_cpu_hold(kl, enlarge, side, expected):
    assert AutoencoderConfig(source=str(kl), enlarge=enlarge).setup().at_once(16, side, side) == expected


def test_pictures_may_be_enlarged_before_they_are_encoded(kl, tmp_path):
    """As pictures that somebody enlarged beforehand; what is decoded is the mean of each block of pixels."""
    plain, enlarged = load(kl), AutoencoderConfig(source=str(kl), enlarge=2).setup()
    assert (plain.downscale_factor, enlarged.downscale_factor) == (4, 2)
    picture = (torch.rand(5, 7, 3) * 255).byte().numpy()
    larger = np.asarray(Image.fromarray(picture).resize((14, 10), Image.Resampling.BICUBIC))
    ours, theirs = (one.encode(torch.tensor(x)[None] / 255) for one, x in ((enlarged, picture), (plain, larger)))
    assert ours.shape[1:3] == (3, 4)  # 5 / 2 and 7 / 2, rounded up
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)  # to the rounding to 8 bits
    decoded, blocks = enlarged.decode(ours), plain.decode(ours)[0].unflatten(1, (8, 2)).unflatten(0, (6, 2))
    torch.testing.assert_close(decoded[0], blocks.mean(dim=(1, 3)))
    assert enlarged.fingerprint() != plain.fingerprint() and enlarged.encoder_hash() == plain.encoder_hash()


@pytest.mark.parametrize(
    "source, enlarge, factor", [("kl", 3, 4), ("kl", 0, 4), ("identity", 2, 1)], indirect=["source"]
)
def test_pictures_are_enlarged_by_a_divisor_of_the_factor(source, enlarge, factor):
    with pytest.raises(ValueError, match=f"enlarge: expected a divisor .* {factor}, got {enlarge}; set --pipeline"):
        AutoencoderConfig(source=str(source), enlarge=enlarge).setup()


@pytest.mark.parametrize("source", ["kl", "taesd", "dc"])
@pytest.mark.parametrize(("height", "width"), [(37, 53), (1, 3)])
def test_odd_sizes_are_padded_by_their_last_row_and_column(request, source, height, width):
    autoencoder = load(request.getfixturevalue(source))
    factor = autoencoder.downscale_factor
    image = torch.rand(2, height, width, 3)
    rows = [min(i, height - 1) for i in range(-(-height // factor) * factor)]
    columns = [min(j, width - 1) for j in range(-(-width // factor) * factor)]
    latents = autoencoder.encode(image)
    assert latents.shape[1:3] == (-(-height // factor), -(-width // factor))
    torch.testing.assert_close(latents, autoencoder.encode(image[:, rows][:, :, columns]))
    assert autoencoder.decode(latents).shape == (2, len(rows), len(columns), 3)


def test_decoding_is_the_decoder_on_zero_to_one(taesd):
    autoencoder = load(taesd)
    latents = torch.randn(1, 4, 6, 4)
    expected = autoencoder.vae.decoder(latents.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(autoencoder.decode(latents) * 2 - 1, expected)


def test_only_the_decoder_is_trained(kl):
    autoencoder = load(kl)
    decoder = {id(p) for p in autoencoder.decoder_parameters()}
    trained = [name for name, p in autoencoder.named_parameters() if p.requires_grad]
    assert trained and all(name.startswith(("vae.decoder.", "vae.post_quant_conv.")) for name in trained)
    assert decoder == {id(p) for p in autoencoder.parameters() if p.requires_grad}


def test_identity_leaves_pictures_as_they_are():
    autoencoder = load("identity")
    image = torch.rand(1, 5, 7, 3)
    assert torch.equal(autoencoder.decode(autoencoder.encode(image)), image)
    assert (autoencoder.downscale_factor, autoencoder.num_channels, autoencoder.is_identity) == (1, 3, True)
    assert autoencoder.decoder_parameters() == [] and autoencoder.fingerprint() == "identity"


def test_fingerprint_tells_encoders_and_their_settings_apart_but_not_decoders(tmp_path, kl):
    autoencoder = load(kl)
    before = autoencoder.fingerprint()
    with torch.no_grad():
        autoencoder.vae.decoder.conv_in.weight.add_(1)
    assert autoencoder.fingerprint() == before
    with torch.no_grad():
        autoencoder.vae.quant_conv.bias[0].add_(1e-3)
    assert autoencoder.fingerprint() != before
    other = shutil.copytree(kl, tmp_path / "other")
    with edited(other / "config.json") as settings:
        settings["norm_num_groups"] = 4
    image = torch.rand(1, 16, 16, 3)
    assert not torch.allclose(load(other).encode(image), load(kl).encode(image))
    assert load(other).fingerprint() != load(kl).fingerprint()


@pytest.mark.parametrize("inside", ["", "autoencoder", "vae", "any/where"])
def test_folders_and_subfolders(tmp_path, kl, inside):
    shutil.copytree(kl, tmp_path / inside, dirs_exist_ok=True)
    autoencoder = load(tmp_path, subfolder="any/where" if inside == "any/where" else None)
    assert autoencoder.fingerprint() == load(kl).fingerprint() and len(autoencoder.fingerprint()) == 16


def test_latent_space_json_states_the_prior_of_each_channel_and_a_subfolder_is_not_guessed(tmp_path, kl):
    shutil.copytree(kl, tmp_path / "vae")
    stated = {"mean": [1.0, 2.0, 3.0, 4.0], "std": [0.5, 1.0, 1.5, 2.0]}
    (tmp_path / "vae" / "latent_space.json").write_text(json.dumps(stated))
    autoencoder = load(tmp_path)
    assert (autoencoder.prior_mean, autoencoder.prior_std) == (stated["mean"], stated["std"])
    with pytest.raises(FileNotFoundError, match=r"vea without a config\.json; name the folder"):
        load(tmp_path, subfolder="vea")


@pytest.mark.parametrize("source", ["no such thing", "/no/such/folder", "~/no-such-folder", "a/b/c"])
def test_a_path_that_is_no_folder(source):
    with pytest.raises(FileNotFoundError, match="expected bundled, .*, identity, a folder or a Hub id.*check the path"):
        load(source)


def test_weights_in_half_precision_alone_and_in_shards(tmp_path, kl):
    shutil.copytree(kl, tmp_path / "half")
    weights = {name: value.half() for name, value in load_file(kl / WEIGHTS).items()}
    (tmp_path / "half" / WEIGHTS).unlink()
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, tmp_path / "half" / file)
    ours, theirs = load(tmp_path / "half").state_dict(), load(kl).state_dict()
    assert all(torch.equal(ours[name], value.half().float()) for name, value in theirs.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_writing_says_nothing_and_rounds_the_copy_alone(tmp_path, kl, monkeypatch, dtype):
    said = []
    monkeypatch.setattr("diffusers.models.modeling_utils.logger.warning", said.append)
    vae = load(kl).vae
    save_vae(vae, tmp_path / "written", dtype)
    weights = load_file(tmp_path / "written" / WEIGHTS)
    assert said == [] and vae.dtype == torch.float32
    for name, value in vae.state_dict().items():
        assert torch.equal(weights[name], value.to(dtype)), name


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
    [('{"std": "one"}', "std: expected one positive finite number or 4.*"), ('{"mean": NaN}', ".*with finite numbers")],
)
def test_latent_spaces_that_are_none(folder, text, message):
    (folder / "latent_space.json").write_text(text)
    with pytest.raises(ValueError, match=f"latent_space.json.{{2}}{message}.*; remove or repair it"):
        AutoencoderConfig(source=str(folder)).setup()


def test_weights_that_are_not_finite(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    tensors = {name: value.clone() for name, value in load_file(file).items()}
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = torch.inf
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers, got others; take another copy"):
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
