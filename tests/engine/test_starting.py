"""What a run does before its first step, and runs that are opened from elsewhere."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import run_config
from tiny import pipeline_config_of, save_kl

import latent_nerfstudio as lns
from latent_nerfstudio.cli.main import main
from latent_nerfstudio.cli.runs import export_scene
from latent_nerfstudio.engine.checkpoints import name_sources
from latent_nerfstudio.engine.options import MachineOptions
from latent_nerfstudio.engine.runs import load_pipeline, open_run
from latent_nerfstudio.engine.starting import (
    check_data,
    check_place,
    make_absolute,
    show_errors_in_one_line,
    take_back,
)
from latent_nerfstudio.models.shared_bundle import FORMER


def config_of(data, source, out=Path("outputs"), steps=2, **settings):
    return run_config(pipeline_config_of(data, source), out, steps, contact_sheet=False, **settings)


def train(config):
    """As ns-train does."""
    config.set_timestamp()
    config.print_to_terminal()
    config.save_config()
    torch.manual_seed(0)
    trainer = config.setup()
    trainer.setup()
    trainer.train()
    return trainer


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture(scope="module")
def place(balls, tmp_path_factory):
    """A folder with a run in outputs that was called there with relative paths."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(balls, folder / "data")
    save_kl(folder / "vae")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(config_of(Path("data"), Path("vae")))
    return folder


@pytest.fixture
def run(place, tmp_path, monkeypatch):
    """The run's folder; the process is elsewhere."""
    monkeypatch.chdir(tmp_path)
    return place / "outputs" / "balls" / "tiny" / "now"


def test_a_run_opens_from_any_folder_and_renders_the_same(run, place, tmp_path, monkeypatch):
    """Without its data, of which rendering needs nothing, and without its summary, where it was broken off."""
    elsewhere = lns.load(run).render("a", lns.orbit(views=1))
    monkeypatch.chdir(place)
    (place / "identity").mkdir()  # which the word stands before
    config = config_of(Path("data"), "identity")
    make_absolute(config)
    model: Any = config.pipeline.model
    assert model.autoencoder.source == "identity"
    assert torch.equal(lns.load(Path("outputs/balls/tiny/now")).render("a", lns.orbit(views=1)).rgb, elsewhere.rgb)
    (place / "data").rename(place / "gone")
    assert torch.equal(lns.load(run).render("a", lns.orbit(views=1)).rgb, elsewhere.rgb)
    (place / "gone").rename(place / "data")
    broken_off = shutil.copytree(run, tmp_path / "run")
    (broken_off / "training.json").unlink()
    assert open_run(broken_off).scenes() == ["a", "b", "c"] and open_run(broken_off).training == {}


def test_a_run_of_what_bundled_was_is_said_to_be_that(balls, tmp_path, capsys):
    """Its config.yml says `bundled`: so it is shown, exported, and gone on with, until the checkpoint is another's."""
    trainer = train(config_of(balls, FORMER, tmp_path))
    path, models = trainer.base_dir / "config.yml", trainer.checkpoint_dir
    path.write_text(path.read_text().replace(FORMER, "bundled"))
    main(["info", str(path)])
    assert f"autoencoder {FORMER}\n" in capsys.readouterr().out
    exported = export_scene(path, "a", tmp_path / "exported")
    resumed = train(config_of(balls, "bundled", tmp_path / "resumed", 3, load_dir=models)).base_dir / "config.yml"
    for written in (exported, resumed):
        assert f"source: {FORMER}\n" in written.read_text()
    config = config_of(balls, "bundled", load_dir=models)
    model: Any = config.pipeline.model
    model.shared_bundle = "bundled"
    name_sources(config, models / "step-000000001.ckpt")
    assert (model.shared_bundle, model.autoencoder.source) == (FORMER, "bundled")
    (models / "step-000000001.ckpt").write_bytes(b"no checkpoint")
    left: Any = open_run(path).config.pipeline.model
    assert left.autoencoder.source == "bundled"


