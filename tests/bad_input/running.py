"""Runs a command of the table in this process, as its program would, and tells the error that it ends with."""

import ast
import contextlib
import copy
import io
import re
import shlex
from pathlib import Path
from typing import Any, Iterator, List, Tuple

from latent_nerfstudio.cli.main import main

TRACEBACK = "Traceback"
"""Begins what a command says that met an error which nobody expected."""


def error_of(command: str, folder: Path) -> str:
    """What a command that must fail ends with, with FOLDER for its folder: of `lns ...`, of `ns-train METHOD ...` with
    settings of its config, or of an expression in Python of `lns`."""
    run = {"lns": run_lns, "ns-train": run_train}.get(command.split(maxsplit=1)[0], run_python)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        text = run(command.replace("FOLDER", str(folder)))
    return (text if text else said.getvalue()).strip().replace(str(folder), "FOLDER")


def run_lns(command: str) -> str:
    """The message of `lns`; what tyro says of its flags comes by way of standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            main(shlex.split(command)[1:])
        except SystemExit as end:
            assert end.code not in (0, None), f"{command}: expected a failure, and it ended well"
            return plain(errors.getvalue())
        except Exception as error:
            return unexpected(error)
    raise AssertionError(f"{command}: expected a failure, and it ended well")


def plain(text: str) -> str:
    """What `lns` said, without the word in front; of tyro's box the words."""
    if text.startswith("Error: "):
        return text.removeprefix("Error: ")
    return re.sub(r"\s+", " ", re.sub(r"[─│╭╮╰╯]", " ", text)).strip()


def run_train(command: str) -> str:
    """The error of `ns-train`, whose last line it is."""
    from nerfstudio.scripts.train import train_loop
    from nerfstudio.utils import writer

    writer.EVENT_WRITERS.clear()  # those of earlier runs, whose folders are gone
    config = train_config(shlex.split(command)[1:])
    return raised(lambda: train_loop(0, 1, config))


def run_python(command: str) -> str:
    """The error of an expression."""
    import latent_nerfstudio as lns

    return raised(lambda: eval(command, {"lns": lns}))


def raised(call: Any) -> str:
    """The text of what a call raises."""
    try:
        call()
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        return str(error)
    except SystemExit as end:
        return str(end.code)
    except Exception as error:
        return unexpected(error)
    raise AssertionError("expected a failure, and it ended well")


def unexpected(error: Exception) -> str:
    """An error that is not of the kinds that users are meant to see."""
    return f"{TRACEBACK}: {type(error).__name__}: {error}"


def train_config(arguments: List[str]) -> Any:
    """The config of a method with settings; ns-train's own parser takes seconds for each command."""
    from nerfstudio.configs.method_configs import all_methods

    config: Any = copy.deepcopy(all_methods[arguments[0]])
    config.vis, config.machine.device_type, config.max_num_iterations = "tensorboard", "cpu", 2
    config.pipeline.datamanager.latent_cache = "memory"
    for name, value in pairs(arguments[1:]):
        place = config
        names = name.replace("-", "_").split(".")
        for part in names[:-1]:
            place = getattr(place, part)
        assert hasattr(place, names[-1]), f"{name}: no such setting"
        is_path = name.endswith(("data", "dir", "checkpoint", "images"))
        setattr(place, names[-1], Path(value) if is_path else literal(value))
    config.output_dir = Path(config.data or ".").parent / "out"
    if config.data is not None:
        config.pipeline.datamanager.data = config.data
    config.set_timestamp()
    return config


def pairs(arguments: List[str]) -> Iterator[Tuple[str, str]]:
    """Settings and their values; those behind the word `scenes` are the dataparser's."""
    start = arguments.index("scenes") if "scenes" in arguments else len(arguments)
    rest = [*arguments[:start], *arguments[start + 1 :]]
    for index in range(0, len(rest), 2):
        prefix = "pipeline.datamanager.dataparser." if index >= start else ""
        yield prefix + rest[index].removeprefix("--"), rest[index + 1]


def literal(value: str) -> Any:
    """A value of Python, or the text itself."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
