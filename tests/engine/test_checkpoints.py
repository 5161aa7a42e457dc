"""Checkpoints: whole or absent, verified before they are loaded, the older ones kept until then."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_trainer import trainer_of
from tiny import full_disk

from latent_nerfstudio.engine.checkpoints import check_checkpoint, checkpoints_of, damage, newest_step, publishing
from latent_nerfstudio.pipelines.saved_state import SEAL, seal, unsealed


def save(folder, step, value=1.0):
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:09d}.ckpt"
    torch.save({"weights": torch.full((5000,), value)}, path)
    return path


def flipped(path, name="data/0"):
    """A bit of a record changes; the archive's directory does not."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        (info,) = [info for info in archive.infolist() if info.filename.endswith(name)]
    data[info.header_offset + 10_000] ^= 1
    path.write_bytes(data)


def packed(path):
    """The same records, deflated, and one that unfolds a thousandfold."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**records, "bomb": bytes(10**7)}.items():
            archive.writestr(name, data)


DAMAGES = {
    "packed": packed,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:9000]),
    "nearly whole": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "a lost block": lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\0" * 4096 + path.read_bytes()[8192:]),
    "a bit": flipped,
}


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_every_damage_is_noticed(kind, tmp_path):
    path = save(tmp_path, 3)
    assert damage(path) == ""
    check_checkpoint(path)
    DAMAGES[kind](path)
    assert damage(path)
    with pytest.raises(ValueError, match=r"step-000000003.ckpt: expected a whole checkpoint, got .*; name an older"):
        check_checkpoint(path)


def test_the_newest_that_verifies_is_taken(tmp_path, capsys):
    paths = [save(tmp_path, step) for step in (5, 90, 400)]
    (tmp_path / "notes.txt").touch()
    assert list(checkpoints_of(tmp_path)) == [400, 90, 5] and newest_step(tmp_path) == 400
    flipped(paths[2])
    assert newest_step(tmp_path) == 90
    printed = capsys.readouterr().out
    assert "step-000000400.ckpt: left out, since it is damaged" in printed and "data/0" in printed
    for path in paths[:2]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="expected a checkpoint that is whole, got step-000000400.ckpt: .*; leave out"):
        newest_step(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint step-XXXXXXXXX.ckpt, got none; leave out"):
        newest_step(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, got nothing there"):
        check_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize("only_latest", [True, False])
def test_others_go_when_the_new_one_has_its_name(only_latest, tmp_path):
    folder = tmp_path / "run" / "models"
    folder.parent.mkdir()
    save(folder, 1)
    with publishing(folder, only_latest) as writing:
        save(writing, 2)
        assert list(checkpoints_of(folder)) == [1] and writing.parent == folder.parent
    assert list(checkpoints_of(folder)) == ([2] if only_latest else [2, 1])
    assert [path.name for path in folder.parent.iterdir()] == ["models"]
    (tmp_path / "disk").mkdir()  # a folder that is a link to another disk
    (tmp_path / "models").symlink_to(tmp_path / "disk")
    with publishing(tmp_path / "models", True) as writing:
        save(writing, 2)
        assert writing.parent == tmp_path.resolve()
    assert list(checkpoints_of(tmp_path / "models")) == [2]


def test_a_full_disk_is_named_and_leaves_the_older_one(balls, tmp_path):
    trainer = trainer_of(balls, "identity", tmp_path, pipeline={"rgb_alignment_start": None})
    trainer.save_checkpoint(1)
    room = pytest.raises(OSError, match="nerfstudio_models: expected room for a checkpoint, got .*; make room")
    with full_disk(4096), room:
        trainer.save_checkpoint(2)
    assert list(checkpoints_of(trainer.checkpoint_dir)) == [1] and not damage(checkpoints_of(trainer.checkpoint_dir)[1])
    left = {path.name for path in trainer.base_dir.iterdir() if "event" not in path.name}
    assert left == {".lock", "cameras", "config.yml", "nerfstudio_models"}


def test_a_run_goes_on_from_the_newest_whole_checkpoint(balls, tmp_path, capsys):
    settings = {"save_only_latest_checkpoint": False, "pipeline": {"rgb_alignment_start": None}}
    first = trainer_of(balls, "identity", tmp_path / "first", **settings)
    for step in (2, 4):
        first.save_checkpoint(step)
    newest = checkpoints_of(first.checkpoint_dir)[4]
    newest.write_bytes(newest.read_bytes()[:-500])
    second = trainer_of(balls, "identity", tmp_path / "second", load_dir=first.checkpoint_dir, **settings)
    assert second._start_step == 3 and second.config.load_step is None
    assert "step-000000004.ckpt: left out, since it is damaged" in capsys.readouterr().out
    for wanted in ({"load_dir": first.checkpoint_dir, "load_step": 4}, {"load_checkpoint": newest}):
        with pytest.raises(ValueError, match="step-000000004.ckpt: expected a whole checkpoint"):
            trainer_of(balls, "identity", tmp_path / "third", **wanted, **settings)
    named = {"load_checkpoint": checkpoints_of(first.checkpoint_dir)[2]}
    assert trainer_of(balls, "identity", tmp_path / "third", **named, **settings)._start_step == 3


def test_a_second_run_in_a_folder_is_refused_before_it_writes(balls, tmp_path):
    """Another thread is another writer, as another process is."""
    pipeline = {"rgb_alignment_start": None}
    first = trainer_of(balls, "identity", tmp_path, pipeline=pipeline)
    content = "as it was"
    (first.base_dir / "config.yml").write_text(content)
    words = "tiny/now: expected to be the only one that writes there"
    with ThreadPoolExecutor(1) as thread, pytest.raises(BlockingIOError, match=words):
        thread.submit(trainer_of, balls, "identity", tmp_path, pipeline=pipeline).result()
    assert (first.base_dir / "config.yml").read_text() == content


def test_a_seal_fits_what_was_sealed():
    weights = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(True), "note": "text"}
    state = dict(weights)
    seal(state)
    assert unsealed(state, "here").keys() == weights.keys() and unsealed(weights, "here") == weights
    for name, other in (("a", torch.arange(6.0).view(2, 3)), ("b", torch.tensor(False)), ("c", torch.zeros(1))):
        with pytest.raises(ValueError, match="here: expected the weights that were saved, got others, of a damaged"):
            unsealed({**state, name: other}, "here")


def test_evaluation_refuses_damaged_weights(balls, tmp_path):
    """ns-eval has torch read the file, which does not notice, and hands the weights to the pipeline."""
    trainer = trainer_of(balls, "identity", tmp_path, pipeline={"rgb_alignment_start": None})
    trainer.save_checkpoint(1)
    assert SEAL not in trainer.pipeline.state_dict()
    state = torch.load(trainer.checkpoint_dir / "step-000000001.ckpt", weights_only=True)["pipeline"]
    trainer.pipeline.load_pipeline(state, 1)
    next(value for name, value in state.items() if name.endswith("micro_planes")).view(-1)[0] += 1
    with pytest.raises(ValueError, match="checkpoint of step 1: expected the weights that were saved, got others"):
        trainer.pipeline.load_pipeline(state, 1)
