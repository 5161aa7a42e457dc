"""`lns info` and `lns cache`."""

import os
import time

import pytest
from official import error_of

from latent_nerfstudio.api.loading import evaluated
from latent_nerfstudio.cli import info
from latent_nerfstudio.cli.info import with_name
from latent_nerfstudio.cli.main import main
from latent_nerfstudio.engine.runs import open_run
from latent_nerfstudio.engine.summary import read_results
from latent_nerfstudio.models.shared_bundle import SHIPPED


def said(capsys, *arguments):
    main(list(arguments))
    return capsys.readouterr().out


def test_what_is_said_of_autoencoders_bundles_and_runs(kl, capsys, latent_run):
    assert "downscale_factor=4, num_channels=4" in said(capsys, "info", str(kl))
    text = said(capsys, "info", "bundled-cars")
    assert "learned from:   128 scenes" in text and "b74ee3909261" in text
    text = said(capsys, "info", str(latent_run.parent))
    assert f"bytes a scene:  {open_run(latent_run).training['bytes_per_scene']}\n" in text
    assert all(line[14:16].isspace() for line in text.splitlines()) and "None" not in text


@pytest.mark.parametrize("what", ["a pipe", "a device", "a broken scene", "an empty folder"])
def test_what_is_nothing_is_told_in_a_line(tmp_path, capsys, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "d/x.safetensors"
    place.parent.mkdir()
    if what == "a pipe":
        os.mkfifo(place)
    if what == "a device":
        place.symlink_to("/dev/zero")
    if what == "a broken scene":
        place.write_bytes(b"\x1b]0;no scene\x07")
    for source in ("d", "d/x.safetensors") if place.exists() else ("d",):
        said = error_of(capsys, "info", source)
        assert ": expected " in said and "\x1b" not in said
        assert what != "a broken scene" or "x.safetensors" in said


@pytest.mark.parametrize(
    ("what", "got"),
    [
        ("scene", "photos with cameras; fit scenes first"),
        ("scene/transforms.json", "photos with cameras; fit scenes first"),
        ("scene/mesh.glb", "something else"),
        ("zips", "a folder of archives; name one of them"),
        ("bundeld", "nothing there; did you mean bundled?"),
        ("identiy", "nothing there; did you mean identity?"),
    ],
)
def test_what_is_none_of_these_is_told_so(tmp_path, capsys, monkeypatch, what, got):
    monkeypatch.chdir(tmp_path)
    for name in ("scene/transforms.json", "scene/mesh.glb", "zips/cars.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    said = error_of(capsys, "info", what)
    assert f"{what}: expected a run, scenes, a bundle" in said and f"got {got}" in said


def test_names_and_facts_as_they_are_shown(monkeypatch, capsys):
    monkeypatch.setattr(info, "lines_of", lambda source: [("facts", {"by": "\x1b[2J" + "x" * 10**6})])
    text = said(capsys, "info", "any")
    assert "\x1b" not in text and len(text) < 3000
    for name, hashes in SHIPPED.items():
        assert [with_name(value) for value in hashes] == [f"{value} ({name})" for value in hashes]
    assert with_name("ab12") == "ab12"


def test_the_cache_loses_what_is_old_and_nothing_else(tmp_path, capsys):
    name = "{0}/{1}/{1}" + "5" * 38 + ".latents-v1.safetensors"
    parts = ("a" * 16, "0a"), ("a" * 16, "0b"), ("b" * 16, "0c")
    old, new, linked = (tmp_path / name.format(*part) for part in parts)
    others = [tmp_path / "photos/0a/holiday.png", tmp_path / "objects/0a" / ("5" * 38), tmp_path / ("c" * 16) / "0a/x"]
    away = tmp_path / "elsewhere" / linked.name
    for path in (old, new, *others, away):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    linked.parent.parent.mkdir()
    linked.parent.symlink_to(away.parent)
    os.utime(old, (time.time() - 86400 * 40,) * 2)
    assert "2 files, 8 bytes" in said(capsys, "cache", "--location", str(tmp_path))
    assert "Removed 1 files, 4 bytes" in said(capsys, "cache", "--location", str(tmp_path), "--prune", "30")
    assert not old.exists() and new.exists()
    assert "Removed 1 files, 4 bytes" in said(capsys, "cache", "--location", str(tmp_path), "--prune", "0")
    assert not new.exists() and away.exists() and all(path.exists() for path in others)
    for arguments in (["--location", str(tmp_path / "mistyped")], ["--prune", "-1"]):
        assert ": expected " in error_of(capsys, "cache", *arguments)


def test_facts_hold_what_ns_eval_wrote(tmp_path):
    path = tmp_path / "eval.json"
    assert evaluated(path, ["a"], tmp_path) == {}
    path.write_text('{"results": {"psnr": 30.5, "a/psnr": 31.0, "a/ssim": 0.9, "c/psnr": 1, "b/lpips": 0.1}}')
    assert evaluated(path, ["a", "b"], tmp_path) == {"a": {"psnr": 31.0, "ssim": 0.9}, "b": {"lpips": 0.1}}
    path.write_text('{"results": {"psnr": 30.5, "psnr_std": NaN, "ssim": Infinity, "num_rays_per_sec": 2.0}}')
    assert evaluated(path, ["alone"], tmp_path) == {"alone": {"psnr": 30.5}}


def test_an_evaluation_of_an_older_checkpoint_is_left_out_and_said(tmp_path):
    path = tmp_path / "eval.json"
    path.write_text('{"checkpoint": "/moved/step-000000007.ckpt", "results": {"psnr": 30.5}}')
    (tmp_path / "step-000000007.ckpt").touch()
    assert evaluated(path, ["alone"], tmp_path) == {"alone": {"psnr": 30.5}} and read_results(path, tmp_path)
    (tmp_path / "step-000000010.ckpt").touch()
    with pytest.warns(UserWarning, match="eval.json: left out, since the run has gone on"):
        assert evaluated(path, ["alone"], tmp_path) == {}
    with pytest.raises(ValueError, match="expected the newest step of .*, got step-000000007.ckpt; run ns-eval"):
        read_results(path, tmp_path)
