"""The examples run on a small run, and do what they say."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from latent_nerfstudio.cli.main import main
from latent_nerfstudio.scene_files.scene_file import read_scene_file, write_scene_file

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("[0-9]*.py"))

CASES = {
    "01_render_a_scene": ({}, ["0007.png"], "colours (8, 32, 32, 3), latents (8, 4, 4, 4)"),
    "02_videos": ({"views": 2}, ["all.gif", "blend.mp4"], ""),
    "03_planes_and_weights": ({}, ["half/0000.png", "macro_planes_alone/0000.png"], "planes (3, 32, 16, 16), 8 base"),
    "04_encode_and_decode": ({}, ["0003.png"], "3072 numbers of a picture as 1024"),
    "05_latents_for_diffusers": ({}, ["latents.safetensors", "vae/config.json"], "latents (6, 4, 4, 4); diffusers"),
    "06_edit_latents": (
        {"steps": 8, "bundle": "own"},
        ["data/blue_edited/transforms.json", "pictures/0007.png"],
        "to the edited views",
    ),
}
"""Settings that make an example quick, files that it must write, and what it must say."""


def test_no_example_is_left_out():
    assert [path.stem for path in EXAMPLES] == sorted(CASES)


def example(path):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None and spec.loader is not None and (spec.origin or "").endswith(".py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, latent_run, tmp_path, capsys):
    module = example(path)
    assert module.__doc__ and module.__doc__.splitlines()[0].endswith(".")
    settings, files, said = CASES[path.stem]
    if "bundle" in settings:  # the package's own is of cars, which are smaller than the balls
        main(["export-scenes", str(latent_run), "--output", str(tmp_path / settings["bundle"])])
        settings = {**settings, "bundle": str(tmp_path / settings["bundle"])}
    module.main(latent_run.parent, output=tmp_path, **settings)
    printed = capsys.readouterr().out
    assert said in printed
    for name in files:
        assert (tmp_path / name).is_file()
        if name.endswith(".png"):
            with Image.open(tmp_path / name) as picture:
                assert picture.size == (32, 32)
    if "differ by at most" in printed:
        assert float(printed.split("differ by at most")[1]) < 1e-4


def test_diffusers_and_renders_agree_of_scene_files_whose_photos_were_enlarged(latent_run, tmp_path, capsys):
    main(["export-scenes", str(latent_run), "--output", str(tmp_path / "own")])
    for path in (tmp_path / "own").glob("*.safetensors"):
        scene = read_scene_file(path)
        write_scene_file(path, replace(scene, facts={**scene.facts, "enlarge": 2}))
    example(next(path for path in EXAMPLES if path.stem.startswith("05"))).main(tmp_path / "own", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "latents (6, 4, 8, 8)" in printed and float(printed.split("differ by at most")[1]) < 1e-4
