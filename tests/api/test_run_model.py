"""Runs of all methods, opened without their data: they render as the pipeline that was saved."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_nerfs import small_tensorf
from tiny import camera_of, pipeline_config_of, small_nerf

import latent_nerfstudio as lns
from latent_nerfstudio.api.run_model import training_cameras
from latent_nerfstudio.cli.runs import fill_run
from latent_nerfstudio.data.training_cameras import CAMERAS, write_cameras
from latent_nerfstudio.engine import config_loader
from latent_nerfstudio.engine.runs import open_run
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.models.instant_ngp import LatentInstantNGPModelConfig
from latent_nerfstudio.models.triplane import TriplaneModel

NERFS = {
    "triplane": small_nerf,
    "tensorf": lambda: small_tensorf(final_resolution=8, upsampling_iters=(2,)),
    "instant-ngp": lambda: LatentInstantNGPModelConfig(
        implementation="torch", num_levels=2, log2_hashmap_size=8, grid_resolution=8
    ),
}


def write_run(folder: Path, data: Path, source: Any, method: str = "tiny", **settings: Any):
    """A run that was hardly trained, as one that ended; returns its pipeline."""
    config = pipeline_config_of(data, source, **settings)
    torch.manual_seed(0)
    pipeline = config.setup(device="cpu", test_mode="val")
    pipeline.prepare()
    pipeline.model.update_to_step(3)
    run = LatentTrainerConfig(method_name=method, experiment_name="balls", timestamp="now", pipeline=config)
    run.output_dir = folder.parents[2]
    state = {"step": 3, "pipeline": pipeline.state_dict(), "optimizers": {}, "schedulers": {}, "scalers": {}}
    folder.mkdir(parents=True)
    fill_run(folder, run, state, {"scenes": pipeline.model.scene_names})
    return pipeline.eval()


@pytest.mark.parametrize("method", NERFS)
def test_each_method_renders_as_it_did(method, balls, kl, tmp_path):
    data = tmp_path / "data" / "a"
    shutil.copytree(balls / "a", data)
    pipeline = write_run(tmp_path / "run", data, kl, nerf=NERFS[method]())
    camera = camera_of(40, 48)  # taller than the training pictures, whose height the data tell
    with_data = lns.load(tmp_path / "run" / "config.yml")
    assert with_data.names == ["a"] and with_data.title == "balls" and len(with_data.cameras("a")) == 5
    expected = pipeline.model.get_outputs_for_camera(camera)
    torch.testing.assert_close(with_data.render("a", camera).rgb[0], expected["rgb"])

    shutil.rmtree(data)
    without = lns.load(tmp_path / "run")
    small = camera_of(32, 32)
    expected = pipeline.model.get_outputs_for_camera(small)
    torch.testing.assert_close(without.render("a", small).rgb[0], expected["rgb"])
    with pytest.raises(FileNotFoundError, match="expected the data of .*config.yml, got nothing there"):
        without.cameras("a")
    assert without.ring("a").radius > 0


def test_the_same_pictures_from_everywhere(balls, kl, tmp_path, monkeypatch):
    """The run holds its cameras, and reads the checkpoint beside its config: neither the working folder nor another
    run under its old name counts."""
    shutil.copytree(balls, tmp_path / "here" / "data")
    monkeypatch.chdir(tmp_path / "here")
    folder = tmp_path / "here" / "outputs" / "balls" / "tiny" / "now"
    pipeline = write_run(folder, Path("data"), kl)
    relative = open_run(folder)
    relative.config.output_dir = Path("outputs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()  # another's
    assert relative.data() == tmp_path / "here" / "data"
    write_cameras(folder / CAMERAS, pipeline.datamanager.train_dataparser_outputs.cameras)
    folder.rename(tmp_path / "renamed")
    write_run(folder, balls, kl, nerf=small_nerf(resolution=4))
    shutil.rmtree(tmp_path / "here" / "data")
    scenes = lns.load("renamed")
    camera = camera_of(40, 48, scene=1)
    expected = pipeline.model.get_outputs_for_camera(camera)["rgb"]
    torch.testing.assert_close(scenes.render("b", camera).rgb[0], expected)
    assert scenes.orbit("b").height[0] == 32 and len(scenes.cameras("b")) == 5


def test_other_data_are_not_taken_for_those_of_the_run(balls, kl, tmp_path):
    shutil.copytree(balls, tmp_path / "data")
    write_run(tmp_path / "run", tmp_path / "data", kl)
    run = open_run(tmp_path / "run")
    shutil.rmtree(tmp_path / "data" / "c")
    with pytest.raises(ValueError, match="expected the scenes of .*, got 2 others"):
        training_cameras(run, None)
    assert lns.load(tmp_path / "run").names == ["a", "b", "c"]


class Boxless(TriplaneModel):
    """A NeRF that keeps no box in checkpoints, as one of others may."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.register_buffer("aabb", self.aabb, persistent=False)


def test_the_box_of_a_nerf_that_keeps_none_comes_from_its_data(balls, kl, tmp_path, monkeypatch):
    """By Nerfstudio's own way of loading."""
    trusted = {"nerfstudio", "latent_nerfstudio", "pathlib", __name__}
    monkeypatch.setattr(config_loader, "trusted_packages", lambda: trusted)
    data, nerf, folder = tmp_path / "data", small_nerf(), tmp_path / "balls" / "latent-triplane" / "now"
    shutil.copytree(balls, data)
    nerf._target = Boxless
    pipeline = write_run(folder, data, kl, method="latent-triplane", nerf=nerf)
    scenes = lns.load(folder)
    assert scenes.names == ["a", "b", "c"] and len(scenes.cameras("b")) == 5
    assert scenes.model.nerf.aabb.flatten().tolist() == pytest.approx([-0.7] * 3 + [0.7] * 3)
    expected = pipeline.model.get_outputs_for_camera(camera_of(32, 32, scene=1))
    torch.testing.assert_close(scenes.render("b", camera_of(32, 32)).rgb[0], expected["rgb"])

    for path in data.glob("*/transforms.json"):
        path.write_text(path.read_text().replace("[-0.7, -0.7, -0.7], [0.7,", "[-0.7, -0.7, -0.7], [0.5,"))
    assert lns.load(folder).model.nerf.aabb.tolist() == [pytest.approx([-0.7] * 3), pytest.approx([0.5, 0.7, 0.7])]
    shutil.rmtree(data)
    with pytest.raises(FileNotFoundError, match=f"{data}: expected "):
        lns.load(folder)
