"""ns-train, ns-eval, ns-render and ns-export on runs of two scenes, as a user calls them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from official import call, checkpoints, evaluated, succeed, train, train_arguments
from PIL import Image
from tiny import camera_of, camera_path_of

from latent_nerfstudio.engine.runs import load_pipeline

SIDE = 32
"""Height and width of the photos."""


def pictures(folder: Path) -> list[np.ndarray]:
    """All pictures below a folder, in name order."""
    return [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.jpg")) + sorted(folder.rglob("*.png"))]


def test_training_goes_through_both_stages_and_leaves_a_run(latent_training):
    output, folder = latent_training
    assert output.index("latent supervision") < output.index("RGB alignment")
    left = {path.name for path in folder.iterdir()}
    assert {"config.yml", "training.json", "contact_sheet.png", "dataparser_transforms.json"} <= left
    assert checkpoints(folder) == ["step-000000011.ckpt"]
    training = json.loads((folder / "training.json").read_text())
    assert (training["steps"], training["scenes"], training["device"]) == (12, ["blue", "red"], "cpu")
    assert training["bytes_per_scene"] == 4 * (3 * 10 * 16 * 16 + 8)  # micro planes and scene weights


def test_an_error_is_one_line_of_the_command(tmp_path, capsys, monkeypatch):
    """What is checked is in the table of bad input (`tests/bad_input`)."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    with pytest.raises(OSError) as raised:
        train(*train_arguments("triplane", tmp_path / "nowhere", tmp_path / "out", 2))
    sys.excepthook(raised.type, raised.value, raised.tb)
    error = capsys.readouterr().err
    assert f"Error: {tmp_path / 'nowhere'}: expected a data folder, got nothing there; check --data\n" in error
    assert "Traceback" not in error and checkpoints(tmp_path) == []


def test_training_shows_in_the_evaluation(rgb_run, tmp_path):
    results = evaluated(rgb_run, tmp_path / "eval.json", tmp_path / "pictures")["results"]
    assert results["psnr"] > 20
    assert results["autoencoder_psnr"] > 99
    assert {picture.shape[:2] for picture in pictures(tmp_path / "pictures")} == {(SIDE, 3 * SIDE), (SIDE, SIDE)}


def test_render_interpolate_makes_a_video(latent_run, ffmpeg, tmp_path):
    """In a process that has loaded nothing of ours before."""
    video = tmp_path / "video.mp4"
    names = ["--rendered-output-names", "rgb", "latent", "depth"]
    succeed("ns-render", "interpolate", "--load-config", latent_run, "--output-path", video, *names)
    assert video.stat().st_size > 500


def test_render_camera_path_in_any_size(latent_run, ffmpeg, tmp_path):
    from nerfstudio.scripts.render import RenderCameraPath

    path = tmp_path / "path.json"
    path.write_text(json.dumps(camera_path_of(camera_of(43, 21, count=2), 21, 43)))
    RenderCameraPath(
        load_config=latent_run,
        output_path=tmp_path / "frames",
        camera_path_filename=path,
        rendered_output_names=["rgb", "latent", "depth", "accumulation"],
        output_format="images",
        image_format="png",
    ).main()
    frames = pictures(tmp_path / "frames")
    assert [frame.shape for frame in frames] == [(21, 4 * 43, 3)] * 2
    assert all(frame[:, :43].std() > 1 for frame in frames)


