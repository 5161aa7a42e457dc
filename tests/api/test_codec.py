"""Pictures and raw latents, against diffusers itself."""

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image

from latent_nerfstudio.api.codec import as_numbers, load_autoencoder


@pytest.fixture
def pictures():
    return torch.rand(3, 24, 20, 3)


def test_latents_are_those_of_diffusers(kl, pictures):
    """No normaliser and no scaling is in between: `vae.decode` takes them as they are."""
    codec, vae = load_autoencoder(str(kl)), AutoencoderKL.from_pretrained(kl)
    with torch.no_grad():
        expected = vae.encode(pictures.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mode()
        decoded = vae.decode(expected).sample.permute(0, 2, 3, 1) / 2 + 0.5
    latents = codec.encode(pictures)
    torch.testing.assert_close(latents, expected)
    assert latents.shape == (3, 4, 6, 5)
    torch.testing.assert_close(codec.decode(latents), decoded.clamp(0, 1))
    assert (codec.scaling_factor, codec.shift_factor) == (vae.config.scaling_factor, 0.0)
    assert (codec.downscale_factor, codec.num_channels) == (4, 4)


def test_what_a_codec_saves_diffusers_reads(kl, pictures, tmp_path):
    codec = load_autoencoder(str(kl))
    with torch.no_grad():
        codec.autoencoder.decoder_parameters()[0].mul_(1.5)  # a decoder that was trained
    folder = codec.save(codec.save(tmp_path / "vae"))
    latents = codec.encode(pictures)
    with torch.no_grad():
        decoded = AutoencoderKL.from_pretrained(folder).decode(latents).sample.permute(0, 2, 3, 1) / 2 + 0.5
    torch.testing.assert_close(codec.decode(latents), decoded.clamp(0, 1))
    with pytest.raises(ValueError, match="expected one of diffusers, got the identity"):
        load_autoencoder("identity").save(tmp_path / "none")
    (tmp_path / "model.pt").touch()
    with pytest.raises(FileExistsError, match="got model.pt; move it away"):
        codec.save(tmp_path)


def test_forms_of_pictures_and_odd_sizes_and_the_identity(kl, pictures):
    codec = load_autoencoder(str(kl))
    eight_bits = (pictures * 255).round().byte()
    torch.testing.assert_close(codec.encode(eight_bits.numpy()), codec.encode(eight_bits.float() / 255))
    torch.testing.assert_close(codec.encode(list(pictures)), codec.encode(pictures))
    torch.testing.assert_close(codec.encode(pictures[0])[0], codec.encode(pictures)[0])
    pillow = [Image.fromarray(picture.numpy()) for picture in eight_bits]
    torch.testing.assert_close(codec.encode(pillow), codec.encode(eight_bits))
    odd = codec.encode(pictures[:, :21, :18])
    assert codec.decode(odd, 21, 18).shape == (3, 21, 18, 3) and codec.decode(odd[0]).shape == (1, 24, 20, 3)
    codec = load_autoencoder("identity")
    latents = codec.encode(pictures)
    assert torch.equal(latents, pictures.permute(0, 3, 1, 2)) and torch.equal(codec.decode(latents), pictures)
    assert (codec.scaling_factor, codec.shift_factor, codec.downscale_factor) == (1.0, 0.0, 1)


def test_files_pictures_of_pillow_and_arrays_with_alpha_are_put_on_white(tmp_path):
    codec, half = load_autoencoder("identity"), np.full((4, 4, 4), (255, 0, 0, 51), np.uint8)  # red, a fifth opaque
    expected = torch.tensor([1.0, 0.8, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    Image.fromarray(half).save(tmp_path / "x.png")
    for given in (tmp_path / "x.png", str(tmp_path / "x.png"), [tmp_path / "x.png"], Image.fromarray(half)):
        torch.testing.assert_close(codec.encode(given), expected)
    for given in (half, half[None] / 255, [torch.from_numpy(half)]):
        torch.testing.assert_close(codec.encode(given), expected, check_dtype=False)
    assert codec.encode(Image.fromarray(half).convert("L")).shape == (1, 3, 4, 4)


def test_other_shapes_are_refused(kl):
    codec = load_autoencoder(str(kl))
    with pytest.raises(ValueError, match=r"pictures: expected \[n, height, width, 3\], got \[8, 8, 2\]"):
        codec.encode(np.zeros((8, 8, 2)))
    with pytest.raises(ValueError, match="pictures: expected .*, got a dict; give"):
        as_numbers({})
    with pytest.raises(FileNotFoundError, match=r"photo\.png"):
        codec.encode("photo.png")
    with pytest.raises(ValueError, match="pictures: expected pictures of one size, got 2 sizes"):
        codec.encode([np.zeros((8, 8, 3)), np.zeros((8, 9, 3))])
    for wrong in (np.full((8, 8, 3), 255), np.full((8, 8, 3), -1.0), np.full((8, 8, 3), 999, np.uint16)):
        with pytest.raises(ValueError, match=r"pictures: expected finite numbers: uint8, or in \[0, 1\], got"):
            codec.encode(wrong)
    with pytest.raises(ValueError, match=r"latents: expected \[n, 4, h, w\], got \[1, 3, 2, 2\]"):
        codec.decode(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match="expected pictures of 5 to 8 x 5 to 8 pixels, got 4 x 8"):
        codec.decode(torch.zeros(1, 4, 2, 2), 4, 8)
