"""`lns`: help, errors, and what it does with runs."""

import dataclasses
import errno
import json
import re
from unittest.mock import Mock

import pytest
import torch
from official import checkpoints, error_of, evaluated, succeed, train, train_arguments
from tiny import latent_model_of

import latent_nerfstudio as lns
from latent_nerfstudio.cli.main import COMMANDS, main, source_first
from latent_nerfstudio.cli.report import ContactSheet, Report
from latent_nerfstudio.cli.runs import export_scene, scene_config, scene_summary, summary
from latent_nerfstudio.engine.runs import Run, load_pipeline, open_run


def views_of(pipeline, scene: str) -> list[torch.Tensor]:
    """Everything that is rendered of the held-out views of a scene, with the latents."""
    dataset = pipeline.datamanager.eval_dataset
    cameras = dataset.cameras
    chosen = [i for i, path in enumerate(dataset.image_filenames) if f"/{scene}/" in str(path)]
    pipeline.eval()
    outputs = [pipeline.model.get_outputs_for_camera(cameras[i : i + 1], with_latents=True) for i in chosen]
    return [output[name] for output in outputs for name in sorted(output)]


@pytest.fixture(scope="module")
def exported(latent_run, tmp_path_factory):
    """config.yml of the scene red of the latent-triplane run, alone."""
    return export_scene(latent_run, "red", tmp_path_factory.mktemp("exported"))


def test_help_is_quick_and_names_every_command():
    output = succeed("python", "-X", "importtime", "-m", "latent_nerfstudio.cli.main", "--help")
    assert all(name in output for name in COMMANDS)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in output.splitlines() if line.startswith("import time:")}
    assert not {"torch", "numpy", "diffusers", "nerfstudio", "trimesh", "ray"} & loaded
    microseconds = re.findall(r"^import time: +(\d+) \|", output, re.M)
    assert 10_000 < sum(map(int, microseconds)) < 2_000_000


@pytest.mark.parametrize("name", COMMANDS)
def test_one_word_for_one_thing(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    said = capsys.readouterr().out
    words = {field.name for field in dataclasses.fields(COMMANDS[name])}
    assert not words & {"out", "folder", "output_dir", "load_config", "num_workers", "resolution", "files", "half"}
    assert not re.search(r"^[│ ] (PATH|STR)\b", said, re.M)
    assert not re.search(r"^[│ ] (-.* )? +(Of|Also|Without|As|Where|Likewise|In|To|By) ", said, re.M)


def test_the_program_itself_and_its_interruption(capsys, monkeypatch):
    main(["--version"])
    assert capsys.readouterr().out == f"lns {lns.__version__}\n"
    with pytest.raises(SystemExit, match="2"):
        main(["orbti"])
    assert "did you mean orbit?" in capsys.readouterr().err
    assert source_first(["orbit", "--scenes", "a", "--load-config", "RUN", "--views", "2"])[:2] == ["orbit", "RUN"]
    assert source_first(["orbit", "--load-config=RUN"]) == ["orbit", "RUN"]
    assert source_first(["fit-scenes", "--views", "2", "--data", "X"]) == ["fit-scenes", "X", "--views", "2"]
    monkeypatch.setattr("latent_nerfstudio.cli.videos.link_ffmpeg", Mock(side_effect=KeyboardInterrupt))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="130"):
        main(["link-ffmpeg", "--output", "nowhere"])
    assert capsys.readouterr().err == "Interrupted\n"


def test_errors_are_one_line_unless_the_traceback_is_asked_for(tmp_path, capsys, monkeypatch):
    place = tmp_path / "[bold]"
    error = error_of(capsys, "export-scene", "--scene", "x", "--load-config", place)
    assert error.startswith(f"Error: {place}: expected the config.yml of a run, got nothing")
    assert "source: expected the config.yml of at least one run" in error_of(capsys, "report")
    monkeypatch.setenv("LNS_DEBUG", "1")
    with pytest.raises(ValueError, match="source: expected the config.yml of at least one run"):
        main(["report"])


