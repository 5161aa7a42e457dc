"""Latent spaces: normalisers, background, checkpoints, decoding, and looking at latents."""

import shutil

import pytest
import torch
from tiny import disturb, fit_to_noise, gradients

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import (
    BACKGROUND_SIDE,
    PREVIEW_DEVIATIONS,
    TANH_EPS,
    LatentSpace,
    Normalizer,
    background_color_of,
    fit_preview,
)
from latent_nerfstudio.pipelines.saved_state import seal, unsealed


def space_of(source, normalizer="mean-std", color="white"):
    space = LatentSpace(AutoencoderConfig(source=str(source)), normalizer, color)
    fit_to_noise(space)
    return space


def background_picture(space, height, width):
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), dim=-1)
    return space.background_at(places, torch.tensor([height, width]).expand_as(places))


@pytest.mark.parametrize(("normalizer", "color"), [("mean-std", (0.2, 0.4, 0.9)), ("tanh", "white")])
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


@pytest.mark.parametrize("color", ["mauve", (0.0, 0.5), (0.0, 0.5, 1.5), (0.0, 0.5, float("nan")), 3])
def test_what_is_a_colour(color):
    for known, value in (("red", [1, 0, 0]), ((0.25, 0.5, 0.75), [0.25, 0.5, 0.75]), ([0, 0, 1], [0, 0, 1])):
        assert background_color_of(known).tolist() == value
    with pytest.raises(ValueError, match="background color: expected one of .*white.* or three numbers"):
        background_color_of(color)


@pytest.mark.parametrize("source", ["kl8", "taesd"], indirect=True)
@pytest.mark.parametrize("normalizer", ["mean-std", "tanh"])
def test_decoding_undoes_the_normaliser_and_crops(source, normalizer):
    space, image = space_of(source, normalizer), torch.rand(2, 37, 53, 3)
    expected = space.autoencoder.decode(space.autoencoder.encode(image))[:, :37, :53]
    torch.testing.assert_close(space.decode(space.encode(image), 37, 53), expected, atol=1e-3, rtol=1e-3)


def test_latents_that_do_not_belong_to_the_picture_and_the_range_of_others(kl):
    space = space_of(kl)
    with pytest.raises(ValueError, match=r"expected latents of \(10, 14\) for an image of 37 x 53, got \(10, 13\)"):
        space.decode(torch.zeros(1, 10, 13, 4), 37, 53)
    assert space.value_range == (-float("inf"), float("inf"))
    assert space_of(kl, "tanh").value_range == (-1.0, 1.0)


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


LATENTS = torch.randn(500, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.1, 1, 10, 3]) + 5


def fitted(kind, latents=LATENTS):
    normalizer = Normalizer(kind, latents.shape[-1])
    normalizer.fit(latents)
    return normalizer


@pytest.mark.parametrize("kind", ["mean-std", "tanh", "none"])
def test_inverse(kind):
    normalizer = fitted(kind)
    raw = LATENTS.view(5, 100, 4)
    torch.testing.assert_close(normalizer.inverse(normalizer(raw)), raw, rtol=1e-4, atol=1e-4)
    assert normalizer(raw.half()).dtype == torch.float32
    torch.testing.assert_close(normalizer(raw.half()), normalizer(raw.half().float()))


