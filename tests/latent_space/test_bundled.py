"""What ships with the package: autoencoders, and the bundles of objects and of cars."""

import numpy as np
import pytest
import torch
from tiny import latent_model_of

from latent_nerfstudio.api.codec import Codec
from latent_nerfstudio.engine.starting import check_sources
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.hub.packages import Package
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.shipped import BUNDLED_FOLDERS, FOLDERS
from latent_nerfstudio.meshes.cars import car
from latent_nerfstudio.meshes.raycast import Raycaster
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, RADIUS, poses_towards
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.shared_bundle import (
    BUNDLED_BUNDLES,
    FORMER,
    FORMER_ENCODER,
    SHIPPED,
    read_shared_bundle,
    source_for,
)
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipelineConfig

OLD = AutoencoderConfig(source="bundled-f8")


@pytest.fixture(scope="module")
def neighbours():
    """Two pictures of a car that no autoencoder has seen, five degrees apart, on white."""
    around = np.radians([25.0, 30.0])
    eyes = RADIUS * np.stack([0.9 * np.cos(around), 0.9 * np.sin(around), np.full(2, 0.43)], axis=-1)
    caster = Raycaster(car(987_654).normalized(), samples_per_unit=3 * 128 * FOCAL_PER_WIDTH / RADIUS)
    rgba = torch.from_numpy(np.stack([caster.render(pose, 128) for pose in poses_towards(eyes)])).float() / 255
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


@pytest.mark.parametrize("name", sorted(BUNDLED_FOLDERS))
def test_bundled_autoencoders_reconstruct_an_unseen_car(name, neighbours):
    autoencoder = AutoencoderConfig(source=name).setup()
    assert (autoencoder.downscale_factor, autoencoder.num_channels) == (4, 16)
    with torch.no_grad():
        output = autoencoder.decode(autoencoder.encode(neighbours))
    assert float(-10 * (output - neighbours).square().mean().log10()) > 27


def test_the_3d_aware_latents_of_neighbouring_views_are_alike(neighbours):
    """Squared differences in units of the variance, over the picture: pictures alone move a little as well. `bundled`,
    whose encoder L_RGB has trained, codes what moves louder, and is judged by what scenes render."""
    changes = {}
    for name in (FORMER, "bundled-cars", "bundled-standard"):
        with torch.no_grad():
            latents = AutoencoderConfig(source=name).setup().encode(neighbours)
        changes[name] = float((latents[0] - latents[1]).square().mean() / latents.flatten(0, 2).var(dim=0).mean())
    assert changes[FORMER] < 0.7 * changes["bundled-standard"]
    assert changes["bundled-cars"] < 0.7 * changes["bundled-standard"]


@pytest.mark.parametrize("name", sorted(BUNDLED_BUNDLES))
def test_the_bundles_verify(name):
    bundle = read_shared_bundle(name)
    assert bundle.has_base_planes and bundle.autoencoder["channels"] == 16
    assert bundle.autoencoder_config.setup().encoder_hash() == bundle.autoencoder["encoder_hash"]
    assert AutoencoderConfig(source=name).setup().encoder_hash() == bundle.autoencoder["encoder_hash"]


def test_all_weights_are_within_twelve_mebibytes_and_have_their_model_cards():
    """Objects of `lns render-meshes` fit the bundle of objects; files of version 0.1 find that of cars."""
    weights = [path for folder in BUNDLED_FOLDERS.values() for path in folder.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in weights) < 12 << 20
    assert all((folder / "README.md").is_file() for folder in BUNDLED_FOLDERS.values())
    assert read_shared_bundle("bundled").box.tolist() == [pytest.approx([-0.52] * 3), pytest.approx([0.52] * 3)]
    cars, of_version_0_1 = read_shared_bundle("bundled-cars"), SHIPPED["bundled-cars"][1]
    assert of_version_0_1 == "b42f9511475b706206b59417df33dee2fadee1188f70f5a3bbae12d733b03585"
    assert cars.hash == "b74ee39092618a2a8123bb26834110cf916afd66bb3b49dd25ea8b59be32981a"
    assert cars.stands_for(of_version_0_1)


