"""Which official commands are refused, and in which words: they must be true of every NeRF."""

import pytest

from latent_nerfstudio.cli.main import COMMANDS
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.pipelines.commands import OPENING, PROGRAMS, UNSUPPORTED, refuse_path, refuse_unsupported


@pytest.mark.parametrize("command", sorted(UNSUPPORTED))
def test_the_process_ends_with_one_line_that_names_the_command(command):
    program, subcommand = command.split()
    with pytest.raises(SystemExit) as raised:
        refuse_unsupported([f"/somewhere/bin/{program}", subcommand, "--load-config", "config.yml"])
    line = str(raised.value)
    assert line.startswith(f"{command} is not supported by latent-nerfstudio: ") and "\n" not in line


@pytest.mark.parametrize(
    "arguments",
    [["ns-render"], ["ns-render", "interpolate"], ["ns-export", "cameras"], ["ns-train", "spiral"], ["pytest"], []],
)
def test_other_processes_go_on(arguments):
    assert refuse_unsupported(arguments) is None


@pytest.mark.parametrize(("file", "program"), sorted(PROGRAMS.items()))
def test_programs_are_known_by_their_files(file, program):
    subcommand = {"ns-render": "spiral", "ns-export": "tsdf"}[program]
    with pytest.raises(SystemExit, match=f"^{program} {subcommand} is not supported"):
        refuse_unsupported([file, subcommand])


@pytest.mark.parametrize(
    ("words", "views", "line"),
    [
        ([], {"eval": 1, "train": 9}, "got 1 of --pose-source eval; add --pose-source train, or use camera-path"),
        (["--pose-source", "train"], {"eval": 2, "train": 1}, "got 1 of --pose-source train; add --pose-source eval"),
        (["--pose_source=train"], {"eval": 0, "train": 1}, "got 1 of --pose-source train; use camera-path"),
        (["--pose-source", "train"], {"eval": 0, "train": 2}, None),
        ([], {"eval": 2, "train": 2}, None),
    ],
)
def test_a_path_goes_between_two_views(words, views, line):
    """Nerfstudio's own stacks none, and says `need at least one array to stack`."""
    assert refuse_path(["/bin/ns-render", "dataset", *words], views) is None
    arguments = ["/bin/ns-render", "interpolate", "--load-config", "config.yml", *words]
    if line is None:
        assert refuse_path(arguments, views) is None
        return
    with pytest.raises(SystemExit) as raised:
        refuse_path(arguments, views)
    assert str(raised.value).startswith("ns-render interpolate: expected at least 2 views to go between, ")
    assert line in str(raised.value)


@pytest.mark.parametrize("command", sorted(name for name in UNSUPPORTED if name.startswith("ns-export")))
def test_an_export_that_is_refused_names_one_of_ours(command):
    assert {word for word in COMMANDS if f"{word} " in f"{UNSUPPORTED[command]} "} & {"export-points", "export-mesh"}


@pytest.mark.parametrize("program", sorted(OPENING))
@pytest.mark.parametrize("words", [["--load-config", "moved/config.yml"], ["any", "--load_config=moved/config.yml"]])
def test_a_moved_run_is_opened_where_it_lies(tmp_path, monkeypatch, program, words):
    config = LatentTrainerConfig(output_dir=tmp_path, experiment_name="e", method_name="m", timestamp="t")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [f"/bin/{program}", *words])
    trained = tmp_path / "e" / "m" / "t" / "nerfstudio_models"
    assert config.get_checkpoint_dir() == trained  # nothing lies beside that config.yml: a copy of it alone
    (tmp_path / "moved" / "nerfstudio_models").mkdir(parents=True)
    assert config.get_checkpoint_dir() == tmp_path / "moved" / "nerfstudio_models"
    monkeypatch.setattr("sys.argv", ["/bin/ns-train", "m", *words[-2:]])
    assert config.get_checkpoint_dir() == trained
