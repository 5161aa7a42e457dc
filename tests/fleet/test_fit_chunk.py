"""One chunk: what is written, what is left alone, and that no scene stops another."""

import dataclasses
import os
import re
import shutil

import numpy as np
import pytest
import torch
from inventories import inventory_of, write_bundle
from nerfstudio.utils import profiler, writer
from PIL import Image
from scene_folders import edited
from tiny import SMALL_ENCODER, living_tensors, spoil_latents, write_ball

import latent_nerfstudio as lns
from latent_nerfstudio.engine.trainer import seed_everything
from latent_nerfstudio.fleet import fit_chunk as module
from latent_nerfstudio.fleet.fit_chunk import chunk_config, fit_chunk
from latent_nerfstudio.fleet.settings import ChunkJob
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.models.bundle_encoder import new_scene_encoder, write_scene_encoder
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_encoder.network import SceneEncoderConfig
from latent_nerfstudio.scene_files.scene_file import read_scene_file


def states(rows):
    return {row.name: row.state for row in rows}


def fitted(inventory, **expected):
    """Rows of a chunk by the names of its scenes, which end as expected."""
    rows = fit_chunk(ChunkJob(inventory, tuple(expected)))
    assert states(rows) == expected
    return {row.name: row for row in rows}


def psnr_of(pipeline, model):
    """The mean over the held-out photos of a pipeline, rendered by a model, which makes pictures of their size."""
    cameras, psnr = pipeline.datamanager.eval_dataset.cameras, []
    for view, picture in enumerate(pipeline.datamanager.cached_eval):
        render = model.get_outputs_for_camera(cameras[view : view + 1])
        assert render["rgb"].shape == render["depth"][..., :1].expand(-1, -1, 3).shape == (32, 32, 3)
        psnr.append(float(-10 * (render["rgb"] - as_float(picture["image"])).square().mean().log10()))
    return sum(psnr) / len(psnr)


@pytest.fixture
def scenes(balls, tmp_path):
    """A copy of the balls that may be damaged."""
    shutil.copytree(balls, tmp_path / "scenes")
    return tmp_path / "scenes"


@pytest.fixture
def inventory(scenes, tmp_path, bundle):
    return inventory_of(scenes, tmp_path / "out", bundle)


def test_a_chunk_is_fitted_and_its_files_say_how_and_not_on_which_machine(inventory, bundle, monkeypatch):
    """Files go to strangers; the rows of the table do not."""
    monkeypatch.setattr(module.socket, "gethostname", lambda: "my-own-machine")
    shares = []
    rows = fit_chunk(ChunkJob(inventory, ("a", "b", "c")), shares.append)
    assert states(rows) == dict.fromkeys("abc", "done")
    assert shares == [0.25, 0.5, 0.75, 1.0]
    read = read_shared_bundle(str(bundle))
    for row in rows:
        path = inventory.scene_path(row.name)
        scene = read_scene_file(path, read)
        assert row.bytes == path.stat().st_size and row.steps == 4
        assert (scene.facts["psnr"], scene.facts["views"]) == (row.psnr, 5)
        cameras = {"height": 32, "width": 32, "fx": 32.0, "fy": 32.0, "radius": pytest.approx(2.5, abs=1e-3)}
        assert scene.facts["cameras"] == cameras
        assert scene.facts["settings"] == inventory.fingerprint()
        facts = ("cameras", "psnr", "seconds", "settings", "source", "ssim", "steps", "version", "views")
        assert tuple(sorted(scene.facts)) == facts and b"my-own-machine" not in path.read_bytes()
        assert row.worker == f"my-own-machine:{os.getpid()}"
    assert sorted(path.name for path in inventory.output.iterdir()) == ["logs", "scenes"]
    (log,) = (inventory.output / "logs").iterdir()
    assert "latent supervision" in log.read_text()


