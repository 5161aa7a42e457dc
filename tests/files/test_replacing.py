"""Files and folders that take the place of others: whole or not at all."""

import os
import resource

import pytest

from latent_nerfstudio.files.replacing import moved_away, replacing_file, replacing_folder, settle, standing, write_text


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_takes_the_place_of_another(tmp_path):
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "deep" / "run") as writing:
            (writing / name).write_text(name)
    assert names(tmp_path) == ["deep", "deep/run", "deep/run/new"]
    (tmp_path / "other").mkdir()
    assert os.stat(tmp_path / "deep" / "run").st_mode == os.stat(tmp_path / "other").st_mode


def test_a_failure_leaves_the_old_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("")
    with pytest.raises(OSError, match="disk full"), replacing_folder(tmp_path / "run") as writing:
        (writing / "new").write_text("")
        raise OSError("disk full")
    assert names(tmp_path) == ["run", "run/old"]


def test_a_failure_of_the_last_rename_gives_the_old_folder_its_name_back(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("")
    replace = os.replace

    def broken(source, target):
        if ".writing-" in str(source):
            raise OSError("no rename")
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no rename"), replacing_folder(tmp_path / "run") as writing:
        (writing / "new").write_text("")
    assert names(tmp_path) == ["run", "run/old"]


def test_what_a_crash_left_is_removed_by_the_next_writer_and_what_is_being_written_is_not(tmp_path):
    (tmp_path / ".writing-dead").write_text("half")
    (tmp_path / ".writing-folder").mkdir()
    with replacing_file(tmp_path / "first") as first:
        first.write(b"1")
        with replacing_file(tmp_path / "second") as second:
            second.write(b"2")
        assert len(list(tmp_path.glob(".writing-*"))) == 1
    assert names(tmp_path) == ["first", "second"]


def test_a_folder_that_was_moved_away_is_found_and_gets_its_name_back(tmp_path):
    run = tmp_path / "run"
    moved_away(run).mkdir()
    (moved_away(run) / "old").touch()
    assert standing(run) == moved_away(run)
    settle(run)
    assert standing(run) == run and names(tmp_path) == ["run", "run/old"]
    moved_away(run).mkdir()  # the new one had its name already
    settle(run)
    assert names(tmp_path) == ["run", "run/old"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="file: expected room to write it, got 'File too large'; nothing was left"):
            write_text(path, 10_000 * "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old" and names(tmp_path) == ["file"]
