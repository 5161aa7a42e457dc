"""Official commands that open runs: which run, and those that cannot be served, refused in one clear line. Nerfstudio
meets some of them with an assertion without words or with advice that does not help, and asks a plugin for nothing
before its pipeline: so the pipeline's config, when it is set up, looks at which command this is."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Mapping, Optional, Sequence

from latent_nerfstudio.errors import problem

PROGRAMS = {"ns-render": "ns-render", "render.py": "ns-render", "ns-export": "ns-export", "exporter.py": "ns-export"}
"""Commands by the name that the process was started with."""

OPENING = {*PROGRAMS, "ns-viewer", "run_viewer.py", "ns-eval", "eval.py"}
"""Names of the processes that open a run by `--load-config`."""

_RAYS = "it needs colours of single rays of Nerfstudio's own data, and a latent only becomes colour in its picture; use"

UNSUPPORTED = {
    "ns-render spiral": "Nerfstudio has it for its own datamanagers alone; use ns-render interpolate or camera-path",
    "ns-export pointcloud": f"{_RAYS} lns export-points",
    **dict.fromkeys(("ns-export poisson", "ns-export tsdf"), f"{_RAYS} lns export-mesh or export-points"),
    "ns-export marching-cubes": "it needs a signed distance field, and NeRFs here have densities; use lns export-mesh",
    "ns-export gaussian-splat": (
        "it writes colours of Splatfacto's own gaussians, and models have channels here; use lns export-points"
    ),
}
"""Why a subcommand does not work, and what does instead."""


def refuse_unsupported(arguments: Sequence[str]) -> None:
    """Ends the process of a program and its arguments with one line if it is a command that cannot be served."""
    command = command_of(arguments)
    if command in UNSUPPORTED:
        raise SystemExit(f"{command} is not supported by latent-nerfstudio: {UNSUPPORTED[command]}")


def command_of(arguments: Sequence[str]) -> str:
    """The program and subcommand of some arguments, without folder and file ending."""
    program, subcommand = (*arguments, "", "")[:2]
    return f"{PROGRAMS.get(Path(program).name)} {subcommand}"


def refuse_path(arguments: Sequence[str], views: Mapping[str, int]) -> None:
    """Ends the process of `ns-render interpolate` with one line if there are fewer than two views to go through."""
    if command_of(arguments) != "ns-render interpolate":
        return
    source = option_of(arguments, "pose-source") or "eval"
    if views.get(source, 2) < 2:
        other = next((name for name, count in views.items() if count > 1), None)
        do = "use camera-path" if other is None else f"add --pose-source {other}, or use camera-path"
        got = f"{views[source]} of --pose-source {source}"
        raise SystemExit(problem("ns-render interpolate", "at least 2 views to go between", got, do))


def opened_folder(arguments: Sequence[str]) -> Optional[Path]:
    """The folder of the config.yml that a program was told to open, absolute; None of programs that open none."""
    if not arguments or Path(arguments[0]).name not in OPENING:
        return None
    config = option_of(arguments, "load-config")
    return None if config is None else Path(config).absolute().parent


def option_of(arguments: Sequence[str], name: str) -> Optional[str]:
    """The value of an option of a command line, None where it is not given."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", f"--{name.replace('-', '_')}", dest="value")
    return parser.parse_known_args(arguments[1:])[0].value