def test_render_dataset_shows_each_scene_in_its_own_views(rgb_run, ffmpeg, tmp_path):
    from nerfstudio.scripts.render import DatasetRender

    DatasetRender(
        load_config=rgb_run, output_path=tmp_path, image_format="png", rendered_output_names=["rgb", "gt-rgb"]
    ).main()
    for scene, channel in (("blue", 2), ("red", 0)):
        for output in ("rgb", "gt-rgb"):
            (first, *_) = pictures(tmp_path / "test" / output / scene)
            assert first[SIDE // 2, SIDE // 2].argmax() == channel


def test_what_cannot_be_supported_is_refused_as_the_run_is_opened(latent_run, monkeypatch):
    """Of each command, and in which words: `tests/pipelines/test_commands.py`."""
    monkeypatch.setattr("sys.argv", ["/bin/ns-render", "spiral", "--load-config", str(latent_run)])
    with pytest.raises(SystemExit, match="ns-render spiral is not supported by latent-nerfstudio: .*; use ns-render"):
        load_pipeline(latent_run)


def test_the_bundled_autoencoder_is_the_default(two_balls, tmp_path):
    train(*train_arguments("latent-triplane", two_balls, tmp_path, 2, "--pipeline.rgb-alignment-start", 1))
    assert checkpoints(tmp_path) == ["step-000000001.ckpt"]


def test_eval_writes_the_metrics_of_the_contract(latent_run, tmp_path):
    evaluation = evaluated(latent_run, tmp_path / "eval.json")
    results = evaluation["results"]
    assert evaluation["method_name"] == "latent-triplane"
    for metric in ("psnr", "ssim", "autoencoder_psnr", "latent_psnr"):
        assert results[metric] == pytest.approx((results[f"blue/{metric}"] + results[f"red/{metric}"]) / 2, rel=1e-6)
        assert np.isfinite(results[f"{metric}_std"])
    assert not {"num_rays", "num_rays_per_sec", "fps"} & set(results)


def test_export_cameras_writes_the_poses(latent_run, two_balls, tmp_path):
    try:
        from nerfstudio.scripts.exporter import ExportCameraPoses
    except OSError as error:
        pytest.skip(f"ns-export imports open3d, which does not load here ({error}); Debian: apt install libusb-1.0-0")
    ExportCameraPoses(load_config=latent_run, output_dir=tmp_path).main()
    frames = json.loads((tmp_path / "transforms_train.json").read_text())
    assert len(frames) == 20
    given = json.loads((two_balls / "blue" / "transforms.json").read_text())["frames"][1]["transform_matrix"]
    np.testing.assert_allclose(frames[0]["transform"], given[:3], atol=1e-5)


LOADING = """
import sys, time
from latent_nerfstudio.data.registration import scenes
from nerfstudio.plugins.registry_dataparser import DataParserSpecification
assert isinstance(scenes, DataParserSpecification) and scenes.description
early = [m for m in sys.modules if 'datamanagers' in m or 'method_configs' in m]
begun = time.process_time()
import nerfstudio.data.datamanagers.full_images_datamanager, nerfstudio.pipelines.base_pipeline
import nerfstudio.engine.trainer, nerfstudio.configs.dataparser_configs
import nerfstudio.model_components.ray_samplers, nerfstudio.field_components.mlp
import nerfstudio.models.nerfacto, nerfstudio.models.tensorf, nerfstudio.models.vanilla_nerf
start = time.process_time()
from latent_nerfstudio.method_configs import igae, nerfs, triplane
print('share', (time.process_time() - start) / (start - begun))
import nerfstudio.configs.method_configs as configs
assert {'latent-triplane', 'triplane', 'ig-ae', 'latent-nerfacto'} <= set(configs.all_methods)
heavy = {'diffusers', 'transformers', 'open3d', 'trimesh.ray'} & set(sys.modules)
print('heavy', [*early, *heavy])
"""
"""Loads the dataparser, what nerfstudio loads by itself, and then the methods; prints what these take."""


def test_entry_points_are_light():
    """They are loaded by every ns-* command of every method: no diffusers, and little of the time that nerfstudio's own
    modules take; by the dataparser no datamanager either."""
    done = call(Path(sys.executable).name, "-W", "ignore", "-c", LOADING)
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("share", "heavy")))
    assert lines["heavy"] == "[]"
    assert float(lines["share"]) < 0.08
