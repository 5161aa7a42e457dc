"""What a user meets who gives ns-train something that is not as it should be: a clear message, and nothing trained."""

import json
import shutil

import pytest
from official import checkpoints, fail, train, train_arguments
from tiny import save_kl


def test_a_missing_data_folder_through_the_command(tmp_path):
    output = fail("ns-train", *train_arguments("triplane", tmp_path / "nowhere", tmp_path / "out", 2))
    assert f"{tmp_path / 'nowhere'}: expected a data folder, got nothing there; check --data" in output
    assert checkpoints(tmp_path) == []


def test_an_empty_data_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: expected a scene with .* got an empty folder"):
        train(*train_arguments("triplane", tmp_path / "empty", tmp_path / "out", 2))
    assert checkpoints(tmp_path) == []


def test_an_unknown_scene(two_balls, tmp_path):
    arguments = train_arguments("triplane", two_balls, tmp_path, 2)
    with pytest.raises(ValueError, match=r"scenes: expected names of scenes .* such as blue.* got 'bleu'"):
        train(*arguments, "scenes", "--scenes", "bleu")
    assert checkpoints(tmp_path) == []


def test_a_folder_that_holds_no_autoencoder(two_balls, tmp_path):
    source = ["--pipeline.model.autoencoder.source", two_balls]
    with pytest.raises(FileNotFoundError, match="expected a folder in diffusers format, got .* without a config.json"):
        train(*train_arguments("latent-triplane", two_balls, tmp_path, 2, *source))
    assert checkpoints(tmp_path) == []


def test_a_hub_id_without_network(two_balls, tmp_path):
    source = ["--pipeline.model.autoencoder.source", "nobody/nothing-here"]
    with pytest.raises(ConnectionError, match="'nobody/nothing-here': expected a folder, or a Hub id that is cached"):
        train(*train_arguments("latent-triplane", two_balls, tmp_path, 2, *source))
    assert checkpoints(tmp_path) == []


def test_resuming_with_another_channel_count(latent_run, two_balls, tmp_path):
    source = ["--pipeline.model.autoencoder.source", save_kl(tmp_path / "other", levels=4, channels=5)]
    resume = ["--load-dir", latent_run.parent / "nerfstudio_models"]
    with pytest.raises(ValueError, match="expected latents of 5 channels, as the autoencoder has, got 4"):
        train(*train_arguments("latent-triplane", two_balls, tmp_path / "out", 20, *source, *resume))
    assert checkpoints(tmp_path) == []


def test_a_pose_that_is_not_a_number(two_balls, tmp_path):
    shutil.copytree(two_balls, tmp_path / "data")
    file = tmp_path / "data" / "red" / "transforms.json"
    content = json.loads(file.read_text())
    content["frames"][3]["transform_matrix"][0][3] = float("nan")
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"red.*expected .*finite"):
        train(*train_arguments("triplane", tmp_path / "data", tmp_path / "out", 2))
    assert checkpoints(tmp_path) == []
