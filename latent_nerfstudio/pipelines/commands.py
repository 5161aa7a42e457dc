"""Official commands that a run of this package cannot serve, refused in one clear line.

Nerfstudio meets some of them with an assertion that has no words, and others with advice that does not help. It asks
a plugin for nothing before its pipeline, so the pipeline's config, when it is set up, looks at which command this is.
"""

import sys
from pathlib import Path
from typing import Optional, Sequence

PROGRAMS = {"ns-render": "ns-render", "render.py": "ns-render", "ns-export": "ns-export", "exporter.py": "ns-export"}
"""Commands by the name that the process was started with."""

_POINTS = "it needs colours of single rays from Nerfstudio's own data, and a latent only becomes colour in its picture"

UNSUPPORTED = {
    (
        "ns-render",
        "spiral",
    ): "Nerfstudio has it for its own datamanagers alone; use ns-render interpolate or camera-path",
    ("ns-export", "pointcloud"): f"{_POINTS}; use ns-render dataset with --rendered-output-names rgb depth",
    ("ns-export", "poisson"): f"{_POINTS}; use ns-render dataset with --rendered-output-names rgb depth",
    ("ns-export", "tsdf"): f"{_POINTS}; use ns-render dataset with --rendered-output-names rgb depth",
    ("ns-export", "marching-cubes"): "it needs a signed distance field, and NeRFs here have densities",
    (
        "ns-export",
        "gaussian-splat",
    ): "it writes the colours of Splatfacto's own gaussians, and models here have channels instead of colours",
}
"""Why a subcommand does not work, and what does instead."""


def refusal(arguments: Sequence[str]) -> Optional[str]:
    """The line for a process that cannot be served, None for any other.

    Args:
        arguments: program and arguments, as in `sys.argv`.
    """
    if len(arguments) < 2:
        return None
    command = (PROGRAMS.get(Path(arguments[0]).name, ""), arguments[1])
    reason = UNSUPPORTED.get(command)
    return None if reason is None else f"{' '.join(command)} is not supported by latent-nerfstudio: {reason}"


def refuse_unsupported(arguments: Optional[Sequence[str]] = None) -> None:
    """Ends the process with one line on standard error if it is a command that cannot be served."""
    line = refusal(sys.argv if arguments is None else arguments)
    if line is not None:
        raise SystemExit(line)