def test_a_scene_in_other_units_is_the_same(inventory, bundle, tmp_path):
    """Three times as large and elsewhere: the same PSNR, depths three times as large."""
    shift = np.array([5.0, -2.0, 1.0])
    folder = shutil.copytree(inventory.data / "a", inventory.data / "far")
    with edited(folder / "transforms.json") as meta:
        meta["aabb"] = (3 * np.array(meta["aabb"]) + shift).tolist()
        for frame in meta["frames"]:
            pose = np.array(frame["transform_matrix"])
            pose[:3, 3] = 3 * pose[:3, 3] + shift
            frame["transform_matrix"] = pose.tolist()
    exact = inventory_of(inventory.data, tmp_path / "exact", bundle, precision="float32")
    near, far = (fit_chunk(ChunkJob(exact, (name,)))[0] for name in ("a", "far"))
    assert far.psnr == pytest.approx(near.psnr, abs=0.05)
    scenes = lns.load(exact.output / "scenes", bundle=bundle)
    facts = scenes.facts["far"]["cameras"]["radius"], scenes.facts["a"]["cameras"]["radius"]
    assert facts[0] == pytest.approx(3 * facts[1], rel=1e-3)
    assert torch.allclose(scenes.box_of("far"), 3 * scenes.box_of("a") + torch.tensor(shift).float(), atol=1e-4)
    here, there = (scenes.render(name, scenes.orbit(name, 2)) for name in ("a", "far"))
    torch.testing.assert_close(there.rgb, here.rgb, atol=0.05, rtol=0)
    torch.testing.assert_close(there.depth, 3 * here.depth, atol=0.1, rtol=0.02)


def test_of_few_photos_none_is_held_out_unless_asked_for(tmp_path, bundle):
    for views in (1, 3):
        write_ball(tmp_path / "data" / str(views), views=views)
    asked = inventory_of(tmp_path / "data", tmp_path / "asked", bundle)
    usual = inventory_of(tmp_path / "data", tmp_path / "usual", bundle, eval_interval=None)
    assert fitted(usual, **{"1": "done", "3": "done"})["3"].psnr is None
    assert [read_scene_file(usual.scene_path(name)).facts["views"] for name in "13"] == [1, 3]
    (held_out,) = fit_chunk(ChunkJob(asked, ("3",)))
    assert held_out.psnr > 0 and read_scene_file(asked.scene_path("3")).facts["views"] == 2


def test_what_is_doubtful_is_told_and_stays_in_the_file(inventory):
    """A box that leaves out the object, and a camera far from the others: a later call says so as well."""
    with edited(inventory.data / "a" / "transforms.json") as meta:
        meta["aabb"] = [[-0.7, -0.7, -0.1], [0.7, 0.7, 0.1]]
    with edited(inventory.data / "b" / "transforms.json") as meta:
        meta["frames"][3]["transform_matrix"][0][3] = 9e8
    for _ in range(2):
        rows = fitted(inventory, a="done", b="done", c="done")
        assert "leaves out" in rows["a"].reason and not rows["c"].reason
        assert re.search(r"got '0003\.png' 9e\+08 from it; correct its pose, or leave it out", rows["b"].reason)


def test_a_scene_that_shows_nothing_is_told_and_not_measured(inventory):
    """Its render is right wherever it is empty, and would raise the mean of the others."""
    for path in (inventory.data / "b" / "images").iterdir():
        Image.new("RGB", (32, 32), "white").save(path)
    for _ in range(2):
        rows = fitted(inventory, a="done", b="done")
        assert rows["a"].psnr > 0 and (rows["b"].psnr, rows["b"].ssim) == (None, None)
        assert "held-out photos are of one colour each" in rows["b"].reason and not rows["a"].reason
    usual = inventory_of(inventory.data, inventory.output / "few", inventory.bundle, eval_interval=None)
    (row,) = fit_chunk(ChunkJob(usual, ("b",)))  # none is held out of six
    assert row.psnr is None and "its photos are of one colour each" in row.reason


def test_finished_scenes_are_left_alone_and_damaged_files_fitted_again(inventory):
    job = ChunkJob(inventory, ("a", "b"))
    first = fit_chunk(job)
    contents = {row.name: inventory.scene_path(row.name).read_bytes() for row in first}
    times = {name: inventory.scene_path(name).stat().st_mtime_ns for name in "ab"}
    damaged = bytearray(contents["b"])
    damaged[-1] ^= 1
    inventory.scene_path("b").write_bytes(damaged)
    again = fit_chunk(job)
    assert states(again) == {"a": "done", "b": "done"}
    assert inventory.scene_path("a").stat().st_mtime_ns == times["a"]
    assert read_scene_file(inventory.scene_path("b")).name == "b"
    unnamed = [dataclasses.replace(row, worker="") for row in again]
    assert sorted(fit_chunk(job), key=lambda row: row.name) == sorted(unnamed, key=lambda row: row.name)
    planes = read_scene_file(inventory.scene_path("b")).micro_planes
    inventory.scene_path("b").unlink()
    torch.rand(5)
    fit_chunk(job)  # to the bit, whatever was before
    assert torch.equal(read_scene_file(inventory.scene_path("b")).micro_planes, planes)


