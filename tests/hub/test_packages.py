"""Publishing: what goes up comes down the same, with a card that says what was measured."""

import dataclasses
import io
import json
import shutil

import pytest
import torch
from huggingface_hub import ModelCard, constants
from old_files import write_old_scene_file
from PIL import Image
from test_hub_files import files_of

from latent_nerfstudio.cli.main import main
from latent_nerfstudio.hub import Notes
from latent_nerfstudio.hub.packages import Package, guess_kind
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.shared_bundle import FORMER, SHIPPED, read_shared_bundle
from latent_nerfstudio.scene_files.scene_file import SceneFile, read_scene_file, write_scene_file

SOURCES = {"bundle": "", "scenes": "scenes", "autoencoder": "shared_bundle/autoencoder"}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_was_pushed_is_pulled_the_same(hub, run, tmp_path, capsys, kind):
    source, folder = run / SOURCES[kind], tmp_path / "pulled"
    assert guess_kind(str(source)) == kind
    main(["push", str(source), "me/thing", "--licence", "apache-2.0", "--data", "Balls, by us."])
    assert "Published: http" in capsys.readouterr().out
    main(["pull", "me/thing", "--output", str(folder)])
    place = {"bundle": "shared_bundle", "scenes": "scenes", "autoencoder": ""}[kind]
    theirs, ours = files_of(folder / place), files_of(source / "shared_bundle" if kind == "bundle" else source)
    assert theirs == ours and set(hub.repositories["me/thing"]) >= {"README.md", "config.json"}
    picture = hub.repositories["me/thing"].get("scenes.webp")
    if kind == "scenes":
        with Image.open(io.BytesIO(picture)) as image:
            assert image.size == (512, 256) and "](scenes.webp)" in hub.repositories["me/thing"]["README.md"].decode()
    else:
        assert picture is None
    (package := tmp_path / "package").mkdir()  # with the config.json of its kind, which is none of an autoencoder
    Package(str(source), kind).write(package, "me/thing")
    hashes = [AutoencoderConfig(source=str(place)).setup().encoder_hash() for place in (package, run)]
    assert hashes[0] == hashes[1]
    main(["info", str(package)])
    if kind != "autoencoder":  # scenes brought the bundle that lies beside them
        assert read_shared_bundle(str(folder)).hash == read_shared_bundle(str(run)).hash
    card = ModelCard(hub.repositories["me/thing"]["README.md"].decode())
    assert (card.data.license, kind in card.data.tags) == ("apache-2.0", True)
    assert "Balls, by us." in card.text and "me/thing" in card.text and "OWNER" not in card.text


def test_a_second_push_takes_away_what_is_no_more(hub, run):
    """And nothing that is not of this kind, such as the rest of a pipeline."""
    others = {"picture.png", "unet/diffusion_pytorch_model.safetensors", "unet/config.json", "x.safetensors", "x.json"}
    gone = {"scenes/gone.safetensors", "scenes/[x].safetensors"}
    hub.repositories["me/balls"] = {**dict.fromkeys(others | gone, b"x"), "config.json": b"{}"}
    assert "commit" in Package(str(run / "scenes"), "scenes").push_to_hub("me/balls")
    names = set(hub.repositories["me/balls"])
    assert not gone & names and others | {"scenes/red.safetensors", "config.json"} <= names


def test_scenes_of_a_bundle_with_its_former_scene_encoders_go_together(tmp_path):
    named = SHIPPED[FORMER]
    for index, bundle in enumerate(named):
        scene = SceneFile(f"{index}", bundle, torch.ones(3, 10, 32, 32), None, {})
        write_scene_file(tmp_path / f"{index}.safetensors", scene)
    assert Package(str(tmp_path), "scenes", "bundled").place == FORMER
    facts = Package(str(tmp_path), "scenes").facts
    assert facts["scenes"] == len(named) and set(facts["shared bundle"].split(", ")) == set(named)
    write_scene_file(tmp_path / "x.safetensors", SceneFile("x", "ab12", torch.ones(3, 1, 2, 2), None, {}))
    with pytest.raises(ValueError, match=f"expected scenes of one bundle, got of {len(named) + 1}; publish"):
        Package(str(tmp_path), "scenes")


@pytest.mark.parametrize(
    "name", ["shared_bundle/autoencoder/latent_space.json", "scenes/red.safetensors", "shared_bundle"]
)
def test_links_that_lead_out_are_refused_and_those_of_the_clients_cache_are_not(run, tmp_path, monkeypatch, name):
    copy, secret = shutil.copytree(run, tmp_path / "copy"), tmp_path / "secret"
    (copy / name).rename(secret)
    (copy / name).symlink_to(secret)
    kind = "scenes" if "red" in name else "bundle"
    with pytest.raises(ValueError, match=r"expected a file within .*, got a link to .*secret"):
        Package(str(copy), kind).write(tmp_path / "out", "me/x")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    Package(str(copy), kind).write(tmp_path / "cached", "me/x")


def test_pull_replaces_its_own_kind_alone(hub, run, tmp_path):
    Package(str(run), "bundle").push_to_hub("me/x")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    with pytest.raises(SystemExit):
        main(["pull", "me/x", "--output", str(tmp_path / "thesis"), "--overwrite"])
    assert (tmp_path / "thesis" / "thesis.tex").exists()
    for _ in range(2):
        main(["pull", "me/x", "--output", str(tmp_path / "out"), "--overwrite"])


