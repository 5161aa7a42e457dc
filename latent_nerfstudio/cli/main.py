"""`lns`: what there is to do beside the official ns-* commands. Its modules import nothing heavy before they run."""

import difflib
import re
import sys
import warnings
from typing import Annotated, Any, List, NoReturn, Optional, Sequence, Union

import tyro
from rich.console import Console

from latent_nerfstudio import __version__
from latent_nerfstudio.cli.cache import Cache
from latent_nerfstudio.cli.consistency import Consistency
from latent_nerfstudio.cli.export_scenes import ExportScenes, PackScenes
from latent_nerfstudio.cli.fit_scenes import FitScenes
from latent_nerfstudio.cli.gallery import Gallery
from latent_nerfstudio.cli.hub import Pull, Push
from latent_nerfstudio.cli.import_autoencoder import ImportAutoencoder
from latent_nerfstudio.cli.info import Info
from latent_nerfstudio.cli.latents import DecodeLatents, RenderLatents
from latent_nerfstudio.cli.learn import LearnBundle, LearnSceneEncoder
from latent_nerfstudio.cli.making import DemoScenes, ProcessPhotos, RenderMeshes
from latent_nerfstudio.cli.report import ContactSheet, Report
from latent_nerfstudio.cli.runs import ExportScene, ImportScenes
from latent_nerfstudio.cli.surfaces import ExportMesh, ExportPoints
from latent_nerfstudio.cli.videos import Blend, LinkFfmpeg, Orbit
from latent_nerfstudio.cli.words import INTERRUPTED
from latent_nerfstudio.errors import DEBUG_VARIABLE, is_debugging, problem, show_own_warnings_alone
from latent_nerfstudio.escaping import for_markup

KINDS = (
    DemoScenes, RenderMeshes, ProcessPhotos, FitScenes, LearnBundle, LearnSceneEncoder, Gallery, Orbit, Blend, Report,
    ContactSheet, ExportPoints, ExportMesh, ExportScenes, ImportScenes, PackScenes, ExportScene, Push, Pull,
    RenderLatents, DecodeLatents, Consistency, ImportAutoencoder, Info, Cache, LinkFfmpeg,
)  # fmt: skip
COMMANDS = {re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower(): kind for kind in KINDS}
"""Subcommands by name, in the order of the help."""

Command: Any = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())]  # type: ignore[misc]


def main(args: Optional[Sequence[str]] = None) -> None:
    """Scenes to train on, and what can be done with runs; takes the arguments of the process by default."""
    given = source_first(list(sys.argv[1:] if args is None else args))
    if given[:1] == ["--version"]:
        print(f"lns {__version__}")
        return
    check_command(given)
    about = f"Scenes to train on, and what can be done with runs. Version {__version__} (--version)."
    about += f" Set {DEBUG_VARIABLE}=1 for the traceback of an error."
    command = tyro.cli(Command, prog="lns", description=about, args=given)
    try:
        with warnings.catch_warnings():
            show_own_warnings_alone()
            command.main()
    except KeyboardInterrupt:
        stop("[bold]Interrupted[/bold]", INTERRUPTED)
    except (ValueError, OSError, MemoryError) as error:  # of what the user gave, or of a full disk
        if is_debugging():
            raise
        from latent_nerfstudio.files.replacing import full_disk

        stop(f"[bold red]Error:[/bold red] {for_markup(full_disk(error) or error)}", 1)


def source_first(given: List[str]) -> List[str]:
    """Arguments with the value of `--load-config`, as of ns-* commands, or of `fit-scenes --data` as the source."""
    flags = ("--load-config", "--data") if given[:1] == ["fit-scenes"] else ("--load-config",)
    joined = [part for word in given for part in (word.split("=", 1) if word.split("=")[0] in flags else [word])]
    at = next((index for index, word in enumerate(joined[:-1]) if word in flags), None)
    return joined if not at else [joined[0], joined[at + 1], *joined[1:at], *joined[at + 2 :]]


def check_command(given: Sequence[str]) -> None:
    """Ends the program where there is no such subcommand, and names the nearest."""
    if not given or given[0].startswith("-") or given[0] in COMMANDS:
        return
    near = difflib.get_close_matches(given[0], COMMANDS, n=3)
    do = f"did you mean {' or '.join(near)}?" if near else "see lns --help"
    stop(f"[bold red]Error:[/bold red] {for_markup(problem('lns', 'a command', repr(given[0]), do))}", 2)


def stop(text: str, code: int) -> NoReturn:
    """Ends the program with a line on standard error."""
    Console(stderr=True).print(text, soft_wrap=True, highlight=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
