"""Where commands write to: what cannot be is refused first, in the same words everywhere."""

import dataclasses
import os

import pytest
from official import error_of
from scene_folders import write_transforms

from latent_nerfstudio.cli.main import COMMANDS

SOURCES = """render-meshes process-photos fit-scenes learn-bundle learn-scene-encoder gallery orbit report contact-sheet
export-points export-mesh export-scenes pack-scenes render-latents consistency import-autoencoder"""
GIVEN = {"blend": "x a b", "import-scenes": "x --bundle x", "export-scene": "x --scene x", "push": "x owner/name"}
GIVEN |= {"pull": "owner/name", "decode-latents": "x --autoencoder x", **dict.fromkeys(SOURCES.split(), "x")}
"""What commands need besides an output, of which nothing is there."""

FILES = {"orbit": ".mp4", "blend": ".gif", "report": ".md", "contact-sheet": ".png", "export-points": ".ply"}
FILES |= {"export-mesh": ".obj", "render-latents": ".safetensors", "consistency": ".json"}
"""Endings of the files of commands that write one; the others write folders."""

WRITING = [name for name, kind in COMMANDS.items() if "output" in {field.name for field in dataclasses.fields(kind)}]


def refused(capsys, name, output):
    return error_of(capsys, name, *GIVEN.get(name, "").split(), "--output", output)


@pytest.mark.parametrize("name", WRITING)
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(name, tmp_path, capsys, monkeypatch):
    file, ending = tmp_path / "file", FILES.get(name, "")
    file.touch()
    below = file / "deep" / f"out{ending}"
    parts = f"output: expected a place below folders, got {below}, where {file} is none; name another"
    assert refused(capsys, name, below) == f"Error: {parts}\n"
    if ending:
        (tmp_path / f"taken{ending}").mkdir()
        expected = f"output: expected a file, got the folder {tmp_path / 'taken'}{ending}; name "
        assert expected in refused(capsys, name, tmp_path / f"taken{ending}")
        error = refused(capsys, name, "x.txt")
        assert error.startswith("Error: output: expected a .") and ending in error and error.endswith("its ending\n")
    else:
        expected = f"output: expected a folder, or nothing there, got the file {file}; name another"
        assert expected in refused(capsys, name, file)
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != tmp_path)
    error = refused(capsys, name, tmp_path / "new" / f"new{ending}")
    assert error.startswith(f"Error: {tmp_path}: expected a folder that can be written to, got a read-only one; name ")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]


@pytest.mark.parametrize("name", sorted({*WRITING} - {*FILES}))
def test_a_folder_is_not_named_as_a_file(name, tmp_path, capsys):
    """`lns gallery --output x.html` made a folder of that name."""
    output = tmp_path / "x.html"
    expected = f"output: expected a folder, got {output}, named as a file; leave out its ending"
    assert expected in refused(capsys, name, output)
    assert not output.exists()


def test_a_file_beside_the_output_is_refused_by_its_own_name(tmp_path, capsys):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "planes.safetensors"
    said = error_of(capsys, "export-scenes", "x", "--output", tmp_path / "files", "--planes", below)
    assert f"planes: expected a place below folders, got {below}" in said
    said = error_of(capsys, "export-scenes", "x", "--output", tmp_path / "files", "--planes", tmp_path / "planes.png")
    assert "planes: expected a .safetensors file" in said


PLACES = [
    ("none", "out", "none: expected a folder of scenes, got nothing there; check the path"),
    ("scenes", "scenes", "output: expected another folder than that of the photos, got "),
    ("scenes", "scenes/a", "output: expected another folder than that of the photos, got "),
]


@pytest.mark.parametrize("command", ["learn-bundle", "learn-scene-encoder", "fit-scenes"])
@pytest.mark.parametrize(("data", "output", "expected"), PLACES)
def test_photos_that_are_not_there_or_would_be_written_over(tmp_path, capsys, command, data, output, expected):
    write_transforms(tmp_path / "scenes" / "a")
    assert expected in error_of(capsys, command, tmp_path / data, "--output", tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]
    assert sorted(path.name for path in (tmp_path / "scenes" / "a").iterdir()) == ["images", "transforms.json"]
