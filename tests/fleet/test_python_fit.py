"""`lns.fit`: from scenes on disk to scenes that are open."""

import json
import shutil
from inspect import unwrap

import pytest
import torch
from safetensors.torch import load_file, save_file
from scene_folders import edited
from tiny import write_bundle_with_encoder

import latent_nerfstudio as lns
from latent_nerfstudio.fleet.request import FitRequest
from latent_nerfstudio.models import shared_bundle
from latent_nerfstudio.models.bundle_folder import ENCODER_FILE, hash_folder
from latent_nerfstudio.models.shared_bundle import FORMER
from latent_nerfstudio.scene_files.sources import read_scenes_from

FEW = {"steps": 4, "rays_per_scene": 64, "eval_interval": 10, "latent_cache": "memory"}


def test_scenes_are_fitted_and_open_with_and_without_a_folder(bundle, balls, tmp_path):
    kept = lns.fit(balls, tmp_path / "out", bundle, ["c"], **FEW)
    assert kept.names == ["c"] and kept.facts["c"]["steps"] == 4 and kept.facts["c"]["psnr"] > 0
    free = lns.fit(balls, bundle=bundle, scenes="c", **FEW)
    assert free.source == str(balls) and torch.equal(free.planes("c"), kept.planes("c"))
    assert free.save(tmp_path / "saved").is_dir() and lns.load(tmp_path / "saved", bundle).names == ["c"]


def test_what_fails_is_named_and_the_others_are_kept(bundle, balls, tmp_path):
    shutil.copytree(balls, tmp_path / "scenes")
    (tmp_path / "scenes" / "b" / "transforms.json").write_text("{")
    with pytest.raises(ValueError, match=r"fit: expected 3 scenes .*, got b: .*transforms\.json.*; mend"):
        lns.fit(tmp_path / "scenes", tmp_path / "out", bundle, **FEW)
    assert lns.load(tmp_path / "out" / "scenes", bundle).names == ["a", "c"]
    no_encoder = "expected a scene encoder, as --steps is 0, got none"
    for wrong, message in (({"steps": -1}, "steps: expected at"), ({"steps": 0}, no_encoder)):
        with pytest.raises(ValueError, match=message):
            lns.fit(balls, tmp_path / "none", bundle, **{**FEW, **wrong})
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="output: expected another folder than that of the photos"):
        lns.fit(balls, balls / ".." / balls.name, bundle, **FEW)


def test_pictures_are_no_folder():
    with pytest.raises(ValueError, match=r"data: expected a folder of scenes, got a list; name one; lns\.save_scene"):
        unwrap(lns.fit)([torch.rand(8, 9, 3)])  # the types of arguments are checked in tests alone


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("steps", 1.5, "a whole number, at least 0, got 1.5; "),
        ("seed", "1", "a whole number, 0 to 4294967295, got '1'; "),
        ("precision", "int4", "one of float16, float32, int8, got 'int4'; "),
        ("device", "gpu", "one of cpu, cuda, got 'gpu'; "),
    ],
)
def test_what_python_can_ask_for_and_flags_cannot(tmp_path, name, value, expected):
    request = FitRequest(tmp_path, tmp_path / "out")
    setattr(request, name, value)  # the types of arguments are checked in tests alone
    with pytest.raises(ValueError, match=f"{name}: expected {expected}"):
        request.check()


def test_an_output_that_was_begun_with_what_bundled_was_goes_on_with_it(balls, tmp_path):
    lns.fit(balls, tmp_path, FORMER, ["a"], **FEW)
    before, settings = (tmp_path / "scenes/a.safetensors").stat().st_mtime_ns, (tmp_path / "settings.json").read_bytes()
    assert lns.fit(balls, tmp_path, **FEW).names == ["a", "b", "c"]
    assert (tmp_path / "scenes/a.safetensors").stat().st_mtime_ns == before
    assert (tmp_path / "settings.json").read_bytes() == settings
    hashes = {scene.bundle_hash for scene in read_scenes_from([tmp_path / "scenes"])}
    assert hashes == {shared_bundle.read_shared_bundle(FORMER).hash}
    for asked in ("bundled", shared_bundle.BUNDLED_BUNDLES["bundled"]):
        with pytest.raises(ValueError, match="what .*bundled was: expected a scene encoder.* give another --output"):
            lns.fit(balls, tmp_path, asked, steps=0)


def test_a_damaged_scene_encoder_is_named_once_before_any_scene(bundle, balls, tmp_path):
    """Of a stranger, whose hash is right."""
    write_bundle_with_encoder(tmp_path)
    folder = tmp_path / "run/shared_bundle"
    tensors = load_file(folder / ENCODER_FILE)
    tensors["out.0.bias"][0] = torch.nan
    save_file(tensors, folder / ENCODER_FILE)
    with edited(folder / "bundle.json") as settings:
        settings["hash"] = hash_folder(folder, settings)
    with pytest.raises(ValueError, match=r"scene_encoder.safetensors, out\.0\.bias: expected finite"):
        lns.fit(balls, tmp_path / "out", tmp_path / "run", **FEW)
    assert not (tmp_path / "out").exists()


def test_an_output_of_a_former_recipe_goes_on_with_a_word(bundle, balls, tmp_path, capsys):
    lns.fit(balls, tmp_path, bundle, ["a"], **FEW)
    with edited(tmp_path / "settings.json") as settings:
        del settings["recipe"]
    before = (tmp_path / "scenes/a.safetensors").stat().st_mtime_ns
    assert "rates" not in capsys.readouterr().err
    lns.fit(balls, tmp_path, bundle, **FEW)
    assert "other learning rates: finished scenes stay, and the 2 left" in capsys.readouterr().err
    assert (tmp_path / "scenes/a.safetensors").stat().st_mtime_ns == before


def test_an_output_goes_on_after_an_update_that_brings_another_scene_encoder(balls, tmp_path, monkeypatch, capsys):
    """Of a bundle that is part of the package: finished scenes stay, the others start from the present encoder. Of
    anybody else's, whose former bundle is still there, the output is refused."""
    write_bundle_with_encoder(tmp_path)
    output, former, present = tmp_path / "out", tmp_path / "plain", tmp_path / "run"
    lns.fit(balls, output, former, ["a"], **FEW)
    path = output / "scenes" / "a.safetensors"
    before = path.stat().st_mtime_ns
    hashes = tuple(shared_bundle.read_shared_bundle(str(bundle)).hash for bundle in (former, present))
    do = r"may change with an update\), or another --output"
    with pytest.raises(ValueError, match=f"expected bundle {hashes[0]}, got bundle {hashes[1]}; .* {do}"):
        lns.fit(balls, output, present, **FEW)

    monkeypatch.setattr(shared_bundle, "SHIPPED", {shared_bundle.FORMER: hashes})
    capsys.readouterr()
    assert lns.fit(balls, output, present, **FEW).names == ["a", "b", "c"]
    told = capsys.readouterr().err
    assert path.stat().st_mtime_ns == before
    parts = (hashes[0][:12], hashes[1][:12], "finished scenes stay, and the 2 left", "--output")
    assert all(part in told for part in parts)
    assert {scene.bundle_hash for scene in read_scenes_from([output / "scenes"])} == {hashes[0]}
    lns.fit(balls, output, present, **FEW)
    assert "finished scenes stay" not in capsys.readouterr().err
    lns.fit(balls, tmp_path / "new", present, ["a"], **FEW)
    assert json.loads((tmp_path / "new" / "settings.json").read_text())["bundle"] == hashes[1]
