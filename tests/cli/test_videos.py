"""`lns orbit`, `lns blend`, `lns render-latents` and `lns decode-latents`, called as users call them."""

import json

import imageio_ffmpeg
import numpy as np
import torch
from official import lns
from PIL import Image, ImageSequence
from safetensors.torch import load_file, save_file
from tiny import camera_of, camera_path_of

from latent_nerfstudio.data.scenes_dataparser import read_scenes
from latent_nerfstudio.engine.runs import load_pipeline


def facts_of(path):
    """What ffmpeg says of a video, and its frames."""
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    height, width = facts["size"][::-1]
    return facts, [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]


def test_a_grid_of_scenes_that_turn(rgb_run, tmp_path, capsys):
    lns("orbit", rgb_run, "--output", tmp_path / "grid.mp4", "--views", 3, "--fps", 6)
    assert "Wrote 3 frames of 2 scene(s)" in capsys.readouterr().out
    facts, frames = facts_of(tmp_path / "grid.mp4")
    assert len(frames) == 3 and facts["fps"] == 6
    assert any(np.abs(a.astype(int) - b).max() > 30 for a, b in zip(frames, frames[1:], strict=False))
    lns("orbit", rgb_run.parent, "--output", tmp_path / "red.gif", "--scenes", "red", "--rows", "rgb", "--views", 2)
    with Image.open(tmp_path / "red.gif") as picture:
        shown = sum(frame.info["duration"] for frame in ImageSequence.Iterator(picture))
        assert shown == 2 * 40  # frames that look alike are one
        red, _, blue = np.asarray(picture.convert("RGB")).astype(int).transpose(2, 0, 1)
        assert bool((red > blue + 60).any())  # the red ball, and not the blue one
        assert not bool((blue > red + 60).any())


def test_a_scene_becomes_another(rgb_run, tmp_path):
    more = ("--views", 2, "--size", 24, "--rows", "rgb", "depth")
    lns("blend", rgb_run, "blue", "red", "--output", tmp_path / "blend.mp4", *more)
    assert len(facts_of(tmp_path / "blend.mp4")[1]) == 2


def test_latents_to_a_file_and_back(latent_run, two_balls, tmp_path, capsys):
    """What is written decodes to what the run renders, with the run's own decoder; with diffusers: `tests/api`."""
    path = tmp_path / "latents.safetensors"
    lns("render-latents", latent_run, "--scene", "red", "--output", path, "--path", "training")
    assert "latents 10 x 4 x 4 x 4 of red, for pictures of 32 x 32" in capsys.readouterr().out
    latents = load_file(path)["latents"]
    pipeline = load_pipeline(latent_run)
    cameras = pipeline.datamanager.train_dataset.cameras
    own = cameras[cameras.metadata["scene_index"].flatten() == 1]
    model = pipeline.model
    outputs = model.get_outputs_for_camera(own[3:4], with_latents=True)
    raw = model.latent_space.normalizer.inverse(outputs["latent_channels"]).permute(2, 0, 1)
    torch.testing.assert_close(latents[3], raw)

    lns("decode-latents", path, "--autoencoder", latent_run, "--output", tmp_path / "own")
    stored = np.asarray(Image.open(tmp_path / "own" / "images" / "0003.png")) / 255
    np.testing.assert_allclose(stored, outputs["rgb"].numpy(), atol=0.51 / 255)
    (scene,) = read_scenes(tmp_path / "own")
    (there,) = read_scenes(two_balls / "red")
    assert len(scene) == 10 and np.allclose(scene.aabb, pipeline.model.scene_box.aabb.numpy())
    assert all(np.abs(pose - there.camera_to_worlds).max((1, 2)).min() < 1e-5 for pose in scene.camera_to_worlds)

    lns("decode-latents", path, "--autoencoder", latent_run, "--output", tmp_path / "own.mp4", "--fps", 5)
    assert len(facts_of(tmp_path / "own.mp4")[1]) == 10


def test_a_camera_path_of_the_viewer_and_latents_of_others(latent_run, tmp_path, random_autoencoder, capsys):
    (tmp_path / "path.json").write_text(json.dumps(camera_path_of(camera_of(24, 16, count=2), 16, 24)))
    out = tmp_path / "x.safetensors"
    lns("render-latents", latent_run, "--camera-path", tmp_path / "path.json", "--output", out)
    assert load_file(out)["latents"].shape == (2, 4, 2, 3)
    bare = tmp_path / "bare.safetensors"
    save_file({"latents": torch.randn(2, 4, 3, 3)}, bare)
    lns("decode-latents", bare, "--autoencoder", random_autoencoder, "--output", tmp_path / "x")
    assert "2 picture(s) of 24 x 24 as files to" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["0000.png", "0001.png"]
