"""Folders that take the place of others: whole or not at all."""

import os

import pytest

from latent_nerfstudio.scene_files.replacing import replacing_folder


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
