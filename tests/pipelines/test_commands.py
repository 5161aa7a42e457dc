"""Which official commands are refused, and in which words: they must be true of every NeRF."""

import pytest

from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.pipelines.commands import OPENING, PROGRAMS, UNSUPPORTED, refuse_unsupported


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
