"""What ships with the package: autoencoders, and the bundles of objects and of cars."""

import numpy as np
import pytest
import torch

from latent_nerfstudio.latent_space.autoencoder import BUNDLED_FOLDERS, AutoencoderConfig
from latent_nerfstudio.meshes.cars import car
from latent_nerfstudio.meshes.raycast import PinholeCamera, Raycaster
from latent_nerfstudio.meshes.surface import surface_of
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, RADIUS, poses_towards
from latent_nerfstudio.models.shared_bundle import BUNDLED_BUNDLES, SHIPPED, read_shared_bundle

FACTORS = {"bundled": 4, "bundled-cars": 4, "bundled-standard": 4, "bundled-f8": 8}


@pytest.fixture(scope="module")
def neighbours():
    """Two pictures of a car that no autoencoder has seen, five degrees apart, on white."""
    around = np.radians([25.0, 30.0])
    eyes = RADIUS * np.stack([0.9 * np.cos(around), 0.9 * np.sin(around), np.full(2, 0.43)], axis=-1)
    camera = PinholeCamera.square(128, FOCAL_PER_WIDTH)
    caster = Raycaster(surface_of(car(987_654)).normalized(), samples_per_unit=3 * camera.fx / RADIUS)
    rgba = torch.from_numpy(np.stack([caster.render(pose, camera) for pose in poses_towards(eyes)])).float() / 255
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


@pytest.mark.parametrize("name", sorted(BUNDLED_FOLDERS))
def test_bundled_autoencoders_reconstruct_an_unseen_car(name, neighbours):
    autoencoder = AutoencoderConfig(source=name).setup()
    assert (autoencoder.downscale_factor, autoencoder.num_channels) == (FACTORS[name], 16)
    with torch.no_grad():
        output = autoencoder.decode(autoencoder.encode(neighbours))
    assert float(-10 * (output - neighbours).square().mean().log10()) > 27


def test_the_3d_aware_latents_of_neighbouring_views_are_alike(neighbours):
    """Squared differences in units of the variance, over the picture: pictures alone move a little as well."""
    changes = {}
    for name in ("bundled", "bundled-cars", "bundled-standard"):
        with torch.no_grad():
            latents = AutoencoderConfig(source=name).setup().encode(neighbours)
        changes[name] = float((latents[0] - latents[1]).square().mean() / latents.flatten(0, 2).var(dim=0).mean())
    assert changes["bundled"] < 0.7 * changes["bundled-standard"]
    assert changes["bundled-cars"] < 0.7 * changes["bundled-standard"]


@pytest.mark.parametrize("name", sorted(BUNDLED_BUNDLES))
def test_the_bundles_verify(name):
    bundle = read_shared_bundle(name)
    assert bundle.has_base_planes and bundle.autoencoder["channels"] == 16
    assert bundle.autoencoder_config.setup().encoder_hash() == bundle.autoencoder["encoder_hash"]
    assert AutoencoderConfig(source=name).setup().encoder_hash() == bundle.autoencoder["encoder_hash"]


def test_all_is_within_thirteen_megabytes_and_has_its_model_card():
    files = [path for folder in BUNDLED_FOLDERS.values() for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 13e6
    assert all((folder / "README.md").is_file() for folder in BUNDLED_FOLDERS.values())


def test_every_object_of_lns_render_meshes_fits_the_box_of_the_bundle_of_objects():
    assert read_shared_bundle("bundled").box.tolist() == [pytest.approx([-0.52] * 3), pytest.approx([0.52] * 3)]


def test_files_of_version_0_1_find_the_bundle_of_cars():
    assert read_shared_bundle("bundled-cars").hash == "b42f9511475b706206b59417df33dee2fadee1188f70f5a3bbae12d733b03585"


def test_scenes_that_name_bundled_with_any_of_its_scene_encoders_open():
    """An encoder changes nothing of how scenes look. Whoever replaces it adds the new hash and keeps the others."""
    bundle = read_shared_bundle("bundled")
    former = SHIPPED[bundle.scenes_hash]
    assert former[-1] == bundle.hash and "3e26d68079e1df253d77cfcf2ea523f4f8738545f7a8ed248c91b5b06b0b6b78" in former
    assert all(bundle.has_hash(value) for value in former) and not bundle.has_hash("0" * 64)
    assert all(bundle.stands_for(value) for value in former) and not bundle.stands_for(bundle.scenes_hash)
