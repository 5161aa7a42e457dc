"""The table of states: its file, its line, what is shown."""

import json
import os

import pytest
from rich.console import Console

from latent_nerfstudio.fleet import status
from latent_nerfstudio.fleet.status import SceneStatus, StatusTable


@pytest.fixture
def table(tmp_path):
    rows = [
        SceneStatus("a", "done", psnr=20.0, ssim=0.9, seconds=1.0, steps=10, bytes=1000, worker="host:1"),
        SceneStatus("b", "done", psnr=30.0, ssim=0.8, seconds=2.0, steps=10, bytes=2000, worker="host:2"),
        SceneStatus("[c]", "failed", "expected a picture, got none"),
        SceneStatus("d", "running", worker="process 7"),
    ]
    table = StatusTable(tmp_path / "[deep]" / "status.json", ["a", "b", "[c]", "d", "e"])
    table.update(rows)
    return table


def text_of(table):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table.drawn())
    return capture.get()


def test_the_file_says_what_is_known(table):
    stored = json.loads(table.path.read_text())
    assert stored["counts"] == {"done": 2, "failed": 1, "running": 1, "waiting": 1}
    assert stored["scenes"][2] == {"name": "[c]", "state": "failed", "reason": "expected a picture, got none"}
    assert [row["name"] for row in stored["scenes"]] == ["a", "b", "[c]", "d", "e"]
    assert [path.name for path in table.path.parent.iterdir()] == ["status.json"]
    assert StatusTable.read(table.path).rows == table.rows


@pytest.mark.parametrize("text", ["[" * 200_000, "{", '{"scenes": [1]}', '{"scenes": {"a": "done"}}', None])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "status.json"
    os.mkfifo(path) if text is None else path.write_text(text)
    with pytest.raises(ValueError, match="status.json.*: expected"):
        StatusTable.read(path)


def test_what_was_running_waits_when_it_is_stopped(table):
    table.stop()
    assert json.loads(table.path.read_text())["counts"] == {"done": 2, "failed": 1, "waiting": 2}
    assert table.rows["d"] == SceneStatus("d")


def test_the_summary_has_means_of_what_is_done(table):
    done = "2 of 5 scenes done (means: PSNR 25.00 dB, 1.5 s, 1,500 bytes a scene)"
    assert table.summary() == f"{done}, 1 failed, 1 running, 1 waiting"
    table.update([SceneStatus("d", "done", seconds=3.0, bytes=3000)])
    assert "(means: PSNR 25.00 dB of 2, 2.0 s, 2,000 bytes a scene)" in table.summary()
    assert StatusTable(table.path, ["a"]).summary() == "0 of 1 scenes done, 1 waiting"


def test_the_table_names_failed_scenes_first(table, monkeypatch):
    lines = text_of(table).splitlines()
    assert "[c]" in lines[3] and "failed" in lines[3] and not any("expected" in line for line in lines)
    assert "20.00" in lines[5] and "0.900" in lines[5] and "1,000" in lines[5] and "host:1" in lines[5]
    monkeypatch.setattr(status, "SHOWN", 2)
    short = text_of(table).replace("\n", "")
    assert all(part in short for part in ("and 3 more in", "[deep]/status.json", "process 7")) and "host:1" not in short


def test_reasons_are_lines_of_their_own_whatever_the_width(table):
    table.update([SceneStatus("b", "done", "its box\x1b leaves out 33%", psnr=30.0), SceneStatus("a", "done")])
    assert table.reasons() == ["[c], failed: expected a picture, got none", "b, doubted: its box\\x1b leaves out 33%"]
    rows = [line.split("│")[1:3] for line in text_of(table).splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["[c]", "failed"], ["d", "running"], ["b", "doubted"], ["a", "done"], ["e", "waiting"]
    ]  # fmt: skip
