"""What a bundle from a stranger may not say, although its hash is right."""

import os
import shutil

import pytest
import torch
from bundles import reseal
from safetensors.torch import load_file, save_file
from tiny import SHARED, latent_model_of, small_nerf

from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle

ABSENT = object()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of a small bundle in RGB."""
    model = latent_model_of(nerf=small_nerf(**SHARED))
    return write_shared_bundle(tmp_path_factory.mktemp("run"), model, 1, {"seconds": 3.0})


@pytest.fixture
def bundle(written, tmp_path):
    return shutil.copytree(written, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("", "scene_contraction", 1, "scene_contraction: expected true or false, got 1"),
        ("", "num_scenes", -1, "num_scenes: expected a count, got -1"),
        ("", "step", True, "step: expected a count, got True"),
        ("autoencoder", "downscale_factor", 0, "autoencoder, downscale_factor: expected a whole number from 1 to 1024"),
        ("autoencoder", "channels", 10**9, "autoencoder, channels: expected a whole number from 1 to 4096"),
        ("field", "micro_features", 2.5, "field, micro_features: expected a whole number up to 4096, got 2.5"),
        ("field", "hidden_layers", 10**6, "field, hidden_layers: expected a whole number up to 64"),
        ("field", "implementation", "auto", "field, implementation: expected torch or tcnn, got 'auto'"),
        *(("", name, ABSENT, f"{name}: expected .*, got none") for name in ("normalizer", "field", "facts", "aabb")),
    ],
)
def test_settings_that_are_none(bundle, part, name, value, message):
    def change(settings):
        place = settings[part] if part else settings
        place[name] = value
        if value is ABSENT:
            del place[name]

    reseal(bundle, change)
    with pytest.raises(ValueError, match=f"shared bundle .*{message}.*; copy the bundle again"):
        read_shared_bundle(str(bundle))


def test_planes_that_no_memory_holds(bundle):
    """Features and sides are each within their limits; memory must not be taken before the product is looked at."""
    reseal(bundle, lambda settings: settings["field"].update(micro_features=4096, resolution=8192))
    with pytest.raises(ValueError, match="field: expected planes of 1 to 268435456 numbers, got 4099 features of 8192"):
        read_shared_bundle(str(bundle))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("background", torch.zeros(1), r"background: expected \[16, 16, 3\], got \[1\]"),
        ("preview_bias", None, r"preview_bias: expected \[3\], got none"),
        ("normalizer.std", torch.zeros(3), "normalizer, std: expected one positive finite number or 3"),
        ("normalizer.mean", torch.full((3,), torch.nan), "normalizer.mean: expected finite numbers, got others"),
        ("field.base_planes", torch.zeros(2, 3, 3, 8, 8, dtype=torch.int8), "field.base_planes: expected finite"),
        ("mean_scene_weights", torch.zeros(7), r"mean_scene_weights: expected \[2\], got \[7\]"),
    ],
)
def test_tensors_that_do_not_fit(bundle, name, change, message):
    tensors = {n: v.clone() for n, v in load_file(bundle / "shared.safetensors").items() if n != name}
    save_file(tensors if change is None else {**tensors, name: change}, bundle / "shared.safetensors")
    reseal(bundle)
    with pytest.raises(ValueError, match=message):
        read_shared_bundle(str(bundle))


def test_only_plain_files_of_known_names_are_opened(bundle):
    os.mkfifo(bundle / "x.json")  # never opened
    os.mkfifo(bundle / "x.safetensors")
    assert read_shared_bundle(str(bundle)).facts == {"seconds": 3.0}
    (bundle / "shared.safetensors").unlink()
    os.mkfifo(bundle / "shared.safetensors")
    with pytest.raises(ValueError, match="expected a regular file"):
        read_shared_bundle(str(bundle))


def test_an_mlp_of_other_settings(bundle):
    reseal(bundle, lambda settings: settings["field"].update(hidden_width=32))
    with pytest.raises(ValueError, match="expected base planes and an MLP of its own settings, got others"):
        latent_model_of(shared_bundle=str(bundle))
