"""How the tests call the official commands: in a process of their own, or, where that is enough, in this one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from latent_nerfstudio.cli.main import main

PROGRAMS = Path(sys.executable).parent
"""Where pip puts ns-train, lns and the others."""

SECONDS = 240
"""After this a command is taken for hanging."""


def call(program: str, *arguments: Any, home: Optional[Path] = None, **variables: str) -> subprocess.CompletedProcess:
    """Runs an installed command, which sees a home folder and variables; returns it with both streams as its output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "250", "TERM": "dumb", **variables}
    environment["PATH"] = os.pathsep.join([str(PROGRAMS), environment.get("PATH", "")])
    if home is not None:
        environment["HOME"] = str(home)
        environment = {k: v for k, v in environment.items() if not k.startswith(("XDG_", "HF_HUB_", "TORCH_HOME"))}
    command = [str(PROGRAMS / program), *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "encoding": "utf-8"}
    return subprocess.run(command, **streams, env=environment, timeout=SECONDS)


def succeed(program: str, *arguments: Any, **options: Any) -> str:
    done = call(program, *arguments, **options)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def train_arguments(method: str, data: Path, output: Path, steps: int, *more: Any, is_plane: bool = True) -> List[str]:
    """Arguments of ns-train for a run at output/balls/METHOD/run, of a NeRF of tri-planes or another."""
    planes = ("--pipeline.model.nerf.field.resolution", "16") if is_plane else ()
    return [
        *(method, "--output-dir", str(output), "--experiment-name", "balls", "--timestamp", "run"),
        *("--vis", "tensorboard", "--max-num-iterations", str(steps), "--machine.device-type", "cpu"),
        *("--pipeline.datamanager.rays-per-batch", "512", *planes),
        *("--pipeline.datamanager.latent-cache", "memory", "--data", str(data)),
        *map(str, more),
    ]


def train_config(*arguments: Any) -> Any:
    """What ns-train makes of its arguments."""
    import tyro
    from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion

    return tyro.cli(AnnotatedBaseConfigUnion, args=[str(a) for a in arguments])


def train(*arguments: Any) -> Path:
    """ns-train in this process; returns the run's config.yml."""
    from nerfstudio.scripts.train import main as train_main

    config = train_config(*arguments)
    train_main(config)
    return config.get_base_dir() / "config.yml"


def evaluated(run: Path, output: Path, pictures: Optional[Path] = None) -> Dict[str, Any]:
    """What ns-eval, in this process, writes of a run."""
    from nerfstudio.scripts.eval import ComputePSNR

    ComputePSNR(run, output, pictures).main()
    return json.loads(output.read_text())


def lns(*arguments: Any) -> None:
    """A command of `lns` in this process."""
    main([str(argument) for argument in arguments])


def error_of(capsys: Any, *arguments: Any) -> str:
    """The one line of a command of `lns` that must fail."""
    with pytest.raises(SystemExit, match="1"):
        lns(*arguments)
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def is_open(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something listens on a port of an address of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def checkpoints(output: Path) -> List[str]:
    """Names of all checkpoints below a folder."""
    return sorted(path.name for path in output.rglob("*.ckpt"))