@pytest.mark.parametrize(
    ("source", "bundle", "words"),
    [
        ("bundled-f8", None, "bundled-f8: expected one that ships"),
        ("bundeld", None, "autoencoder source: expected .*, got 'bundeld', nothing there; did you mean bundled?"),
        ("identity", "bundled-car", "shared bundle: expected .*, got 'bundled-car', nothing .* mean bundled-cars?"),
    ],
)
def test_sources_that_are_refused_leave_nothing_behind(balls, tmp_path, source, bundle, words):
    config = config_of(balls, source, tmp_path / "out")
    model: Any = config.pipeline.model
    model.shared_bundle = bundle
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        train(config)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: expected a scene with .*, got an empty folder"):
        train(config_of(tmp_path / "empty", "identity", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_num_iterations": 0}, "max_num_iterations: expected a finite number of at least 1, got 0; .* --max"),
        ({"steps_per_save": -1}, "steps_per_save: expected .* of at least 0, got -1; "),
        ({"steps_per_pictures": -2}, "steps_per_pictures: expected .* of at least 0, got -2; "),
        ({"machine": MachineOptions(seed=-1)}, r"machine.seed: expected 0 to 2\^32 - 1, got -1; give another"),
        ({"gradient_accumulation_steps": {"planes": 0}}, "gradient_accumulation_steps: .* got planes 0; correct"),
        ({"gradient_accumulation_steps": {"wings": 2}}, "expected 1 or more of planes, .*, decoder, got wings 2; "),
        ({"load_step": 3}, "load_step: expected a folder of checkpoints .*, got no --load-dir; give --load-dir"),
    ],
)
def test_numbers_of_a_run_are_refused_before_anything_is_written(balls, tmp_path, settings, words):
    config = config_of(balls, "identity", tmp_path / "out")
    for name, value in settings.items():
        setattr(config, name, value)
    with pytest.raises(ValueError, match=words):
        train(config)
    assert not (tmp_path / "out").exists()


def test_a_run_that_cannot_begin_leaves_no_folder(balls, tmp_path):
    """What fails takes its folder back, where that is the run's own and holds no other, and writes no config.yml."""
    out, run = tmp_path / "out", tmp_path / "out" / "balls" / "tiny" / "now"

    def fails(words, **settings):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            train(config_of(balls, "identity", out, **settings))

    checkpoints = tmp_path / "run" / "nerfstudio_models"
    checkpoints.mkdir(parents=True)
    fails(f"{checkpoints.parent}: expected a checkpoint .*, got none; name {checkpoints}", load_dir=checkpoints.parent)
    assert not out.exists()
    run.mkdir(parents=True)
    fails("got none; leave out --load-dir", load_dir=checkpoints)
    assert list(run.iterdir()) == []
    shutil.rmtree(out / "balls")
    (out / "balls" / "other").mkdir(parents=True)
    config = config_of(balls, "identity", out)
    config.pipeline.datamanager.images_per_batch = 0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="images_per_batch: expected at least 1, got 0"):
        train(config)
    assert [path.name for path in (out / "balls").iterdir()] == ["other"]
    taken = tmp_path / "taken"
    (taken / "cameras").mkdir(parents=True)
    for name in ("config.yml", "cameras/training.safetensors", "events.out.tfevents.7", "notes.txt"):
        (taken / name).touch()
    take_back(taken, tmp_path)
    assert (taken / "config.yml").exists()  # what else lies there is not ours
    (taken / "notes.txt").unlink()
    take_back(taken, tmp_path)
    assert not taken.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_decoder": False}, "checkpoint: expected optimizers of .*mlp, got others .*decoder.*; resume"),
        ({"enlarge": 2}, "checkpoint: expected pictures that are enlarged 1 times, got 2; give .* 1, or write"),
    ],
)
def test_a_run_is_resumed_with_what_it_was_trained_with(run, place, tmp_path, change, words):
    config = config_of(place / "data", place / "vae", tmp_path, steps=4, load_dir=run / "nerfstudio_models")
    pipeline: Any = config.pipeline
    for name, value in change.items():
        setattr(pipeline if hasattr(pipeline, name) else pipeline.model.autoencoder, name, value)
    with pytest.raises(ValueError, match=words):
        train(config)


def test_what_cannot_go_on_leaves_the_config_and_what_goes_on_no_summary_of_before(place, tmp_path):
    """In the run's own folder: that of before opened it, and the summary is that of the newest checkpoint."""
    shutil.copytree(place / "outputs", tmp_path / "outputs")
    folder = tmp_path / "outputs" / "balls" / "tiny" / "now"
    before = (folder / "config.yml").read_text()
    settings: Any = {"steps": 4, "load_dir": folder / "nerfstudio_models"}
    config: Any = config_of(place / "data", place / "vae", tmp_path / "outputs", **settings)
    config.pipeline.train_decoder = False
    with pytest.raises(ValueError, match="expected optimizers of"):
        train(config)
    assert (folder / "config.yml").read_text() == before and open_run(folder).training["steps"] == 2
    config = config_of(place / "data", place / "vae", tmp_path / "outputs", **settings)
    trainer = config.setup()
    trainer.setup()
    with trainer.resources:
        trainer.save_checkpoint(2)
    run = open_run(folder)
    assert run.config.max_num_iterations == 4 and run.latest_checkpoint().name == "step-000000002.ckpt"
    assert run.training == {}


