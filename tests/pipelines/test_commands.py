"""Which official commands are refused, and in which words: they must be true of every NeRF."""

import pytest

from latent_nerfstudio.pipelines.commands import PROGRAMS, UNSUPPORTED, refusal, refuse_unsupported

REFUSED = pytest.mark.parametrize("command", sorted(UNSUPPORTED), ids=" ".join)


@REFUSED
def test_one_line_that_names_the_command(command):
    program, subcommand = command
    line = refusal([f"/somewhere/bin/{program}", subcommand, "--load-config", "config.yml"])
    assert line is not None and line.startswith(f"{program} {subcommand} is not supported by latent-nerfstudio: ")
    assert "\n" not in line


@pytest.mark.parametrize(
    "arguments",
    [["ns-render"], ["ns-render", "interpolate"], ["ns-export", "cameras"], ["ns-train", "spiral"], ["pytest"], []],
)
def test_other_processes_go_on(arguments):
    assert refusal(arguments) is None
    refuse_unsupported(arguments)


@pytest.mark.parametrize(("file", "program"), sorted(PROGRAMS.items()))
def test_the_process_ends_with_the_line(file, program):
    subcommand = {"ns-render": "spiral", "ns-export": "tsdf"}[program]
    with pytest.raises(SystemExit, match=f"^{program} {subcommand} is not supported"):
        refuse_unsupported([file, subcommand])