def test_each_channel_has_zero_mean_and_unit_variance():
    normalized = fitted("mean-std")(LATENTS)
    torch.testing.assert_close(normalized.mean(dim=0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalized.var(dim=0, correction=0), torch.ones(4), atol=1e-4, rtol=0)


def test_prior_before_the_fit():
    normalizer = Normalizer("mean-std", 2, mean=1.0, std=4.0)
    assert normalizer(torch.tensor([9.0, -3.0])).tolist() == [2.0, -1.0]


def test_a_constant_channel_keeps_its_scale():
    latents = torch.stack([torch.arange(8.0), torch.full((8,), 3.0)], dim=-1)
    normalizer = fitted("mean-std", latents)
    assert normalizer.std[1] == 1.0 and torch.equal(normalizer(latents)[:, 1], torch.zeros(8))
    torch.testing.assert_close(normalizer.inverse(normalizer(latents)), latents)


def test_following_by_hand_and_never_to_a_scale_of_nothing():
    normalizer = Normalizer("mean-std", 2, mean=[1.0, 10.0], std=[2.0, 4.0])
    normalizer.follow(torch.tensor([[0.0, 7.0], [2.0, 7.0], [4.0, 7.0], [6.0, 7.0]]), momentum=0.25)
    torch.testing.assert_close(normalizer.mean, torch.tensor([1.5, 9.25]))  # means 3 and 7
    torch.testing.assert_close(normalizer.std, torch.tensor([1.5 + 5**0.5 / 4, 3.0]))  # deviations sqrt(5) and 0
    normalizer, latents = Normalizer("mean-std", 1), torch.full((5, 1), 3.0)
    for _ in range(500):
        normalizer.follow(latents, momentum=0.5)
    assert float(normalizer.std) > 0 and bool(normalizer(latents).isfinite().all())


def test_tanh_is_that_of_the_papers():
    normalizer = Normalizer("tanh", 1)
    raw = torch.tensor([[-50.0], [0.0], [25.0]])
    torch.testing.assert_close(normalizer(raw), torch.tensor([[-0.7615942], [0.0], [0.46211716]]))
    torch.testing.assert_close(normalizer.inverse(torch.tensor([[0.46211716]])), torch.tensor([[25.0]]))
    limit = torch.atanh(torch.tensor(1 - TANH_EPS)) / 0.02  # of huge latents
    inverse = normalizer.inverse(torch.tensor([[1.0], [-1.5]]))
    torch.testing.assert_close(inverse, torch.stack([limit, -limit])[:, None])


@pytest.mark.parametrize("prior", [0.5, [0.5]])
def test_one_channel_is_saved_as_any_number_is(prior):
    """A view of one number has no stride, by which torch does not show its bytes, and no checkpoint was written."""
    state = dict(Normalizer("mean-std", 1, prior, prior).state_dict())
    seal(state)
    assert unsealed(state, "here")["mean"].tolist() == [0.5]


def test_the_mean_is_grey_and_a_deviation_is_a_fifth():
    values = torch.tensor([-3.0, 3.0])
    latents = torch.cartesian_prod(values * 4, values * 2, values, torch.tensor([7.0, 7.0]))
    weight, bias = fit_preview(latents)
    torch.testing.assert_close(latents.mean(dim=0) @ weight + bias, torch.full((3,), 0.5))
    step = 1 / (2 * PREVIEW_DEVIATIONS)
    one_deviation = torch.tensor([12.0, 6.0, 3.0, 7.0]) @ weight + bias
    torch.testing.assert_close(one_deviation, torch.full((3,), 0.5 + step))


def test_components_are_uncorrelated_and_of_one_scale():
    latents = torch.randn(1000, 8) @ torch.randn(8, 8)
    weight, bias = fit_preview(latents)
    covariance = (latents @ weight + bias).T.cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(3) / (2 * PREVIEW_DEVIATIONS) ** 2, atol=1e-4, rtol=0)


def test_the_same_latents_give_the_same_colours_in_any_order():
    latents = torch.randn(200, 5) * torch.tensor([5.0, 4, 3, 2, 1])
    weight, bias = fit_preview(latents)
    again, bias_again = fit_preview(latents[torch.randperm(200)])
    torch.testing.assert_close(again, weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(bias_again, bias, atol=1e-4, rtol=1e-3)
    largest = weight.gather(0, weight.abs().argmax(dim=0, keepdim=True))
    assert bool((largest > 0).all())


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels(channels):
    latents = torch.randn(50, channels)
    weight, bias = fit_preview(latents)
    assert weight.shape == (channels, 3) and bool(torch.isfinite(latents @ weight + bias).all())
    assert torch.equal(weight[:, channels:], torch.zeros(channels, max(0, 3 - channels)))
    weight, bias = fit_preview(torch.full((10, channels), 2.0))
    torch.testing.assert_close(torch.full((channels,), 2.0) @ weight + bias, torch.full((3,), 0.5), atol=1e-2, rtol=0)
