"""Shared bundles on disk: what they hold, where they are found, damage, crashes, and what a stranger may not say."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from bundles import BOTH, MACRO, MICRO, PlainConfig, bundle_model, reseal
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file, save_file
from tiny import SHARED, cube, latent_model_of, small_nerf

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models import shared_bundle
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.shared_bundle import read_shared_bundle


def write(run: Path, model, step=7, **settings) -> Path:
    return write_shared_bundle(run, model, step, {"method": "test"}, **settings)


@pytest.mark.parametrize(
    ("source", "kind"), [("identity", MICRO), ("identity", MACRO), ("taesd", BOTH)], indirect=["source"]
)
def test_every_tensor_comes_back(tmp_path, source, kind):
    model = bundle_model(source, names="abc", **kind)
    folder = write(tmp_path, model)
    bundle = read_shared_bundle(str(tmp_path))
    space, field = model.latent_space, model.nerf.field
    expected = {
        "normalizer.mean": space.normalizer.mean,
        "normalizer.std": space.normalizer.std,
        "background": space.background,
        "preview_weight": space.preview_weight,
        "preview_bias": space.preview_bias,
        **{f"field.mlp.{name}": value for name, value in field.mlp.named_parameters()},
    }
    if kind["num_base_planes"]:
        expected["field.base_planes"] = field.base_planes
        expected["mean_scene_weights"] = sum(field.scene_weights[s] for s in range(3)) / 3
    assert sorted(bundle.tensors) == sorted(expected)
    for name, value in expected.items():
        torch.testing.assert_close(bundle.tensors[name], value.detach(), atol=1e-7, rtol=1e-6)
    assert folder == bundle.folder == tmp_path / "shared_bundle"
    assert (folder / "autoencoder").is_dir() is (tmp_path / "autoencoder").exists() is (source != "identity")


def test_settings(tmp_path, kl):
    model = bundle_model(kl, names="abc", density_scale=3.0)
    write(tmp_path, model, step=42)
    stored = json.loads((tmp_path / "shared_bundle" / "bundle.json").read_text())
    assert stored["format"] == "shared-bundle-v1" and len(stored["hash"]) == 64
    expected = {**BOTH, "aggregation": "sum", "density_scale": 3.0, "resolution": 8, "hidden_width": 16}
    assert expected.items() <= stored["field"].items() and stored["field"]["implementation"] == "torch"
    assert (stored["normalizer"], stored["background_color"]) == ("mean-std", [1, 1, 1])
    assert (stored["num_scenes"], stored["step"], stored["facts"]) == (3, 42, {"method": "test"})
    assert stored["aabb"] == [[-1, -1, -1], [1, 1, 1]]
    assert (stored["autoencoder"]["downscale_factor"], stored["autoencoder"]["channels"]) == (4, 4)


def test_the_run_is_an_autoencoder_for_diffusers_and_for_the_flag(tmp_path, kl):
    model = bundle_model(kl)
    write(tmp_path, model)
    image = torch.rand(1, 16, 16, 3)
    vae = AutoencoderKL.from_pretrained(tmp_path, subfolder="autoencoder")
    expected = model.latent_space.autoencoder.encode(image)
    output = vae.encode(image.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(output, expected.permute(0, 3, 1, 2))
    by_flag = AutoencoderConfig(source=str(tmp_path)).setup()
    torch.testing.assert_close(by_flag.encode(image), expected)
    assert by_flag.prior_mean == model.latent_space.normalizer.mean.tolist()
    assert by_flag.prior_std == model.latent_space.normalizer.std.tolist()
    assert os.readlink(tmp_path / "autoencoder") == "shared_bundle/autoencoder"
    assert str(kl) not in (tmp_path / "autoencoder" / "config.json").read_text()


def test_half_precision_halves_the_autoencoder_and_leaves_the_model(tmp_path, kl):
    model = bundle_model(kl)
    before = model.latent_space.autoencoder.encoder_hash()
    write(tmp_path / "whole", model)
    write(tmp_path / "half", model, dtype=torch.float16)
    weights = "autoencoder/diffusion_pytorch_model.safetensors"
    sizes = [(tmp_path / run / weights).stat().st_size for run in ("whole", "half")]
    assert sizes[1] < 0.7 * sizes[0] and model.latent_space.autoencoder.encoder_hash() == before
    bundle, image = read_shared_bundle(str(tmp_path / "half")), torch.rand(1, 16, 16, 3)
    stored = bundle.autoencoder_config.setup()
    assert bundle.autoencoder["encoder_hash"] == stored.encoder_hash() != before
    torch.testing.assert_close(stored.encode(image), model.latent_space.autoencoder.encode(image), atol=1e-2, rtol=1e-2)


def test_models_that_make_no_bundle(tmp_path, kl):
    with pytest.raises(ValueError, match="expected a TriplaneModel within the latent model, got a Plain, which has no"):
        write(tmp_path, latent_model_of(kl, nerf=PlainConfig()))
    config = LatentModelConfig(autoencoder=AutoencoderConfig(source=str(kl)))
    fresh = config.setup(scene_box=cube(), num_train_data=1)
    with pytest.raises(ValueError, match=r"expected a latent space that is fitted to pictures, got a fresh one; call"):
        write(tmp_path, fresh)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run(kl, tmp_path_factory):
    """A run with a bundle, which is left as it is."""
    return write(tmp_path_factory.mktemp("run"), bundle_model(kl)).parent


def test_names_of_a_bundle(run, monkeypatch):
    folder = run / "shared_bundle"
    (run / "config.yml").write_text("")
    monkeypatch.setitem(shared_bundle.BUNDLED_BUNDLES, "ships-with-us", folder)
    monkeypatch.chdir(run)
    places = [run, run / "config.yml", folder, folder / "bundle.json", ".", "shared_bundle", "ships-with-us"]
    assert len({read_shared_bundle(str(place)).hash for place in places}) == 1


def test_the_hash_is_that_of_the_contents(tmp_path, kl):
    model = bundle_model(kl)
    write(tmp_path / "a", model)
    write_shared_bundle(tmp_path / "b", model, 8, {"other": [1, 2]})
    first, second = (read_shared_bundle(str(tmp_path / run)) for run in "ab")
    assert first.hash == second.hash
    with torch.no_grad():
        next(model.latent_space.autoencoder.vae.encoder.parameters()).add_(1e-3)
    write(tmp_path / "c", model)
    model.latent_space.normalizer.kind = "tanh"
    write(tmp_path / "d", model)
    assert len({read_shared_bundle(str(tmp_path / run)).hash for run in "bcd"}) == 3


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:20])


def changed(key, value):
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


OTHER_HASH, UNREADABLE = "expected contents with the hash", r"expected readable files, got \w+: .*copy the bundle again"


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("shared.safetensors", flip, OTHER_HASH),
        ("autoencoder/diffusion_pytorch_model.safetensors", flip, OTHER_HASH),
        ("autoencoder/config.json", changed("norm_num_groups", 4), OTHER_HASH),
        ("autoencoder/latent_space.json", changed("downscale_factor", 2), OTHER_HASH),
        ("shared.safetensors", Path.unlink, OTHER_HASH),
        ("shared.safetensors", cut, UNREADABLE),
        ("autoencoder/config.json", cut, UNREADABLE),
    ],
)
def test_damage_is_refused(run, tmp_path, name, damage, message):
    copy = shutil.copytree(run, tmp_path / "run", symlinks=True)
    damage(copy / "shared_bundle" / name)
    with pytest.raises(ValueError, match=f"shared_bundle: {message}"):
        read_shared_bundle(str(copy))


STEPS = {"kl": [(os, "readlink", 1)], "identity": [(os, "replace", 2), (os, "fsync", 4), (shutil, "rmtree", 2)]}
"""What a write calls to replace a bundle, and how often."""


class Crash(BaseException):
    """Not caught by anything: the process is gone."""


def crash_at(monkeypatch, owner, name, count):
    """At the count-th call the process dies: a removal is left half done, and nothing is tidied up."""
    calls = []
    original = getattr(owner, name)

    def call(*args, **kwargs):
        calls.append(name)
        if len(calls) < count:
            return original(*args, **kwargs)
        if name == "rmtree" and Path(args[0]).is_dir():
            (Path(args[0]) / "shared.safetensors").unlink()
        monkeypatch.setattr(shutil, "rmtree", die)
        raise Crash

    def die(*_, **__):
        raise Crash

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("source", "owner", "name", "count"),
    [(s, owner, name, i) for s, steps in STEPS.items() for owner, name, last in steps for i in range(1, last + 1)],
    indirect=["source"],
)
def test_a_crash_leaves_a_whole_bundle(tmp_path, monkeypatch, source, owner, name, count):
    model = bundle_model(source)
    write(tmp_path, model)
    old = read_shared_bundle(str(tmp_path))
    with torch.no_grad():
        model.nerf.field.base_planes.add_(1)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, owner, name, count)
        write(tmp_path, model)
    for place in (tmp_path, tmp_path / "shared_bundle"):
        change = read_shared_bundle(str(place)).tensors["field.base_planes"] - old.tensors["field.base_planes"]
        assert float(change.std()) < 1e-5 and round(float(change.mean()), 4) in (0, 1)
    write(tmp_path, model)
    found = read_shared_bundle(str(tmp_path))
    assert torch.equal(found.tensors["field.base_planes"], model.nerf.field.base_planes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["autoencoder"] * (source != "identity") + ["shared_bundle"]


def test_a_copy_where_there_are_no_links(tmp_path, kl, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    model = bundle_model(kl)
    for _ in range(2):
        with torch.no_grad():
            next(model.latent_space.autoencoder.vae.encoder.parameters()).add_(0.1)
        write(tmp_path, model)
        assert not (tmp_path / "autoencoder").is_symlink()
        copied = AutoencoderConfig(source=str(tmp_path)).setup()
        assert copied.encoder_hash() == model.latent_space.autoencoder.encoder_hash()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["autoencoder", "shared_bundle"]


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


def test_planes_that_no_memory_holds_and_an_mlp_of_other_settings(bundle):
    """Features and sides are each within their limits; memory must not be taken before the product is looked at. An MLP
    of other settings is found where it is built."""
    reseal(bundle, lambda settings: settings["field"].update(hidden_width=32))
    with pytest.raises(ValueError, match="expected base planes and an MLP of its own settings, got others"):
        latent_model_of(shared_bundle=str(bundle))
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
