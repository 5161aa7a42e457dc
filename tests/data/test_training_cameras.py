"""The training cameras of a run, beside its config.yml."""

import pytest
import torch
from tiny import camera_of

from latent_nerfstudio.data.training_cameras import FIELDS, read_cameras, write_cameras


def test_cameras_come_back_and_other_files_are_refused(tmp_path):
    cameras = camera_of(24, 32, count=3)
    cameras.metadata = {"scene_index": torch.tensor([[0], [2], [1]])}
    write_cameras(tmp_path / "cameras.safetensors", cameras)
    got = read_cameras(tmp_path / "cameras.safetensors")
    for name in ("camera_to_worlds", *FIELDS):
        ours, theirs = getattr(got, name), getattr(cameras, name)
        assert ours is theirs is None or torch.equal(ours, theirs)
    assert got.metadata is not None and torch.equal(got.metadata["scene_index"], cameras.metadata["scene_index"])
    with pytest.raises(FileNotFoundError):
        read_cameras(tmp_path / "nothing")
    (tmp_path / "text").write_text("x")
    cameras = camera_of(8, 8, count=2)
    cameras.camera_to_worlds[1, 0, 3] = torch.nan
    write_cameras(tmp_path / "nan", cameras)
    for name in ("text", "nan"):
        with pytest.raises(ValueError, match="expected the cameras of a run"):
            read_cameras(tmp_path / name)
