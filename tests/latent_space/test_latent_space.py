"""Latent spaces: background, checkpoints, decoding, and looking at latents."""

import shutil

import pytest
import torch
from tiny import disturb, fit_to_noise, gradients

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import BACKGROUND_SIDE, LatentSpace, background_color_of


def space_of(source, normalizer="mean-std", color="white"):
    space = LatentSpace(AutoencoderConfig(source=str(source)), normalizer, color)
    fit_to_noise(space)
    return space


def background_picture(space, height, width):
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), dim=-1)
    return space.background_at(places, torch.tensor([height, width]).expand_as(places))


@pytest.mark.parametrize("color", ["white", (0.2, 0.4, 0.9)])
@pytest.mark.parametrize("normalizer", ["mean-std", "tanh", "none"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (14, 30), (17, 16), (33, 14), (40, 41)])
def test_background_is_a_plain_picture_encoded(taesd, normalizer, color, height, width):
    """This autoencoder reaches seven latent pixels far, so that the stored background is right at every pixel."""
    space = space_of(taesd, normalizer, color)
    plain = background_color_of(color).expand(1, 2 * height, 2 * width, 3)
    torch.testing.assert_close(background_picture(space, height, width), space.encode(plain)[0], atol=1e-4, rtol=1e-4)


def test_background_of_a_small_picture_takes_the_nearest_borders(taesd):
    space = space_of(taesd)
    picture, stored = background_picture(space, 3, 2), space.background
    rows, columns = [0, 1, BACKGROUND_SIDE - 1], [0, BACKGROUND_SIDE - 1]
    assert torch.equal(picture, stored[rows][:, columns])


def test_the_identity_has_no_normaliser_and_shows_pictures_and_colours_as_they_are():
    space, image = space_of("identity", color=(0.2, 0.4, 0.9)), torch.rand(1, 5, 7, 3)
    torch.testing.assert_close(background_picture(space, 5, 40), torch.tensor([0.2, 0.4, 0.9]).expand(5, 40, 3))
    assert space.normalizer.kind == "none" and space.value_range == (0.0, 1.0)
    assert torch.equal(space.decode(space.encode(image), 5, 7), image)
    torch.testing.assert_close(space.preview(image), image)


@pytest.mark.parametrize(
    ("color", "value"),
    [("white", [1, 1, 1]), ("red", [1, 0, 0]), ((0.25, 0.5, 0.75), [0.25, 0.5, 0.75]), ([0, 0, 1], [0, 0, 1])],
)
def test_colours(color, value):
    assert background_color_of(color).tolist() == value


@pytest.mark.parametrize("color", ["mauve", (0.0, 0.5), (0.0, 0.5, 1.5), (0.0, 0.5, float("nan")), 3])
def test_what_is_no_colour(color):
    with pytest.raises(ValueError, match="background color: expected one of .*white.* or three numbers"):
        background_color_of(color)


@pytest.mark.parametrize("source", ["kl", "kl8", "taesd", "dc"], indirect=True)
@pytest.mark.parametrize("normalizer", ["mean-std", "tanh"])
def test_decoding_undoes_the_normaliser_and_crops(source, normalizer):
    space, image = space_of(source, normalizer), torch.rand(2, 37, 53, 3)
    expected = space.autoencoder.decode(space.autoencoder.encode(image))[:, :37, :53]
    torch.testing.assert_close(space.decode(space.encode(image), 37, 53), expected, atol=1e-3, rtol=1e-3)


def test_latents_that_do_not_belong_to_the_picture(kl):
    space = space_of(kl)
    with pytest.raises(ValueError, match=r"expected latents of \(10, 14\) for an image of 37 x 53, got \(10, 13\)"):
        space.decode(torch.zeros(1, 10, 13, 4), 37, 53)


def test_value_range(kl):
    assert space_of(kl, "tanh").value_range == (-1.0, 1.0)
    assert space_of(kl).value_range == (-float("inf"), float("inf"))


@pytest.mark.parametrize("source", ["kl", "identity"], indirect=True)
def test_preview_is_a_fixed_map_to_colours(source):
    space = space_of(source)
    latents = 3 * torch.randn(6, 7, space.num_channels)
    picture = space.preview(latents)
    assert picture.shape == (6, 7, 3) and bool(((picture >= 0) & (picture <= 1)).all())
    torch.testing.assert_close(space.preview(latents[2:4, 1:2]), picture[2:4, 1:2])


def test_only_joint_training_trains_the_encoder(kl):
    space = space_of(kl)
    encoder, decoder = space.autoencoder.encoder_parameters(), space.autoencoder.decoder_parameters()
    assert {id(p) for p in encoder + decoder} == {id(p) for p in space.parameters()} and len(encoder) > 10
    assert not any(p.requires_grad for p in encoder) and not space.trains_encoder
    space.train_encoder()
    assert all(p.requires_grad for p in space.parameters()) and space.trains_encoder
    space.encode(torch.rand(1, 16, 16, 3)).square().sum().backward()
    assert any(gradients(*encoder)) and not any(gradients(*decoder))


def test_the_background_is_encoded_anew(taesd):
    space = space_of(taesd, color="red")
    before = space.background.clone()
    with torch.no_grad():
        for parameter in space.autoencoder.encoder_parameters():
            parameter.mul_(1.2)
    space.train_encoder()
    space.encode_background()
    plain = background_color_of("red").expand(1, 2 * BACKGROUND_SIDE, 2 * BACKGROUND_SIDE, 3)
    torch.testing.assert_close(space.background, space.encode(plain)[0].detach())
    assert not torch.allclose(space.background, before, atol=1e-3) and not space.background.requires_grad


@pytest.mark.parametrize("source", ["kl", "taesd", "identity"], indirect=True)
def test_checkpoint_is_without_encoder_and_loads_strictly(source):
    space = space_of(source, color="red")
    disturb(space.autoencoder.decoder_parameters(), 0.1)
    stored = space.state_dict()
    assert not [name for name in stored if ".encoder." in name or "quant_conv" in name and "post_" not in name]
    other = LatentSpace(AutoencoderConfig(source=str(source)), "mean-std", "red")
    other.load_state_dict(stored, strict=True)
    latents = torch.randn(1, 4, 4, space.num_channels)
    side = 4 * space.downscale_factor
    assert torch.equal(other.decode(latents, side, side), space.decode(latents, side, side))
    assert torch.equal(other.background, space.background) and bool(other.fitted)
    assert torch.equal(other.encode(torch.ones(1, 8, 8, 3)), space.encode(torch.ones(1, 8, 8, 3)))


def test_checkpoint_of_another_channel_count(kl, kl8):
    stored = space_of(kl8).state_dict()
    with pytest.raises(ValueError, match="expected latents of 4 channels, as the autoencoder has, got 5; resume with"):
        space_of(kl).load_state_dict(stored)


def test_a_prior_of_whole_numbers_is_read(tmp_path, kl):
    shutil.copytree(kl, tmp_path / "vae")
    (tmp_path / "vae" / "latent_space.json").write_text('{"mean": [0, 1, 2, 2147483648], "std": [1, 1, 2, 2]}')
    normalizer = LatentSpace(AutoencoderConfig(source=str(tmp_path)), "mean-std").normalizer
    assert normalizer.mean.tolist() == [0.0, 1.0, 2.0, 2147483648.0] and normalizer.std.tolist() == [1.0, 1.0, 2.0, 2.0]