def test_a_full_disk_is_told_in_words(monkeypatch, capsys):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("latent_nerfstudio.cli.videos.link_ffmpeg", Mock(side_effect=full))
    monkeypatch.setenv("PATH", "")
    error = error_of(capsys, "link-ffmpeg", "--output", "nowhere")
    assert error == "Error: the disk: expected room, in bytes and in files, got 'No space left on device'; make room\n"


def test_link_ffmpeg_makes_a_program_that_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    for _ in range(2):
        main(["link-ffmpeg", "--output", str(tmp_path)])
        assert capsys.readouterr().out == f"ffmpeg: {tmp_path / 'ffmpeg'}\n"
    monkeypatch.undo()
    assert (tmp_path / "ffmpeg").exists()


def test_an_exported_scene_renders_the_same_bits_and_is_a_run_of_its_own(latent_run, exported, tmp_path):
    together, alone = load_pipeline(latent_run), load_pipeline(exported)
    assert alone.model.scene_names == ["red"]
    assert torch.equal(alone.model.scene_box.aabb, together.model.scene_box.aabb)
    expected, got = views_of(together, "red"), views_of(alone, "red")
    assert len(got) == len(expected) == 2 * 5
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    (path,) = (exported.parent / "nerfstudio_models").iterdir()
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert state["pipeline"]["_model.nerf.field.micro_planes"].shape[0] == 1
    (whole,) = (latent_run.parent / "nerfstudio_models").iterdir()
    assert path.stat().st_size < whole.stat().st_size / 2
    training = json.loads((exported.parent / "training.json").read_text())
    assert training["scenes"] == ["red"] and training["exported_from"] == latent_run.parent.name
    assert str(latent_run.parents[3]) not in json.dumps(training)
    seconds = torch.load(whole, weights_only=True)["pipeline"]["training_seconds"]
    assert state["pipeline"]["training_seconds"] == seconds / 2 == pytest.approx(training["seconds"], abs=0.01)
    assert "red/psnr" not in evaluated(exported, tmp_path / "eval.json")["results"]


def test_runs_of_files_do_not_name_the_host(latent_run):
    """The training.json of an imported run holds the facts of all scenes."""
    facts = {name: {"seconds": 2.0, "worker": "host-7:99"} for name in ("blue", "red")}
    imported = summary(latent_model_of(), facts)
    assert imported["seconds"] == 4.0 and imported["facts"] == {"blue": {"seconds": 2.0}, "red": {"seconds": 2.0}}
    run = Run(latent_run, open_run(latent_run).config, {"steps": 3, "facts": facts})
    assert scene_summary(run, "red")["facts"] == {"red": {"seconds": 2.0}}


def test_an_exported_scene_can_be_trained_on(exported, random_autoencoder, two_balls, tmp_path):
    more = ["--pipeline.model.autoencoder.source", random_autoencoder]
    more += ["--load-dir", exported.parent / "nerfstudio_models"]
    train(*train_arguments("latent-triplane", two_balls, tmp_path, 14, *more), "scenes", "--scenes", "red")
    assert checkpoints(tmp_path) == ["step-000000013.ckpt"]


def test_export_refuses_what_it_cannot_do_and_leaves_nothing(latent_run, exported, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="scenes: expected scenes of .*, such as red, got 'rad'"):
        export_scene(latent_run, "rad", tmp_path)
    with pytest.raises(FileExistsError, match="expected nothing there, got a run"):
        export_scene(latent_run, "red", exported.parents[3])
    (tmp_path / "config.yml").write_text(latent_run.read_text())
    with pytest.raises(FileNotFoundError, match="expected a checkpoint"):
        export_scene(tmp_path / "config.yml", "red", tmp_path / "out")
    assert not (tmp_path / "out" / "red" / "latent-triplane" / "run").exists()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        export_scene(latent_run, "red", tmp_path / "broken")
    assert [path for path in (tmp_path / "broken").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "broken" / "red" / "latent-triplane" / "run").exists()