def test_scenes_keep_their_rows_or_are_refused(run, place):
    """A folder that is renamed moves the rows of those behind it: each would be shown by the planes of the next."""
    data = place / "data"
    assert load_pipeline(run).model.scene_names == ["a", "b", "c"]
    (data / "c").rename(data / "d")
    try:
        with pytest.warns(UserWarning, match=r"checkpoint: its scenes had other names: d \(trained as c\)"):
            load_pipeline(run)
        (data / "a").rename(data / "e")
        with pytest.raises(ValueError, match="checkpoint: expected the scenes a, b, c, got b, d, e; restore"):
            load_pipeline(run)
        assert lns.load(run).names == ["a", "b", "c"]  # which needs no data
        (data / "e").rename(data / "a")
    finally:
        (data / "d").rename(data / "c")


def test_a_run_is_not_written_over(run, place):
    again = config_of(place / "data", place / "vae", place / "outputs", steps=1)
    with pytest.raises(FileExistsError, match=r"without checkpoints, got a run of 2 steps; .*--load-dir"):
        check_place(again)
    with pytest.raises(FileExistsError):
        again.setup()
    again.load_dir = run / "nerfstudio_models"
    check_place(again)
    again.load_step = 0  # older than what is there
    with pytest.raises(FileExistsError):
        check_place(again)
    assert [path.name for path in again.load_dir.iterdir()] == ["step-000000001.ckpt"]


def test_a_resumed_run_goes_on_with_its_own_data(run, place, balls, tmp_path):
    shutil.copytree(balls, tmp_path / "data")
    other = config_of(Path("data"), place / "vae", steps=4, load_dir=run / "nerfstudio_models")
    make_absolute(other)
    with pytest.raises(ValueError, match=f"data: expected {place}/data, .* got {tmp_path}/data"):
        check_data(other)
    check_data(config_of(place / "data", place / "vae", steps=4, load_dir=run / "nerfstudio_models"))


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (
            RuntimeError("[enforce fail] can't allocate memory: you tried to allocate 1200 bytes. Error code 12"),
            "Error: memory: expected room on the host, got 1,200 bytes asked for at once; lower nerf.field.resolution, "
            "rays-per-batch or images-per-batch\n",
        ),
        (ValueError("a: expected 1, got 2; do it"), "Error: a: expected 1, got 2; do it\n"),
        (OSError(28, "No space left on device", "x/y"), "Error: x/y: expected room, in bytes and in files, got "),
        (ValueError("not enough values"), "ValueError: not enough values\n"),
    ],
)
def test_errors_of_ours_are_one_line(raised, line, monkeypatch, capsys):
    """By the hook that a process calls at its end; of the command itself: `tests/cli/test_official_commands.py`."""
    monkeypatch.setenv("LNS_DEBUG", "0")
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    show_errors_in_one_line()
    sys.excepthook(type(raised), raised, None)
    said = capsys.readouterr().err
    assert said.startswith(line) and len(said.splitlines()) == 1


def test_the_seed_of_the_run_is_that_of_its_batches(balls, tmp_path):
    draws = []
    for seed in (42, 43, 42):
        config = config_of(balls, "identity", tmp_path / str(len(draws)))
        config.machine.seed = seed
        trainer = config.setup()
        trainer.setup()
        trainer.resources.close()
        draws.append(trainer.pipeline.datamanager.next_train(0)[0].origins)
    assert torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[1])


def test_what_ns_train_says_before_training_is_short(balls, tmp_path, capsys):
    config = config_of(balls, "identity", tmp_path)
    config.set_timestamp()
    config.print_to_terminal()
    assert len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(FileNotFoundError, match="nowhere: expected a data folder, got nothing there; check --data"):
        config_of(tmp_path / "nowhere", "identity", tmp_path).print_to_terminal()
    config.machine.num_devices = 2
    with pytest.raises(ValueError, match="num_devices: expected 1, got 2; .*lns fit-scenes --workers"):
        config.print_to_terminal()
