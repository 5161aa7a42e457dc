"""The newcomer's walk: its lines stand in its page, its table goes there, and the first line that fails ends it."""

import http.server
import json
import shlex
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from shell_lines import ROOT, all_lines
from tiny import write_ball

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig

sys.path.insert(0, str(ROOT / "scripts"))
import walk
import walk_viewer

PAGE = ROOT / "docs" / "walk.md"


def test_every_line_stands_in_the_page_in_the_same_words():
    standing = {" ".join(line.words) for line in all_lines() if line.file == "docs/walk.md"}
    for name, step in walk.STEPS.items():
        for line in step.lines:
            assert name == "clone" or " ".join(shlex.split(line)) in standing, line
    lines = [line for step in walk.STEPS.values() for line in step.lines]
    assert [words for words in walk.TOY if not any(words in line for line in lines)] == []


def test_what_cannot_be_walked_is_told_before(tmp_path):
    with pytest.raises(SystemExit, match="step photos: .*transforms.json.*; see .*photos.log"):
        walk.Walk(tmp_path, steps=("photos",), toy=True).main()
    page = tmp_path / "page.md"
    page.write_text("No place.\n", "utf-8")
    with pytest.raises(ValueError, match="page.md: expected lines <!-- times --> and <!-- end of times -->, got none"):
        walk.Walk(tmp_path / "walk", page=page, toy=True).main()
    assert not (tmp_path / "walk").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="clones the repository")
def test_a_toy_walk(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    page = tmp_path / "walk.md"
    page.write_text("Before.\n\n<!-- times -->\nold\n<!-- end of times -->\n\nAfter.\n", "utf-8")
    monkeypatch.setitem(walk.TOY, "make demo", walk.TOY["make demo"].split(" && ")[0])  # without training
    walk.Walk(tmp_path / "walk", steps=("demo", "clone"), page=page, toy=True).main()
    clone = tmp_path / "walk" / walk.CLONE
    assert (clone / "data/demo/mug_0001/transforms.json").is_file() and not (clone / ".venv").exists()
    assert "Wrote 4 scenes of 6" in (tmp_path / "walk/logs/demo.log").read_text("utf-8")
    text = page.read_text("utf-8")
    steps = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")]
    assert [row[0].strip("| ") for row in steps] == ["step", "---", "clone", "demo", "all"]
    assert text.startswith("Before.\n\n<!-- times -->\n\n20") and text.endswith("\n\n<!-- end of times -->\n\nAfter.\n")
    assert "| demo | `make demo` |" in capsys.readouterr().out


def test_the_first_line_that_fails_ends_the_walk(tmp_path, monkeypatch, capsys):
    steps = {"demo": walk.Step(("echo all is well",), place="."), "photos": walk.Step(("true", "exit 3"), place=".")}
    monkeypatch.setattr(walk, "STEPS", {**steps, "export": walk.Step(("touch gone_on",), place=".")})
    page = tmp_path / "page.md"
    page.write_text(before := "<!-- times -->\n<!-- end of times -->\n", "utf-8")
    with pytest.raises(SystemExit, match="step photos: expected `exit 3` to end with 0, got 3; see .*photos.log"):
        walk.Walk(tmp_path, steps=("demo", "photos", "export"), page=page).main()
    assert not (tmp_path / "gone_on").exists() and page.read_text("utf-8") == before
    assert (tmp_path / "logs" / "demo.log").read_text("utf-8") == "$ echo all is well\nall is well\n"
    assert "| photos | `true` |" in capsys.readouterr().out


def test_own_photos_are_read_with_a_box_of_their_silhouettes(tmp_path):
    write_ball(tmp_path / walk.CLONE / "data/demo/car_0000", views=10)
    walk.write_photos(tmp_path)
    folder = tmp_path / walk.CLONE / "data/photos"
    assert {"aabb", "train_filenames"}.isdisjoint(json.loads((folder / "transforms.json").read_text("utf-8")))
    outputs = ScenesDataParserConfig(data=folder).setup().get_dataparser_outputs("train")
    assert [path.name for path in outputs.image_filenames][::8] == ["frame_00002.png", "frame_00010.png"]
    assert 0.55 < float(outputs.scene_box.aabb.abs().max()) < 1.0  # the ball's radius is 0.6


# The viewer


SERVER = "import sys, time; print({said!r}, flush=True); time.sleep({seconds}); sys.exit(7)"


@pytest.fixture
def served(monkeypatch):
    """Port of a page on this machine, which no browser is there to open."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def start(tmp_path):
    """Starts a program that says something, waits, and ends with 7; it is ended in the end."""
    processes = []

    def start(said: str, seconds: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", SERVER.format(said=said, seconds=seconds)]
        with (tmp_path / "log").open("wb") as output:
            processes.append(subprocess.Popen(command, stdout=output, start_new_session=True))
        return processes[-1]

    yield start
    for process in processes:
        walk_viewer.end(process)
        assert process.poll() is not None


def test_the_viewer_is_opened(served, start, tmp_path, capsys):
    process = start(f"http://localhost:{served}\n{walk_viewer.READY}", 600)
    assert walk_viewer.look(process, tmp_path / "log", tmp_path / "viewer.png") == 0
    assert "left out in a browser" in capsys.readouterr().out


def test_a_viewer_that_dies_or_never_serves_is_told(start, tmp_path, monkeypatch):
    assert walk_viewer.look(start("no", 0), tmp_path / "log", tmp_path / "viewer.png") == 7
    monkeypatch.setattr(walk_viewer, "PATIENCE", 0.5)
    with pytest.raises(TimeoutError, match="expected ns-viewer to be ready within 0 s, got none"):
        walk_viewer.look(start("nothing", 600), tmp_path / "log", tmp_path / "viewer.png")


def test_a_render_is_told_from_an_empty_page():
    page = np.full((100, 100, 3), 255.0)
    page[50] = 0.0  # a thin line
    assert not walk_viewer.shows(page)
    page[40:60, 40:60] = (200.0, 30.0, 30.0)
    assert walk_viewer.shows(page)