def test_an_exported_run_names_its_bundle_and_its_autoencoder_from_the_root(latent_run, tmp_path, monkeypatch):
    """What is no folder stays: `bundled`, a Hub id."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    run = open_run(latent_run)
    model = run.config.pipeline.model
    for source, named in (("run", str(tmp_path / "run")), ("owner/name", "owner/name")):
        model.shared_bundle = model.autoencoder.source = source
        model.scene = "blue"
        exported = scene_config(run, "red", tmp_path / "red" / "method" / "now", {}).pipeline.model
        assert (exported.shared_bundle, exported.autoencoder.source, exported.scene) == (named, named, "")


def test_report_of_two_runs(latent_run, rgb_run, tmp_path, capsys):
    Report((latent_run, rgb_run), output=tmp_path / "deep" / "table.md").main()
    output = capsys.readouterr().out
    table = (tmp_path / "deep" / "table.md").read_text()
    title, _, _, data, command, _, _, _, blue, red, mean, *_ = table.splitlines()
    assert title == "# Report of latent-triplane beside triplane" and data == f"- Data: {open_run(latent_run).data()}"
    assert command.startswith(f"- lns report {latent_run} {rgb_run} --output ")
    assert [row.split("|")[1].strip() for row in (blue, red, mean)] == ["blue", "red", "mean"]
    assert "exact" in mean
    numbers = json.loads((tmp_path / "deep" / "table.json").read_text())["runs"]
    assert [run["method"] for run in numbers] == ["latent-triplane", "triplane"]
    assert numbers[1]["scenes"]["red"]["psnr"] > 20
    training = json.loads((rgb_run.parent / "training.json").read_text())
    assert numbers[1]["mean"]["bytes"] == training["bytes_per_scene"]
    assert numbers[1]["mean"]["seconds"] == training["seconds_per_scene"]
    page = tmp_path / "deep" / "table.html"
    for place in (latent_run, rgb_run, rgb_run.parent / "contact_sheet.png", tmp_path / "deep" / "table.md", page):
        assert str(place) in output
    assert page.read_text().count("data:image/png;base64,") == 3  # costs, and two contact sheets
    assert (tmp_path / "deep" / "table_costs.png").read_bytes().startswith(b"\x89PNG")
    assert "latent-triplane beside triplane: -" in table


def test_report_reads_what_ns_eval_wrote_and_refuses_others(exported, tmp_path, capsys, latent_run):
    results = {"psnr": 21.5, "psnr_std": 1.0, "ssim": 0.75, "lpips": 0.25, "autoencoder_psnr": 30.0, "latent_psnr": 9.0}
    (tmp_path / "eval.json").write_text(json.dumps({"results": results}))
    Report((exported,), eval=(tmp_path / "eval.json",), output=tmp_path / "table.md").main()
    lines = (tmp_path / "table.md").read_text().splitlines()[6:]
    assert lines[0] == "| scene | psnr | ssim | lpips | autoencoder psnr | seconds | bytes |"
    assert lines[2].startswith("| red | 21.50 | 0.750 | 0.250 | 30.00 | ")
    assert "Held-out views" in capsys.readouterr().out
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="bad.json: expected what ns-eval wrote"):
        Report((latent_run,), eval=(tmp_path / "bad.json",)).main()
    with pytest.raises(ValueError, match="entry_seconds: expected one for each of 1 runs, got 2"):
        Report((latent_run,), entry_seconds=(1.0, 2.0)).main()
    with pytest.raises(ValueError, match="entry_seconds: expected seconds from 0 on, got nan"):
        Report((latent_run,), entry_seconds=(float("nan"),)).main()
    with pytest.raises(FileNotFoundError, match="film.mp4: expected a video, .mp4 or .gif, got none"):
        Report((latent_run,), video=(tmp_path / "film.mp4",)).main()


def test_report_opens_all_before_it_evaluates_one(latent_run, tmp_path, monkeypatch):
    monkeypatch.setattr("latent_nerfstudio.reports.report.load_pipeline", Mock(side_effect=AssertionError))
    with pytest.raises(FileNotFoundError, match="mistyped: expected the config.yml of a run"):
        Report((latent_run, tmp_path / "mistyped")).main()


def test_contact_sheet(latent_run, tmp_path, capsys):
    ContactSheet(latent_run, tmp_path / "deep" / "sheet.png", max_scenes=1).main()
    assert (tmp_path / "deep" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "sheet.png" in capsys.readouterr().out
