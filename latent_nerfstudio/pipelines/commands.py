"""Official commands that open runs: which run, and those that cannot be served, refused in one clear line. Nerfstudio
meets some of them with an assertion without words or with advice that does not help, and asks a plugin for nothing
before its pipeline: so the pipeline's config, when it is set up, looks at which command this is."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Optional, Sequence

PROGRAMS = {"ns-render": "ns-render", "render.py": "ns-render", "ns-export": "ns-export", "exporter.py": "ns-export"}
"""Commands by the name that the process was started with."""

OPENING = {*PROGRAMS, "ns-viewer", "run_viewer.py", "ns-eval", "eval.py"}
"""Names of the processes that open a run by `--load-config`."""

_POINTS = (
    "it needs colours of single rays from Nerfstudio's own data, and a latent only becomes colour in its picture; "
    "use ns-render dataset with --rendered-output-names rgb depth"
)

UNSUPPORTED = {
    "ns-render spiral": "Nerfstudio has it for its own datamanagers alone; use ns-render interpolate or camera-path",
    **dict.fromkeys(("ns-export pointcloud", "ns-export poisson", "ns-export tsdf"), _POINTS),
    "ns-export marching-cubes": "it needs a signed distance field, and NeRFs here have densities",
    "ns-export gaussian-splat": "it writes colours of Splatfacto's own gaussians, and models have channels here",
}
"""Why a subcommand does not work, and what does instead."""


def refuse_unsupported(arguments: Sequence[str]) -> None:
    """Ends the process of a program and its arguments with one line if it is a command that cannot be served."""
    program, subcommand = (*arguments, "", "")[:2]
    command = f"{PROGRAMS.get(Path(program).name)} {subcommand}"
    if command in UNSUPPORTED:
        raise SystemExit(f"{command} is not supported by latent-nerfstudio: {UNSUPPORTED[command]}")


def opened_folder(arguments: Sequence[str]) -> Optional[Path]:
    """The folder of the config.yml that a program was told to open, absolute; None of programs that open none."""
    if not arguments or Path(arguments[0]).name not in OPENING:
        return None
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--load-config", "--load_config", type=Path)
    config = parser.parse_known_args(arguments[1:])[0].load_config
    return None if config is None else config.absolute().parent
