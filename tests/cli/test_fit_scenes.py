"""`lns fit-scenes`: from a folder of scenes to a folder of scene files, resumed, interrupted, refused."""

import json
import os
import shutil
import signal
import sys
import threading

import pytest
from official import error_of
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.cli.main import main
from latent_nerfstudio.models.bundle_writing import write_shared_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A run with a bundle in RGB, without training."""
    folder = tmp_path_factory.mktemp("bundle")
    model = latent_model_of("identity", nerf=small_nerf(macro_features=3, num_base_planes=2))
    write_shared_bundle(folder, model, 1, {})
    return folder


def arguments(scenes, output, bundle, steps=4, *more):
    few = ["--steps", str(steps), "--rays-per-scene", "64", "--latent-cache", "memory", "--eval-interval", "10"]
    return ["fit-scenes", str(scenes), "--output", str(output), "--bundle", str(bundle), *few, *more]


def status_of(output):
    return {row["name"]: row["state"] for row in json.loads((output / "status.json").read_text())["scenes"]}


def test_an_inventory_with_a_broken_scene_and_its_repair(balls, bundle, tmp_path, capsys):
    output, scenes = tmp_path / "out", shutil.copytree(balls, tmp_path / "scenes")
    picture = scenes / "b" / "images" / "0002.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:-60])
    with pytest.raises(SystemExit, match="1"):
        main(arguments(scenes, output, bundle))
    printed = capsys.readouterr().out
    assert status_of(output) == {"a": "done", "b": "failed", "c": "done"}
    assert "2 of 3 scenes done (means: PSNR " in printed and ", 1 failed" in printed
    assert "failed:" in printed and str(output / "scenes") in printed
    kept = {name: (output / "scenes" / f"{name}.safetensors").stat().st_mtime_ns for name in "ac"}

    picture.write_bytes(whole)
    main(arguments(scenes, output, bundle))
    assert status_of(output) == dict.fromkeys("abc", "done")
    assert {name: (output / "scenes" / f"{name}.safetensors").stat().st_mtime_ns for name in "ac"} == kept
    assert "3 of 3 scenes done" in capsys.readouterr().out


def test_a_camera_file_stands_for_its_scene(balls, bundle, tmp_path, capsys):
    source = balls / "a" / "transforms.json"
    main(arguments(source, tmp_path / "out", bundle, 2))
    assert status_of(tmp_path / "out") == {"a": "done"}
    capsys.readouterr()
    refused = error_of(capsys, *arguments(source, balls / "a", bundle, 2))
    assert "output: expected another folder than that of the photos" in refused


def test_parts_of_the_scenes_that_are_asked_for_and_the_call_that_collects_them(balls, bundle, tmp_path, capsys):
    output = tmp_path / "out"
    given = arguments(balls, output, bundle, 2, "--scenes", "a", "c", "--precision", "int8", "--device", "cpu")
    for part in ("1/2", "2/2"):
        main([*given, "--shard", part])
    assert [status_of(output / "shards" / f"{i}-of-2") for i in (1, 2)] == [{"a": "done"}, {"c": "done"}]
    main(given)
    assert status_of(output) == {"a": "done", "c": "done"} and len(list((output / "logs").iterdir())) == 2
    assert f"Scenes: {output / 'scenes'}" in capsys.readouterr().out


def test_an_interrupted_call_ends_with_the_table(balls, bundle, tmp_path, capsys):
    output, ended = tmp_path / "out", threading.Event()

    def interrupt():
        while not ended.wait(0.1):
            if (output / "status.json").exists() and "running" in status_of(output).values():
                ended.wait(0.5)
                return ended.is_set() or os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(SystemExit, match="130"):
        try:
            main(arguments(balls, output, bundle, 3000, "--chunk", "1"))
        finally:
            ended.set()
            thread.join()
    assert "3 waiting" in capsys.readouterr().out
    assert status_of(output) == dict.fromkeys("abc", "waiting")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "0"], "workers: expected at least 1, got 0; name a number, or ray"),
        (["--chunk", "0"], "chunk: expected at least 1, got 0"),
        (["--shard", "1/" + "9" * 5000], "shard: expected i/n with i from 1 to n, got '1/999"),
        (["--gpus-per-task", "1"], "gpus_per_task: expected workers 'ray' with it, got 1"),
        (["--device", "cuda"], "device: expected cpu on a machine without CUDA, got cuda"),
        (["--workers", "ray"], "workers: expected Ray for --workers ray, got none installed; pip install"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_is_written(
    more, message, balls, bundle, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="1"):
        main(arguments(balls, tmp_path / "out", bundle, 4, *more))
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.strip().splitlines()) == 1 and not printed.out
    assert not (tmp_path / "out").exists()