def test_the_card_says_what_was_measured_and_noted_without_marks_of_strangers(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    (run / "training.json").write_text(json.dumps({"method": "ig-ae", "steps": 7, "seconds": 12.5, "device": "cpu"}))
    (run / "eval.json").write_text(json.dumps({"results": {"psnr": 25.125, "ssim": 0.5, "psnr_std": 9.0}}))
    notes = Notes(title="Balls", description="Two balls.", data="Drawn by us.", licence="mit")
    package = Package(str(run), "bundle", notes=notes)
    package.facts["<img src=x> | **a**\n# b"] = "[x](http://y)\x1b"
    package.write(tmp_path / "bundle", "OWNER/NAME")
    Package(str(run / "scenes"), "scenes").write(tmp_path / "scenes", "OWNER/NAME")
    text = (tmp_path / "bundle" / "README.md").read_text()
    for expected in ("# Balls", "Two balls.", "Drawn by us.", "license: mit", "| psnr | 25.125 |", "| steps | 7 |"):
        assert expected in text
    (run / "nerfstudio_models").mkdir()
    (run / "nerfstudio_models" / "step-000000007.ckpt").touch()
    (run / "eval.json").write_text(json.dumps({"checkpoint": "step-000000005.ckpt", "results": {"psnr": 25.125}}))
    Package(str(run), "bundle").write(tmp_path / "later", "OWNER/NAME")
    assert "25.125" not in (tmp_path / "later" / "README.md").read_text()
    assert not any(mark in text for mark in ("<img", "\x1b", "[x](", "\n# b"))
    assert "| method | ig-ae |" in text and "| family | balls |" in text and read_shared_bundle(str(run)).hash in text
    scenes = (tmp_path / "scenes" / "README.md").read_text()
    what, training, measured = (scenes.split(f"## {title}")[1] for title in ("What it is", "Training", "Measured"))
    assert "dB: mean (range) | 20.50 (20.00 to 21.00) |" in measured and "| scenes | 2 |" in what.split("##")[0]
    assert 'latent_nerfstudio.load("OWNER/NAME")' in scenes and 'latent_nerfstudio.load_bundle("OWNER/NAME")' in text
    assert "steps of a scene: mean (range) | 30.00 (30.00 to 30.00) |" in training.split("##")[0]
    assert "license" not in scenes.split("---")[1] and "Not stated." in scenes


def test_nothing_else_of_a_folder_is_published(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    (run / "shared_bundle" / "secret.txt").write_text("x")
    (run / "scenes" / "notes.md").write_text("x")
    Package(str(run / "scenes"), "scenes").write(tmp_path / "out", "OWNER/NAME")
    assert {path.name for path in (tmp_path / "out").rglob("*.safetensors")} == {
        *("shared.safetensors", "diffusion_pytorch_model.safetensors", "red.safetensors", "[blue].safetensors")
    }
    others = {path.name for path in (tmp_path / "out").rglob("*.*") if path.suffix != ".safetensors"}
    assert others == {"README.md", "config.json", "bundle.json", "latent_space.json"}


def test_what_is_published_does_not_name_the_host(run, tmp_path):
    """Nor is anything else of it changed."""
    for path in (run / "scenes").glob("*.safetensors"):
        scene = read_scene_file(path)
        facts = {**scene.facts, "worker": "host-7:99"}
        write_old_scene_file(tmp_path / "old" / path.name, dataclasses.replace(scene, facts=facts))
    Package(str(tmp_path / "old"), "scenes", str(run)).write(tmp_path / "published", "OWNER/NAME")
    assert files_of(tmp_path / "published" / "scenes") == files_of(run / "scenes")


def test_a_bundle_by_name_or_hub_id_is_named_and_not_copied(hub, run, tmp_path):
    hub.repositories["owner/bundle"] = files_of(run / "shared_bundle", "shared_bundle/")
    Package(str(run / "scenes"), "scenes", "owner/bundle").write(tmp_path, "OWNER/NAME")
    assert not (tmp_path / "shared_bundle").exists()
    assert json.loads((tmp_path / "config.json").read_text())["bundle"] == "owner/bundle"
    card = ModelCard((tmp_path / "README.md").read_text())
    assert card.data.base_model == "owner/bundle" and "--bundle owner/bundle" in card.text


def test_the_bundled_one_can_be_published(tmp_path, capsys):
    main(["push", "bundled", "me/cars", "--kind", "autoencoder", "--output", str(tmp_path / "out")])
    assert "Wrote what would be published" in capsys.readouterr().out
    bundled, ours = (AutoencoderConfig(source=source).setup() for source in ("bundled", str(tmp_path / "out")))
    assert bundled.fingerprint() == ours.fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["push", "RUN", "me/x", "--output", "RUN"], "expected nothing there, got something"),
        (["push", "RUN/scenes", "me/x", "--bundle", "bundled"], "expected a scene of the shared bundle"),
        (["pull", "me/x", "--output", "RUN"], "expected nothing there, got a folder; pass --overwrite"),
        (["pull", "me/x", "--output", "OUT"], "expected a folder, or a Hub id that is cached or within reach"),
    ],
)
def test_bad_calls_are_told_in_a_line(run, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit, match="1"):
        main([a.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")) for a in arguments])
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
