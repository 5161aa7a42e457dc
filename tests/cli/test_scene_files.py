"""`lns export-scenes` and `lns import-scenes`: scenes leave their run, and render the same pictures without photos."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from nerfstudio.scripts.render import DatasetRender
from official import error_of, lns, train, train_arguments
from PIL import Image
from scene_folders import edited
from small_nerfs import small_nerfacto
from tiny import camera_of, latent_model_of, small_nerf

from latent_nerfstudio.cli.export_scenes import new_bundle
from latent_nerfstudio.engine.runs import load_pipeline, open_run
from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.models.triplane import TriplaneModelConfig
from latent_nerfstudio.scene_files.archive import read_archive
from latent_nerfstudio.scene_files.model_scenes import set_rendering
from latent_nerfstudio.scene_files.scene_file import read_scene_file

FIELD = {"micro_features": 4, "macro_features": 3, "num_base_planes": 2, "resolution": 16}


@pytest.fixture(scope="session")
def bundle(once, random_autoencoder) -> Path:
    """Folder of a run that holds a shared bundle with random weights."""

    def make(folder: Path) -> None:
        write_shared_bundle(folder, latent_model_of(random_autoencoder, nerf=small_nerf(**FIELD)), 3, {})

    return once("random_bundle", make)


@pytest.fixture(scope="session")
def frozen_run(once, two_balls, bundle) -> Path:
    """config.yml of a run that started from the bundle and left all of it as it is."""
    more = ["--pipeline.model.shared-bundle", bundle, "--pipeline.train-decoder", "False"]
    more += ["--pipeline.rgb-alignment-start", 4, "--pipeline.model.nerf.num-samples", 15]

    def make(folder: Path) -> None:
        train(*train_arguments("latent-triplane", two_balls, folder, 8, *more))

    return once("frozen_run", make) / "balls" / "latent-triplane" / "run" / "config.yml"


def imported(output: Path) -> Path:
    return output / "latent-triplane" / "imported" / "config.yml"


def pictures(config: Path, scene: str) -> list[torch.Tensor]:
    """What a run renders of a scene from three sides."""
    model = load_pipeline(config).model
    cameras = camera_of(32, 32, count=3, scene=model.scene_names.index(scene))
    outputs = [model.get_outputs_for_camera(cameras[i : i + 1], with_latents=True) for i in range(3)]
    return [output[name] for output in outputs for name in ("rgb", "latent_channels", "depth")]


def test_scenes_of_a_frozen_run_name_its_bundle_and_come_back_the_same(frozen_run, bundle, tmp_path, capsys):
    lns("export-scenes", frozen_run, "--output", tmp_path / "files", "--precision", "float32")
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["blue.safetensors", "red.safetensors"]
    shared = read_shared_bundle(str(bundle))
    scene = read_scene_file(tmp_path / "files" / "red.safetensors", shared)
    assert (scene.facts["method"], scene.facts["steps"], scene.facts["views"]) == ("latent-triplane", 8, 10)
    assert scene.facts["cameras"] == {"height": 32, "width": 32, "fx": 32, "fy": 32, "radius": pytest.approx(2.5)}
    np.testing.assert_allclose(scene.facts["box"], [[-0.7] * 3, [0.7] * 3], rtol=1e-6)  # the balls' own
    assert scene.facts["samples"] == [15, 0]
    lns("import-scenes", tmp_path / "files", "--bundle", bundle, "--output", tmp_path / "run")
    assert str(imported(tmp_path / "run")) in capsys.readouterr().out
    for name in ("blue", "red"):
        expected, got = pictures(frozen_run, name), pictures(imported(tmp_path / "run"), name)
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
    training = open_run(imported(tmp_path / "run")).training
    assert (training["scenes"], training["steps"]) == (["blue", "red"], 8)


@pytest.mark.parametrize("box", [None, ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))])
def test_a_new_bundle_of_scenes_that_end_at_their_own_box_says_so(box, random_autoencoder, tmp_path, capsys):
    model = latent_model_of(random_autoencoder, nerf=small_nerf(**FIELD))
    model.place([Placement(), Placement(box=box)])
    run = SimpleNamespace(latest_checkpoint=lambda: Path("step-000000003.ckpt"), method="latent-triplane")
    assert new_bundle(run, model, tmp_path, overwrite=False).aabb == [[-1.0] * 3, [1.0] * 3]
    assert ("--write-bundle True" in capsys.readouterr().out) == (box is not None)


def test_an_imported_run_needs_no_photos(frozen_run, two_balls, bundle, ffmpeg, tmp_path):
    """The photos are gone before the scenes are exported."""
    shutil.copytree(frozen_run.parents[3], tmp_path / "moved")
    moved = tmp_path / "moved" / "balls" / "latent-triplane" / "run"
    text = (moved / "config.yml").read_text()
    assert two_balls.name in text
    (moved / "config.yml").write_text(text.replace(two_balls.name, "photos_that_are_gone"))
    lns("export-scenes", moved, "--output", tmp_path / "files")
    assert read_scene_file(tmp_path / "files" / "red.safetensors").facts["cameras"]["height"] == 32  # beside config.yml
    lns("import-scenes", tmp_path / "files", "--bundle", bundle, "--output", tmp_path / "run", "--views", 3)
    config = imported(tmp_path / "run")
    views = config.parent / "views"
    assert sorted(path.name for path in views.iterdir()) == ["blue", "red"]
    assert len(list(views.rglob("*.png"))) == 2 * 3
    DatasetRender(load_config=config, output_path=tmp_path / "out", image_format="png").main()
    rendered = sorted((tmp_path / "out" / "test" / "rgb").rglob("*.png"))
    assert len(rendered) == 2
    for path, scene in zip(rendered, ("blue", "red"), strict=True):
        stored = np.asarray(Image.open(views / scene / "images" / "0000.png")).astype(int)
        assert np.abs(np.asarray(Image.open(path)).astype(int) - stored).max() <= 1  # one rounds, one cuts off
    metrics = load_pipeline(config).get_average_eval_image_metrics()
    assert metrics["psnr"] > 45  # against views of its own, rounded to 8 bits


def test_scenes_that_training_dropped_are_told(frozen_run, tmp_path, capsys):
    run = shutil.copytree(frozen_run.parent, tmp_path / "run")
    with edited(run / "training.json") as training:
        training["failed"] = {"red": 7}
    lns("export-scenes", run, "--output", tmp_path / "files")
    assert "written as they were then: red\n" in capsys.readouterr().out
    facts = {name: read_scene_file(tmp_path / "files" / f"{name}.safetensors").facts for name in ("red", "blue")}
    assert "dropped at step 7" in facts["red"]["doubt"] and "doubt" not in facts["blue"]


def test_a_run_that_trained_shared_parts_gets_a_bundle_of_its_own(latent_run, tmp_path):
    lns("export-scenes", latent_run, "--output", tmp_path / "files", "--precision", "float32")
    bundle = read_shared_bundle(str(tmp_path / "files"))
    assert (bundle.num_scenes, bundle.step) == (2, 11)
    assert read_scene_file(tmp_path / "files" / "blue.safetensors").bundle_hash == bundle.hash
    lns("import-scenes", tmp_path / "files", "--bundle", tmp_path / "files", "--output", tmp_path / "run")
    expected, got = pictures(latent_run, "blue"), pictures(imported(tmp_path / "run"), "blue")
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_scenes_in_rgb_and_their_planes(rgb_run, tmp_path):
    from safetensors.torch import load_file

    planes = tmp_path / "planes.safetensors"
    lns("export-scenes", rgb_run, "--output", tmp_path / "x.zip", "--precision", "float32", "--planes", planes)
    bundle = read_shared_bundle(str(tmp_path / "x"))
    assert bundle.autoencoder["is_identity"]
    stored = load_file(planes)["planes"]
    assert stored.shape == (2, 3 * 16, 16, 16)
    for index, scene in enumerate(read_archive(tmp_path / "x.zip", bundle)):
        assert torch.equal(stored[index], scene.micro_planes.flatten(0, 1))
    lns("import-scenes", tmp_path / "x.zip", "--bundle", tmp_path / "x", "--output", tmp_path / "run")
    expected, got = pictures(rgb_run, "red"), pictures(imported(tmp_path / "run"), "red")
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_what_cannot_be_done_is_refused(frozen_run, tmp_path, capsys, bundle):
    export = ("export-scenes", frozen_run, "--output", tmp_path / "files")
    lns(*export, "--scenes", "red")
    before = (tmp_path / "files" / "red.safetensors").read_bytes()
    assert "red.safetensors: expected nothing there, got a file" in error_of(capsys, *export)
    assert not (tmp_path / "files" / "blue.safetensors").exists()
    lns(*export, "--overwrite", "--precision", "int8")
    assert len((tmp_path / "files" / "red.safetensors").read_bytes()) < len(before)
    files, run = tmp_path / "files", tmp_path / "run"
    rest = ("--bundle", bundle, "--output", run, "--views", 2)
    assert "expected scene files (NAME.safetensors), a folder" in error_of(capsys, "import-scenes", tmp_path, *rest)
    assert not run.exists()
    lns("import-scenes", files, *rest, "--scenes", "red")
    assert "expected nothing there" in error_of(capsys, "import-scenes", files, *rest)
    lns("import-scenes", files, *rest, "--scenes", "blue", "--overwrite")
    folder = imported(run).parent
    assert json.loads((folder / "training.json").read_text())["scenes"] == ["blue"]
    assert [path.name for path in folder.parent.iterdir()] == ["imported"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [([[30, 2], [40, 0]], (40, 0)), ([None, [30, 2]], (30, 2)), ([[0, 2], [1 << 20, 0], "x", [1.0, 2], [1]], (24, 0))],
)
def test_samples_of_files_are_believed_within_bounds(facts, expected, bundle):
    model = LatentModelConfig()
    read = read_shared_bundle(str(bundle))
    set_rendering(model, read, {str(number): {"samples": value} for number, value in enumerate(facts)})
    assert isinstance(model.nerf, TriplaneModelConfig)
    assert (model.nerf.num_samples, model.nerf.num_importance_samples) == expected


def test_other_nerfs_are_refused_before_anything_is_loaded(latent_run, tmp_path, capsys):
    config = yaml.load(latent_run.read_text(), Loader=yaml.Loader)
    config.pipeline.model.nerf = small_nerfacto()
    (tmp_path / "config.yml").write_text(yaml.dump(config))
    assert "expected a run with tri-planes" in error_of(capsys, "export-scenes", tmp_path)