def test_pictures_cameras_and_names_that_cannot_be_used_fail_their_scene_alone(inventory):
    for name in "def":
        shutil.copytree(inventory.data / "c", inventory.data / name)
    cut, garbled = (inventory.data / name for name in ("a/images/0000.png", "b/images/0003.png"))
    cut.write_bytes(cut.read_bytes()[:-60])
    contents = bytearray(garbled.read_bytes())
    contents[len(contents) // 2 : len(contents) // 2 + 20] = bytes(20)
    garbled.write_bytes(contents)
    with edited(inventory.data / "d" / "transforms.json") as meta:
        meta["aabb"] = [[-9.0] * 3, [9.0] * 3]
    (inventory.data / "e" / "transforms.json").write_text("{")
    (inventory.data / "f").rename(inventory.data / "f\n")
    rows = fitted(inventory, **dict.fromkeys(("a", "b", "d", "e", "f\n"), "failed"), c="done")
    assert "a/images/0000.png: expected a readable image, got 'image file is truncated'" in rows["a"].reason
    assert "b/images/0003.png: expected a readable image, got " in rows["b"].reason
    assert re.match(r"scene 'd': expected cameras outside of its box .*, got 6 of 6 within; .*aabb", rows["d"].reason)
    assert "e/transforms.json: expected JSON, got " in rows["e"].reason
    assert "scene name: expected " in rows["f\n"].reason
    assert [path.name for path in (inventory.output / "scenes").iterdir()] == ["c.safetensors"]


def test_a_scene_that_breaks_the_training_is_found_by_halves(inventory, monkeypatch):
    tried, train = [], module.train

    def broken_by_b(inventory, bundle, names, on_progress):
        tried.append("".join(names))
        if "b" in names:
            raise RuntimeError("out of memory")
        return train(inventory, bundle, names, on_progress)

    monkeypatch.setattr(module, "train", broken_by_b)
    rows = fit_chunk(ChunkJob(inventory, ("a", "b", "c")))
    assert states(rows) == {"a": "done", "b": "failed", "c": "done"}
    reason = "its fit: expected to end well, got RuntimeError: out of memory; look at its log in logs/"
    assert [row.reason for row in rows if row.name == "b"] == [reason]
    assert tried == ["abc", "a", "bc", "b", "c"]


@pytest.mark.parametrize("part", ["latents", "scene_weights"])
def test_a_scene_that_begins_with_nan_is_written_nowhere_and_stops_no_other(inventory, monkeypatch, part):
    """As with a broken encoder, or a prediction that is none; tried again by itself, it is told in the same words."""
    prepare = module.LatentPipeline.prepare

    def spoilt(pipeline):
        is_new = pipeline.datamanager.table is None
        prepare(pipeline)
        model = pipeline.model
        if is_new and "b" in model.scene_names:
            scene = model.scene_names.index("b")
            if part == "latents":
                spoil_latents(pipeline, scene)
            else:
                getattr(model.nerf.field, part).detach()[scene].flatten()[0] = torch.nan

    monkeypatch.setattr(module.LatentPipeline, "prepare", spoilt)
    rows = fitted(inventory, a="done", b="failed", c="done")
    assert (rows["a"].steps, rows["c"].steps) == (4, 4)
    (alone,) = fit_chunk(ChunkJob(inventory, ("b",)))
    for row in (rows["b"], alone):
        assert re.search(": expected finite numbers, got NaN or infinity; look at its cameras", row.reason)
    assert sorted(path.name for path in (inventory.output / "scenes").iterdir()) == ["a.safetensors", "c.safetensors"]


def test_a_scene_that_no_file_can_hold_fails_alone(inventory, monkeypatch):
    write = module.write_scene_file

    def written(path, scene, precision):
        if scene.name == "b":
            scene.micro_planes[0] = 1e6  # more than float16 has
        return write(path, scene, precision)

    monkeypatch.setattr(module, "write_scene_file", written)
    rows = fitted(inventory, a="done", b="failed", c="done")
    assert rows["b"].reason.startswith("scene 'b': expected planes within 65504, as float16 holds, got 1e+06; ")
    assert not inventory.scene_path("b").exists()


def test_both_stages_with_an_autoencoder_that_stays_as_it_is(scenes, kl, tmp_path):
    run = write_bundle(tmp_path / "run", kl)
    inventory = inventory_of(scenes, tmp_path / "out", run, rgb_alignment_start=2)
    config = chunk_config(inventory, read_shared_bundle(str(run)), ["a", "b"], tmp_path / "one")
    assert (config.pipeline.datamanager.images_per_batch, config.pipeline.datamanager.rays_per_batch) == (2, 128)
    trainer = config.setup()
    trainer.setup()
    seed_everything(0)
    before = {name: value.clone() for name, value in trainer.pipeline.named_parameters()}
    trainer.train()
    moved = {name for name, value in trainer.pipeline.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"_model.nerf.field.micro_planes", "_model.nerf.field.scene_weights"}
    assert trainer.optimizers.optimizers["planes"].row_factors is None  # in RGB alignment, where it ended
    trainer._before_iteration(0)
    planes, weights = (trainer.optimizers.optimizers[name].row_factors for name in ("planes", "shared_planes"))
    assert weights is None and torch.equal(planes, trainer.pipeline.scene_rates(0))
    assert not trainer.checkpoint_dir.exists()
    fitted(inventory, a="done", b="done")
    assert "RGB alignment" in next((inventory.output / "logs").iterdir()).read_text()


def test_the_bundle_decides_the_background_and_another_than_that_of_the_settings_is_refused(scenes, tmp_path, bundle):
    inventory, read = inventory_of(scenes, tmp_path, bundle), read_shared_bundle(str(bundle))
    for color, name in (([1.0, 1.0, 1.0], "white"), ([0.0, 0.0, 1.0], "blue")):
        config = chunk_config(inventory, dataclasses.replace(read, background_color=color), ["a"], tmp_path)
        assert config.pipeline.datamanager.dataparser.alpha_color == name
    other = write_bundle(tmp_path / "other", seed=1)
    changed = dataclasses.replace(inventory, bundle=str(other))
    with pytest.raises(ValueError, match=f"expected the one with the hash {inventory.bundle_hash}, got "):
        fit_chunk(ChunkJob(changed, ("a",)))


def test_without_steps_a_scene_is_written_as_its_encoder_predicts_it(scenes, tmp_path, bundle):
    plain = read_shared_bundle(str(bundle))
    encoder = new_scene_encoder(plain, SceneEncoderConfig(**SMALL_ENCODER))
    for layer in encoder.out:
        layer.bias.data.fill_(0.5)  # whatever it sees
    taught = write_scene_encoder(plain, encoder, tmp_path / "run", {})
    inventory = inventory_of(scenes, tmp_path / "out", taught, steps=0)
    (row,) = fit_chunk(ChunkJob(inventory, ("a",)))
    scene = read_scene_file(inventory.scene_path("a"))
    assert row.state == "done" and bool((scene.micro_planes == 0.5).all())
    torch.testing.assert_close(scene.scene_weights, plain.tensors["mean_scene_weights"])
    write_ball(inventory.data / "b_fish", camera_model="OPENCV_FISHEYE")
    rows = fitted(inventory, b="done", b_fish="failed")  # of which nothing is known
    assert "cameras: expected perspective ones, which scenes are predicted from, got fisheye" in rows["b_fish"].reason


def test_scenes_of_enlarged_photos_are_measured_and_shown_with_as_many_latent_pixels(scenes, kl, tmp_path):
    """Their file says so: what is loaded of it renders the numbers in the table; a bundle in half precision has the
    encoder of the fit."""
    run = write_bundle(tmp_path / "run", kl)
    inventory = inventory_of(scenes, tmp_path / "out", run, precision="float32")
    (row,) = fit_chunk(ChunkJob(inventory, ("a",)))
    loaded = lns.load(inventory.output / "scenes", run, "cpu")
    assert loaded.facts["a"]["enlarge"] == 2 and loaded.model.latent_space.downscale_factor == 2
    config = chunk_config(inventory, read_shared_bundle(str(run)), ["a"], tmp_path).pipeline
    pipeline = config.setup(device="cpu", test_mode="val")
    assert row.psnr == pytest.approx(psnr_of(pipeline, loaded.model), abs=1e-3)
    plain = inventory_of(scenes, tmp_path / "plain", run, enlarge=1)
    fit_chunk(ChunkJob(plain, ("a",)))
    assert "enlarge" not in lns.load(plain.output / "scenes", run, "cpu").facts["a"]


def test_chunks_leave_no_tensors_behind(balls, kl, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", kl)
    counts = []
    for turn in range(3):
        inventory = inventory_of(balls, tmp_path / str(turn), bundle, rgb_alignment_start=2)
        rows = fit_chunk(ChunkJob(inventory, ("b",)))
        assert [row.state for row in rows] == ["done"]
        counts += [living_tensors()] if turn else []
    assert counts[0] == counts[1]
    assert (len(writer.EVENT_WRITERS), len(profiler.PROFILER)) == (0, 1)
