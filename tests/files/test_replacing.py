"""Files and folders that take the place of others: whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest
from tiny import full_disk

from latent_nerfstudio.files.replacing import (
    appending,
    beside,
    remove_unfinished,
    replacing_file,
    replacing_folder,
    settle,
    sole_writer,
    standing,
    write_text,
)

WRITER = """
import sys
from pathlib import Path
from latent_nerfstudio.files.replacing import replacing_folder, write_text
folder, name = Path(sys.argv[1]), sys.argv[2]
for index in range(25):
    write_text(folder / f"{name}-{index}", name)
    write_text(folder / "common", 1000 * name)
    try:
        with replacing_folder(folder / "folder") as writing:
            (writing / "a").write_text(name)
            (writing / "b").write_text(name)
    except BlockingIOError:
        pass
"""


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_several_processes_lose_nothing_of_each_other_and_mix_nothing(tmp_path):
    (tmp_path / ".writing-dead").write_text("half")
    (tmp_path / ".folder.writing").mkdir()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "pqr"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {f"{n}-{i}" for n in "pqr" for i in range(25)} | {"common", "folder", ".writing-dead"}
    assert (tmp_path / "common").read_text() in {1000 * name for name in "pqr"}
    assert (tmp_path / "folder/a").read_text() == (tmp_path / "folder/b").read_text()
    with sole_writer(tmp_path):
        assert not (tmp_path / ".writing-dead").exists()


def test_a_folder_takes_the_place_of_another(tmp_path):
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "deep" / "run") as writing:
            (writing / name).write_text(name)
    assert names(tmp_path) == ["deep", "deep/run", "deep/run/new"]
    (tmp_path / "other").mkdir()
    assert os.stat(tmp_path / "deep" / "run").st_mode == os.stat(tmp_path / "other").st_mode


def test_links_to_folders_are_followed_and_those_to_files_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "run")
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "link") as writing:
            (writing / name).write_text(name)
    assert names(tmp_path) == ["elsewhere", "elsewhere/run", "elsewhere/run/new", "link"]
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere/run/new")
    write_text(tmp_path / "file", "own")
    assert (tmp_path / "link/new").read_text() == "new" and not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("other", ["notes.txt", "a/notes", "ours.json.bak", "link"])
def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path, other):
    known = r"ours\.json|a/\d+"
    for _ in range(2):
        with replacing_folder(tmp_path / "run", known) as writing:
            (writing / "ours.json").touch()
            (writing / "a").mkdir()
            (writing / "a" / "1").touch()
    if other == "link":
        (tmp_path / "run" / other).symlink_to(tmp_path)
    else:
        (tmp_path / "run" / other).touch()
    with pytest.raises(FileExistsError, match=f"got {other}; move it away"), replacing_folder(tmp_path / "run", known):
        pass
    assert (tmp_path / "run" / other).exists()


def test_a_failure_leaves_the_old_folder(tmp_path, monkeypatch):
    write_text(tmp_path / "run" / "old", "")
    with pytest.raises(OSError, match="disk full"), replacing_folder(tmp_path / "run") as writing:
        (writing / "new").write_text("")
        raise OSError("disk full")
    replace = os.replace

    def broken(source, target):
        if str(source).endswith(".writing"):
            raise OSError("no rename")
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no rename"), replacing_folder(tmp_path / "run") as writing:
        (writing / "new").write_text("")
    assert names(tmp_path) == ["run", "run/old"]


def test_a_folder_that_was_moved_away_is_found_and_gets_its_name_back(tmp_path):
    run = tmp_path / "run"
    write_text(beside(run, "previous") / "old", "")
    assert standing(run) == beside(run, "previous")
    settle(run)
    assert standing(run) == run and names(tmp_path) == ["run", "run/old"]
    beside(run, "previous").mkdir()  # the new one had its name already
    settle(run)
    assert names(tmp_path) == ["run", "run/old"]


def test_only_what_is_old_is_removed_where_no_lock_is_held(tmp_path):
    (tmp_path / ".writing-folder").mkdir()
    os.mkfifo(tmp_path / ".writing-fifo")
    with replacing_file(tmp_path / "file") as stream:
        os.utime(tmp_path / ".writing-fifo", (0, 0))
        os.utime(tmp_path / ".writing-folder", (0, 0))
        remove_unfinished(tmp_path, age=1000.0)
        stream.write(b"new")
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    refused = pytest.raises(OSError, match="file: expected room to write it, got 'File too large'; nothing was")
    with full_disk(4096), refused as caught:
        write_text(path, 10_000 * "new")
    assert caught.value.errno == errno.EFBIG and path.read_text() == "old" and names(tmp_path) == ["file"]


def test_what_is_added_to_is_a_plain_file(tmp_path):
    path = tmp_path / "logs" / "x.log"
    for text in "ab":
        with appending(path) as stream:
            stream.write(text)
    assert path.read_text() == "ab"
    (tmp_path / "link.log").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.log")
    for name in ("link.log", "pipe.log"):
        refused = pytest.raises(OSError, match=f"^{tmp_path / name}: expected a file that can be added to")
        with refused, appending(tmp_path / name):
            pass
    assert path.read_text() == "ab"
