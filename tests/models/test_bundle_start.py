"""Models that start from a shared bundle: what they take, what is fresh, their decoders, and what does not fit."""

from copy import deepcopy

import pytest
import torch
from bundles import BOTH, MACRO, MICRO, PlainConfig, bundle_model, started
from tiny import SHARED, disturb, latent_model_of, save_kl, small_nerf

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.bundle_start import nerf_for, start_decoder
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.model_scenes import holds_bundle


@pytest.fixture(scope="module")
def model(kl):
    return bundle_model(kl, names="abc")


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return write_shared_bundle(tmp_path_factory.mktemp("run"), model, 7, {}).parent


@pytest.mark.parametrize("kind", [MICRO, MACRO, BOTH], ids=["micro", "macro", "both"])
def test_new_scenes_share_what_the_old_ones_shared(tmp_path, kind):
    """Micro planes start at zero where that is the mean scene: not without base planes, where there would be none."""
    old = bundle_model("identity", names="abc", density_scale=3.0, **kind)
    new = started(write_shared_bundle(tmp_path, old, 7, {}))
    mine, theirs = new.nerf.field, old.nerf.field
    assert all(torch.equal(a, b) for a, b in zip(mine.mlp.parameters(), theirs.mlp.parameters(), strict=True))
    assert mine.shared_settings() == theirs.shared_settings()
    if kind["num_base_planes"]:
        assert torch.equal(mine.base_planes, theirs.base_planes)
        torch.testing.assert_close(mine.scene_weights, theirs.scene_weights.mean(0).expand(2, -1))
    if kind["micro_features"]:
        assert mine.micro_planes.shape == (2, 3, 4, 8, 8)
        assert not torch.isclose(mine.micro_planes, theirs.micro_planes[:2]).all()
        assert bool(mine.micro_planes.any()) == (kind is MICRO)


def test_kernels_are_the_runs_parameters_the_bundles_and_the_config_is_left_alone(bundle):
    for wanted in ("auto", "triton"):
        config = small_nerf()
        config.field.implementation = wanted
        field = nerf_for(read_shared_bundle(str(bundle)), config).field
        assert field.implementation == wanted and field.num_base_planes == 2
    new = started(bundle)
    assert new.config.autoencoder.source == "bundled" and new.config.nerf.field.resolution == 5
    assert new.nerf.field.config.resolution == 8


def test_contraction_is_that_of_the_bundle(tmp_path):
    nerf = small_nerf(**BOTH)
    nerf.scene_contraction = True
    assert started(write_shared_bundle(tmp_path, latent_model_of(nerf=nerf), 7, {})).nerf.contraction is not None


@pytest.mark.parametrize(("source", "normalizer"), [("kl", "tanh"), ("taesd", "mean-std")], indirect=["source"])
def test_the_latent_space_is_the_bundles(tmp_path, source, normalizer):
    old = bundle_model(source, normalizer=normalizer)
    new, image = started(write_shared_bundle(tmp_path, old, 7, {})), torch.rand(1, 16, 16, 3)
    latents = old.latent_space.encode(image)
    assert new.latent_space.normalizer.kind == normalizer and bool(new.latent_space.fitted)
    assert torch.equal(new.latent_space.encode(image), latents)
    assert torch.equal(new.latent_space.decode(latents, 16, 16), old.latent_space.decode(latents, 16, 16))
    assert torch.equal(new.latent_space.preview(latents), old.latent_space.preview(latents))
    assert torch.equal(new.latent_space.background, old.latent_space.background)
    values = 3 * torch.randn(5, 4)
    assert torch.equal(new.nerf.field.to_range(values), old.nerf.field.to_range(values))


def test_another_background_is_encoded_anew(bundle, model, tmp_path):
    new, space = started(bundle, color=(0.0, 0.5, 1.0)), deepcopy(model.latent_space)
    space.background_color = torch.tensor([0.0, 0.5, 1.0])
    space.encode_background()
    torch.testing.assert_close(new.latent_space.background, space.background)
    bundle = write_shared_bundle(tmp_path, bundle_model("identity"), 7, {})
    new = started(bundle, source="identity", color=(0.0, 0.5, 1.0))  # which takes it as it is
    assert new.latent_space.is_identity and new.latent_space.background[3, 3].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("source", "got"), [("kl8", "8 and 5"), ("taesd", "2 and 4"), ("identity", "1 and 3")], indirect=["source"]
)
def test_an_autoencoder_of_another_shape_is_refused(bundle, source, got):
    with pytest.raises(ValueError, match=f"expected an autoencoder .* 4 and 4.*got {got}; leave"):
        started(bundle, source=source)


def test_another_encoder_of_the_same_shape_is_taken_with_a_warning(tmp_path, bundle, model, capsys):
    other = save_kl(tmp_path / "other", seed=5)
    new = started(bundle, source=other)
    assert "expected the encoder that it was learned with, got another" in " ".join(capsys.readouterr().out.split())
    assert new.latent_space.autoencoder.encoder_hash() == AutoencoderConfig(source=str(other)).setup().encoder_hash()
    assert torch.equal(new.latent_space.normalizer.mean, model.latent_space.normalizer.mean)
    background = new.latent_space.background.clone()
    new.latent_space.encode_background()
    torch.testing.assert_close(background, new.latent_space.background)
    assert not torch.allclose(background, model.latent_space.background, atol=0.1)


@pytest.mark.parametrize("source", [None, "autoencoder", "shared_bundle"])
def test_its_own_autoencoder_is_taken_without_one(bundle, capsys, source):
    started(bundle, source=None if source is None else bundle / source)
    assert not capsys.readouterr().out