def test_scenes_that_name_bundled_with_any_of_its_scene_encoders_and_decoders_open():
    """They render the same latents. Whoever replaces either adds the new hashes and keeps the others."""
    assert set(SHIPPED) == set(BUNDLED_BUNDLES)
    for name, hashes in SHIPPED.items():
        shipped = read_shared_bundle(name)
        assert (shipped.source, shipped.scenes_hash) == (name, hashes[0]) and shipped.hash in hashes
    bundle, former, named = read_shared_bundle("bundled"), read_shared_bundle(FORMER), SHIPPED[FORMER]
    assert SHIPPED["bundled"][-1] == bundle.hash and bundle.stands_for(bundle.hash)
    assert {"3e26d68079e1df253d77cfcf2ea523f4f8738545f7a8ed248c91b5b06b0b6b78", former.hash} < set(named)
    assert all(former.has_hash(value) and former.stands_for(value) for value in named)
    assert not any(bundle.has_hash(value) for value in (*named, "0" * 64)) and not former.has_hash(bundle.hash)


def test_bundled_is_what_it_was_where_scenes_or_latents_are_of_that_time():
    """Also where its folder is given instead of its name."""
    of_that_time = (*SHIPPED[FORMER], FORMER_ENCODER)
    assert read_shared_bundle(FORMER).autoencoder["encoder_hash"] == FORMER_ENCODER
    for source in ("bundled", str(BUNDLED_BUNDLES["bundled"]), f"{BUNDLED_BUNDLES['bundled']}/"):
        assert {source_for(source, named) for named in of_that_time} == {FORMER}
        assert source_for(source, SHIPPED["bundled"][-1]) == source_for(source, None) == "bundled"
    assert {source_for("bundled-cars", named) for named in of_that_time} == {"bundled-cars"}
    assert read_shared_bundle("bundled", FORMER_ENCODER).source == FORMER


def test_what_no_longer_ships_is_still_rendered(tmp_path):
    """A checkpoint brings the decoder, and names the encoder that it has left out."""
    old = OLD.setup()
    assert (old.downscale_factor, old.num_channels, old.encoder_hash()) == (8, 16, "b0dce798be036799")
    latents, refused = torch.randn(1, 2, 2, 16), "bundled-f8: expected one that ships, got .*; take bundled"
    assert AutoencoderConfig(source=str(FOLDERS["bundled-f8"])).setup().retired == "bundled-f8"
    unwritten = tmp_path / "out"
    for use in (
        lambda: old.encode(torch.rand(1, 16, 16, 3)),
        lambda: old.decode(latents),
        lambda: Codec(old).save(unwritten),
        lambda: write_shared_bundle(unwritten, latent_model_of("bundled-f8"), 1, {}),
        lambda: Package("bundled-f8", "autoencoder"),
    ):
        with pytest.raises(ValueError, match=refused):
            use()
    assert not unwritten.exists()
    brought = {name: torch.full_like(value, 0.01) for name, value in old.decoder_state().items()}
    old.load_decoder(brought)
    assert old.decode(latents).isfinite().all()
    with pytest.raises(ValueError, match=refused):
        check_sources(LatentTrainerConfig(pipeline=LatentPipelineConfig(model=LatentModelConfig(autoencoder=OLD))))


def test_a_run_of_what_bundled_was_finds_its_encoder():
    """Its checkpoint names it and leaves it out; a run of another encoder is refused as ever."""
    photo = torch.rand(1, 16, 16, 3)
    old, other = (latent_model_of(name) for name in (FORMER, "bundled-cars"))
    new = latent_model_of("bundled")
    new.load_state_dict(old.state_dict())
    torch.testing.assert_close(new.latent_space.encode(photo), old.latent_space.encode(photo))
    torch.testing.assert_close(new.reconstruct(photo[0]), old.reconstruct(photo[0]))
    for model, state in ((new, other), (latent_model_of("bundled-cars"), old)):
        with pytest.raises(ValueError, match="checkpoint: expected the encoder"):
            model.load_state_dict(state.state_dict())
