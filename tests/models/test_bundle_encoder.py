"""A scene encoder in a bundle: written, read, hashed, and what is refused."""

import pytest
import torch
from bundles import BOTH, MACRO, bundle_model, reseal
from tiny import SMALL_ENCODER, random_encoder

from latent_nerfstudio.models.bundle_encoder import new_scene_encoder, read_scene_encoder, write_scene_encoder
from latent_nerfstudio.models.bundle_folder import ENCODER_FILE
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_encoder.network import SceneEncoderConfig


@pytest.fixture
def plain(tmp_path):
    write_shared_bundle(tmp_path / "plain", bundle_model("identity", **BOTH), 7, {"method": "test"})
    return read_shared_bundle(str(tmp_path / "plain"))


def test_it_comes_back_in_half_precision_and_is_part_of_the_hash(plain, tmp_path):
    """As is another one that replaces it."""
    encoder = random_encoder(plain)
    write_scene_encoder(plain, encoder, tmp_path / "run", {"steps": 3})
    bundle = read_shared_bundle(str(tmp_path / "run"))
    again = read_scene_encoder(bundle)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value.half().float(), atol=0, rtol=0)
    assert bundle.facts == {"method": "test", "scene_encoder": {"steps": 3}}
    assert bundle.hash != plain.hash == bundle.scenes_hash == plain.scenes_hash
    assert bundle.has_hash(plain.hash) and bundle.has_hash(bundle.hash) and not plain.has_hash(bundle.hash)
    assert read_scene_encoder(plain) is None
    write_scene_encoder(bundle, new_scene_encoder(bundle, SceneEncoderConfig(**SMALL_ENCODER)), tmp_path / "second", {})
    second = read_shared_bundle(str(tmp_path / "second"))
    assert len({plain.hash, bundle.hash, second.hash}) == 3 and second.scenes_hash == plain.hash


@pytest.mark.parametrize(
    "encoder, words",
    [
        ({**SMALL_ENCODER, "grid": 10**6}, "grid: expected a multiple of 2 from 4 to 64, got 1000000"),
        ({**SMALL_ENCODER, "more": 1}, "scene_encoder: expected an object"),
        ([1], "scene_encoder: expected an object"),
        ({"grid": 4}, "photo_width: expected a multiple of 4 from 4 to 512, got none"),
        ({**SMALL_ENCODER, "inner_width": 12}, "inner_width: expected a multiple of 8"),
        ({**SMALL_ENCODER, "grid": 64, "photo_width": 512}, "scene_encoder: expected a network of up to"),
        ({**SMALL_ENCODER, "inner_width": 512, "inner_blocks": 32}, "scene_encoder: expected a network of up to"),
        ({**SMALL_ENCODER, "looks": 1000}, "looks: expected a whole number up to 16, got 1000"),
        ({**SMALL_ENCODER, "look_inner_width": 512, "look_blocks": 32}, "scene_encoder: expected a network of up to"),
    ],
)
def test_settings_of_strangers_are_checked_before_anything_is_built(plain, tmp_path, encoder, words):
    folder = write_scene_encoder(plain, random_encoder(plain), tmp_path / "run", {})
    reseal(folder, lambda settings: settings.update(scene_encoder=encoder))
    with pytest.raises(ValueError, match=words):
        read_shared_bundle(str(folder))


def test_an_encoder_of_before_looks_at_its_photos_once(plain, tmp_path):
    encoder = new_scene_encoder(plain, SceneEncoderConfig(**{**SMALL_ENCODER, "looks": 0}))
    folder = write_scene_encoder(plain, encoder, tmp_path / "run", {})
    later = ("looks", "look_width", "look_inner_width", "look_blocks", "knows_box")
    sizes = {name: size for name, size in SMALL_ENCODER.items() if name not in later}
    reseal(folder, lambda settings: settings.update(scene_encoder={**sizes, "knows_box": True}))
    read = read_scene_encoder(read_shared_bundle(str(folder)))
    assert read is not None and read.config.looks == 0 and read.correction is None


def test_weights_of_another_bundle_absent_or_not_finite_are_refused(plain, tmp_path):
    folder = write_scene_encoder(plain, random_encoder(plain), tmp_path / "run", {})
    write_shared_bundle(tmp_path / "other", bundle_model("identity", **{**BOTH, "num_base_planes": 5}), 7, {})
    other = read_shared_bundle(str(tmp_path / "other"))
    foreign = write_scene_encoder(other, random_encoder(other), tmp_path / "foreign", {})
    (folder / ENCODER_FILE).write_bytes((foreign / ENCODER_FILE).read_bytes())
    reseal(folder)
    with pytest.raises(ValueError, match="expected the scene encoder of this bundle, got .*to_weights"):
        read_scene_encoder(read_shared_bundle(str(folder)))
    (folder / ENCODER_FILE).unlink()
    reseal(folder)
    with pytest.raises(ValueError, match="expected the scene encoder of this bundle"):
        read_scene_encoder(read_shared_bundle(str(folder)))
    encoder = random_encoder(plain)
    encoder.place.weight.data[0, 0] = torch.nan
    folder = write_scene_encoder(plain, encoder, tmp_path / "nan", {})
    with pytest.raises(ValueError, match="expected finite numbers"):
        read_scene_encoder(read_shared_bundle(str(folder)))


def test_of_a_bundle_its_own_files_alone_are_copied_and_no_links_that_lead_out(plain, tmp_path):
    (plain.folder / "notes.txt").write_text("mine")
    folder = write_scene_encoder(plain, random_encoder(plain), tmp_path / "run", {})
    assert sorted(p.name for p in folder.iterdir()) == [
        "bundle.json",
        "scene_encoder.safetensors",
        "shared.safetensors",
    ]
    (plain.folder / "shared.safetensors").rename(tmp_path / "secret")
    (plain.folder / "shared.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="shared.safetensors: expected a file within .*, got a link to"):
        write_scene_encoder(plain, random_encoder(plain), tmp_path / "other", {})
    assert not (tmp_path / "other/shared_bundle").exists()


@pytest.mark.parametrize("kind", [MACRO, {**BOTH, "eg3d_axes": True}])
def test_bundles_that_can_have_none(tmp_path, kind):
    write_shared_bundle(tmp_path / "run", bundle_model("identity", **kind), 7, {})
    with pytest.raises(ValueError, match="expected micro planes XY, XZ and YZ"):
        new_scene_encoder(read_shared_bundle(str(tmp_path / "run")), SceneEncoderConfig(**SMALL_ENCODER))