def test_another_nerf_takes_the_latent_space_alone(bundle, model, capsys):
    new = started(bundle, nerf=PlainConfig(), box=3.0)
    assert torch.equal(new.latent_space.background, model.latent_space.background)
    assert new.nerf.scene_box.aabb.tolist() == [[-3.0] * 3, [3.0] * 3] and not capsys.readouterr().out


def test_data_within_the_bundles_box_are_fitted_in_it_and_others_scaled_into_it(bundle, capsys):
    for half in (0.3, 1.09):
        assert started(bundle, box=half).nerf.aabb.tolist() == [[-1.0] * 3, [1.0] * 3]
    assert not capsys.readouterr().out
    new = started(bundle, box=3.0)
    assert new.nerf.aabb.tolist() == [[-1.0] * 3, [1.0] * 3]
    assert [placement.scale for placement in new.placements] == pytest.approx([1 / 3] * 2)
    assert new.box_of(1).flatten().tolist() == pytest.approx([-3.0] * 3 + [3.0] * 3)
    assert "2 of 2 scenes are moved and scaled into its box" in " ".join(capsys.readouterr().out.split())


def test_a_checkpoint_knows_the_encoder_that_it_leaves_out(kl, tmp_path):
    stored = latent_model_of(kl).state_dict()
    assert stored["encoder_hash"].dtype == torch.uint8 and stored["encoder_hash"].shape == (8,)
    other = latent_model_of(save_kl(tmp_path, seed=5))
    with pytest.raises(ValueError, match=r"checkpoint: expected the encoder \w{16}, .* got \w{16}.*; restore"):
        other.load_state_dict(stored)
    assert "encoder_hash" in stored


def test_a_checkpoint_knows_how_often_pictures_were_enlarged(kl):
    """So that a run is not resumed with other latents where somebody forgets the flag, or adds it; that of 1 says
    nothing, as before there was any."""
    plain, twice, again = latent_model_of(kl), latent_model_of(kl), latent_model_of(kl)
    for model in (twice, again):
        model.latent_space.autoencoder.enlarge = 2
    stored = twice.state_dict()
    assert "enlarge" not in plain.state_dict()
    again.load_state_dict(stored, strict=True)
    with pytest.raises(ValueError, match="pictures that are enlarged 1 times, got 2; give --pipeline.*enlarge 1"):
        again.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match="pictures that are enlarged 2 times, got 1; give --pipeline.*enlarge 2"):
        plain.load_state_dict(stored)


@pytest.mark.parametrize("change", ["before 0.1", "within another module", "another decoder"])
def test_checkpoints_of_the_same_encoder_load(kl, change):
    model, other = latent_model_of(kl), latent_model_of(kl)
    with torch.no_grad():
        model.nerf.field.micro_planes.add_(1)
        if change == "another decoder":
            model.latent_space.autoencoder.decoder_parameters()[0].add_(1)
    modules = [torch.nn.ModuleDict({"model": one}) if "within" in change else one for one in (model, other)]
    stored = modules[0].state_dict()
    if change == "before 0.1":
        del stored["encoder_hash"]
    modules[1].load_state_dict(stored, strict=True)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def aligned_model(source):
    """A latent model whose decoder alone was trained."""
    model = latent_model_of(source, ["a", "b"], nerf=small_nerf(**SHARED))
    disturb(model.latent_space.autoencoder.decoder_parameters())
    return model


@pytest.mark.parametrize("source", ["kl", "taesd"], indirect=True)
def test_an_autoencoder_stays_as_it_came_and_a_new_model_decodes_with_the_trained_decoder(tmp_path, source):
    """Renders go through the bundle's decoder, the ceiling through the autoencoder as it came."""
    model = aligned_model(source)
    write_shared_bundle(tmp_path, model, 1, {})
    bundle = read_shared_bundle(str(tmp_path))
    came, stored = AutoencoderConfig(source=str(source)).setup().state_dict(), bundle.autoencoder_config.setup()
    assert all(torch.equal(value, came[name]) for name, value in stored.state_dict().items())
    own = model.latent_space.autoencoder.decoder_state()
    assert set(bundle.decoder) == set(own) and all(torch.equal(t, own[name]) for name, t in bundle.decoder.items())
    assert not any(".encoder." in name for name in bundle.decoder)
    new, plain = started(tmp_path), latent_model_of(source, ["a"])
    latents, photo = torch.randn(1, 4, 4, 4), torch.rand(16, 16, 3)
    side = 4 * new.latent_space.downscale_factor
    assert torch.equal(new.renderer.decode(latents, side, side), model.renderer.decode(latents, side, side))
    assert torch.equal(new.reconstruct(photo), plain.reconstruct(photo))
    assert holds_bundle(new, bundle)
    new.latent_space.autoencoder.load_decoder(plain.latent_space.autoencoder.decoder_state())
    assert not holds_bundle(new, bundle)


def test_a_second_generation_keeps_the_first_autoencoder(tmp_path, kl):
    write_shared_bundle(tmp_path / "first", aligned_model(kl), 1, {})
    new = started(tmp_path / "first")
    write_shared_bundle(tmp_path / "second", new, 2, {})
    first, second = (read_shared_bundle(str(tmp_path / name)) for name in ("first", "second"))
    assert all(torch.equal(second.decoder[name], value) for name, value in first.decoder.items())
    assert first.autoencoder["encoder_hash"] == second.autoencoder["encoder_hash"]


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
