"""A bundle of one's own kind: which scenes it is learned from, that it is learned once, and what is measured."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from inventories import write_bundle
from PIL import Image
from tiny import SMALL_ENCODER

from latent_nerfstudio.cli.learn import LearnBundle
from latent_nerfstudio.files.replacing import sole_writer, write_text
from latent_nerfstudio.fleet import learn_bundle
from latent_nerfstudio.fleet.learn_bundle import split_scenes
from latent_nerfstudio.fleet.status import StatusTable
from latent_nerfstudio.method_configs.igae import ig_ae
from latent_nerfstudio.method_configs.triplane import latent_triplane
from latent_nerfstudio.models.bundle_encoder import read_scene_encoder
from latent_nerfstudio.models.shared_bundle import FORMER, SHIPPED, read_shared_bundle
from latent_nerfstudio.scene_encoder.network import SceneEncoderConfig


def test_scenes_are_held_out_evenly_and_some_are_left_to_learn_from():
    names = [f"s{index}" for index in range(9)]
    assert split_scenes(names, 1) == (tuple(n for n in names if n != "s4"), ("s4",))
    train, held_out = split_scenes(names, 3)
    assert held_out == ("s2", "s4", "s6") and sorted((*train, *held_out)) == names
    for hold_out in (0, 2):
        with pytest.raises(ValueError, match=f"hold_out: expected 1 to 1 of 3 scenes, got {hold_out}"):
            split_scenes(["a", "b", "c"], hold_out)


def test_a_bundle_is_learned_once_and_measured_on_a_scene_it_has_not_seen(balls, kl, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(learn_bundle, "MEASURED_STEPS", 20)
    general = write_bundle(tmp_path / "general", kl)
    monkeypatch.setattr(learn_bundle, "SceneEncoderConfig", partial(SceneEncoderConfig, **SMALL_ENCODER))
    flags = {"bundle": str(general), "hold_out": 1, "decoder_steps": 20, "latent_cache": str(tmp_path / "cache")}
    flags["encoder_steps"] = 2
    LearnBundle(balls, tmp_path / "out", steps=20, **flags).main()
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert list(report["general"]) == list(report["own"]) == ["b"]
    assert "| b |" in capsys.readouterr().out
    bundle, before = read_shared_bundle(str(tmp_path / "out")), read_shared_bundle(str(general))
    assert bundle.num_scenes == 2 and bundle.decoder and read_scene_encoder(bundle) is not None
    assert bundle.facts["scene_encoder"]["scenes"] == 2 and not before.scene_encoder
    assert bundle.autoencoder["encoder_hash"] != before.autoencoder["encoder_hash"]
    joint = read_shared_bundle(str(tmp_path / "out/runs/joint/ig-ae/latest"))
    assert torch.equal(bundle.tensors["field.base_planes"], joint.tensors["field.base_planes"])

    written = (tmp_path / "out/runs/decoder/latent-triplane/latest/training.json").stat().st_mtime_ns
    LearnBundle(balls, tmp_path / "out", steps=20, **flags).main()
    assert (tmp_path / "out/runs/decoder/latent-triplane/latest/training.json").stat().st_mtime_ns == written
    assert read_shared_bundle(str(tmp_path / "out")).hash == bundle.hash
    for more, words in (
        ({"steps": 21}, "expected steps 20, got steps 21"),
        ({"steps": 3}, "steps: expected at least 20, got 3"),
        ({"encoder_steps": 0}, "expected encoder_steps 2, got encoder_steps None"),
    ):
        with pytest.raises(ValueError, match=words):
            LearnBundle(balls, tmp_path / "out", **{"steps": 20, **flags, **more}).main()


def test_both_bundles_are_measured_with_photos_enlarged_as_often(balls, kl, tmp_path, monkeypatch):
    """Also where the general one was measured before photos were enlarged at all."""
    request = LearnBundle(balls, tmp_path / "out", bundle=str(write_bundle(tmp_path / "general", kl)), hold_out=1)
    job, times = learn_bundle.job_of(request, ig_ae.config, latent_triplane.config), []

    def fitted(inventory, names):
        times.append(inventory.enlarge)
        yield StatusTable(tmp_path / "status.json", names)

    monkeypatch.setattr(learn_bundle, "fit_inventory", fitted)
    for name in ("general", "own"):
        learn_bundle.measure(job, job.general.folder, name)
    write_text(tmp_path / "out/held_out/general/settings.json", "{}")
    learn_bundle.measure(job, job.general.folder, "own")
    assert times == [2, 2, 1]


@pytest.fixture
def begun(balls, kl, tmp_path, monkeypatch):
    """A call whose training does not begin, and a copy of its data."""
    data = shutil.copytree(balls, tmp_path / "data")
    monkeypatch.setattr(learn_bundle, "train", refuse_to_train)
    return LearnBundle(data, tmp_path / "out", bundle=str(write_bundle(tmp_path / "general", kl)), hold_out=1), data


def refuse_to_train(config):
    raise RuntimeError("it trains")


@pytest.mark.parametrize("change", ["picture", "camera"])
def test_it_does_not_go_on_with_other_data(begun, change):
    command, data = begun
    with pytest.raises(RuntimeError, match="it trains"):
        command.main()
    if change == "picture":
        path = next(data.glob("a/**/*.png"))
        Image.new("RGBA", Image.open(path).size).save(path)
    else:
        path = data / "c/transforms.json"
        path.write_text(re.sub(r'"fl_x": ([\d.]+)', r'"fl_x": 1\1', path.read_text(), count=1))
    with pytest.raises(ValueError, match=r"settings\.json: expected sources \w{16}, got sources \w{16}"):
        command.main()


def test_what_no_scene_encoder_can_learn_from_is_refused_before_training(begun):
    command, data = begun
    path = data / "a/transforms.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "camera_model": "OPENCV_FISHEYE"}))
    command.encoder_steps = 2
    with pytest.raises(ValueError, match="scene 'a': expected perspective cameras .*, got FISHEYE; undistort"):
        command.main()


def test_it_goes_on_with_what_bundled_was(begun):
    command, _ = begun
    command.bundle = "bundled"
    for named in (SHIPPED[FORMER][0], SHIPPED["bundled"][-1]):
        write_text(command.output / "settings.json", json.dumps({"bundle": named}))
        assert named in SHIPPED[learn_bundle.job_of(command, ig_ae.config, latent_triplane.config).general.source]


def test_one_call_at_a_time(begun):
    command, _ = begun
    with ThreadPoolExecutor(1) as pool, sole_writer(command.output):
        refused = pool.submit(command.main).exception()
    assert isinstance(refused, BlockingIOError) and "to be the only one" in str(refused)
