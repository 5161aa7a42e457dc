"""Bundles whose decoder of rendered latents is another than their autoencoder's."""

import pytest
import torch
from bundles import started
from tiny import SHARED, disturb, latent_model_of, small_nerf

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.bundle_start import start_decoder
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.model_scenes import holds_bundle

SOURCES = pytest.mark.parametrize("source", ["kl", "taesd"], indirect=True)


def aligned_model(source):
    """A latent model whose decoder alone was trained."""
    model = latent_model_of(source, ["a", "b"], nerf=small_nerf(**SHARED))
    disturb(model.latent_space.autoencoder.decoder_parameters())
    return model


@SOURCES
def test_the_autoencoder_stays_as_it_came(tmp_path, source):
    model = aligned_model(source)
    write_shared_bundle(tmp_path, model, 1, {})
    bundle = read_shared_bundle(str(tmp_path))
    came, stored = AutoencoderConfig(source=str(source)).setup().state_dict(), bundle.autoencoder_config.setup()
    assert all(torch.equal(value, came[name]) for name, value in stored.state_dict().items())
    own = model.latent_space.autoencoder.decoder_state()
    assert set(bundle.decoder) == set(own) and all(torch.equal(t, own[name]) for name, t in bundle.decoder.items())
    assert not any(".encoder." in name for name in bundle.decoder)


@SOURCES
def test_a_new_model_decodes_with_it(tmp_path, source):
    """Renders go through the bundle's decoder, the ceiling through the autoencoder as it came."""
    model = aligned_model(source)
    write_shared_bundle(tmp_path, model, 1, {})
    new, plain = started(tmp_path), latent_model_of(source, ["a"])
    latents, photo = torch.randn(1, 4, 4, 4), torch.rand(16, 16, 3)
    side = 4 * new.latent_space.downscale_factor
    assert torch.equal(new.renderer.decode(latents, side, side), model.renderer.decode(latents, side, side))
    assert torch.equal(new.reconstruct(photo), plain.reconstruct(photo))
    decoded = [one.latent_space.autoencoder.decode(latents) for one in (new, plain)]
    assert not torch.allclose(*decoded)
    assert holds_bundle(new, read_shared_bundle(str(tmp_path)))
    new.latent_space.autoencoder.load_decoder(plain.latent_space.autoencoder.decoder_state())
    assert not holds_bundle(new, read_shared_bundle(str(tmp_path)))


def test_a_second_generation_keeps_the_first_autoencoder(tmp_path, kl):
    write_shared_bundle(tmp_path / "first", aligned_model(kl), 1, {})
    new = started(tmp_path / "first")
    write_shared_bundle(tmp_path / "second", new, 2, {})
    first, second = (read_shared_bundle(str(tmp_path / name)) for name in ("first", "second"))
    assert all(torch.equal(second.decoder[name], value) for name, value in first.decoder.items())
    assert first.autoencoder["encoder_hash"] == second.autoencoder["encoder_hash"]


def test_half_precision(tmp_path, kl):
    """What is published in float16 is read in float32, to half a thousandth."""
    model = aligned_model(kl)
    write_shared_bundle(tmp_path, model, 1, {}, torch.float16)
    assert {t.dtype for t in read_shared_bundle(str(tmp_path)).decoder.values()} == {torch.float16}
    own, new = (m.latent_space.autoencoder.decoder_state() for m in (model, started(tmp_path)))
    for name, value in own.items():
        assert new[name].dtype == torch.float32
        torch.testing.assert_close(new[name], value, rtol=1e-3, atol=1e-6)


def test_an_autoencoder_of_a_bundle_brings_its_decoder(tmp_path, kl):
    """By the run, the bundle's folder, or the autoencoder's within it; another autoencoder's stays as it is."""
    model = aligned_model(kl)
    write_shared_bundle(tmp_path, model, 1, {})
    own = model.latent_space.autoencoder.decoder_state()
    for source in (tmp_path, tmp_path / "shared_bundle", tmp_path / "shared_bundle/autoencoder"):
        space = latent_model_of(source, ["a"]).latent_space
        start_decoder(space, str(source))
        assert all(torch.equal(value, own[name]) for name, value in space.autoencoder.decoder_state().items())
    space = latent_model_of(kl, ["a"]).latent_space
    before = {name: value.clone() for name, value in space.autoencoder.decoder_state().items()}
    start_decoder(space, str(kl))
    assert all(torch.equal(value, before[name]) for name, value in space.autoencoder.decoder_state().items())
