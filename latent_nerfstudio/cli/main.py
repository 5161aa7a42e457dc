"""`lns`: what there is to do beside the official ns-* commands.

The subcommands' modules hold dataclasses and import nothing heavy before they run, so that `lns --help` is quick.
"""

import os
import sys
from typing import Annotated, Any, Optional, Sequence, Union

import tyro
from rich.console import Console
from rich.markup import escape

from latent_nerfstudio.cli.blend import Blend
from latent_nerfstudio.cli.consistency import Consistency
from latent_nerfstudio.cli.contact_sheet import ContactSheet
from latent_nerfstudio.cli.decode_latents import DecodeLatents
from latent_nerfstudio.cli.demo_scenes import DemoScenes
from latent_nerfstudio.cli.export_scene import ExportScene
from latent_nerfstudio.cli.export_scenes import ExportScenes
from latent_nerfstudio.cli.fit_scenes import FitScenes
from latent_nerfstudio.cli.import_autoencoder import ImportAutoencoder
from latent_nerfstudio.cli.import_scenes import ImportScenes
from latent_nerfstudio.cli.link_ffmpeg import LinkFfmpeg
from latent_nerfstudio.cli.orbit import Orbit
from latent_nerfstudio.cli.pack_scenes import PackScenes
from latent_nerfstudio.cli.pull import Pull
from latent_nerfstudio.cli.push import Push
from latent_nerfstudio.cli.render_latents import RenderLatents
from latent_nerfstudio.cli.render_meshes import RenderMeshes
from latent_nerfstudio.cli.report import Report

DEBUG_VARIABLE = "LNS_DEBUG"
"""Environment variable that, when set to anything but 0, shows the traceback of an error."""

EXPECTED_ERRORS = (ValueError, OSError, MemoryError)
"""What this package raises where something that the user gave is not as it should be, or a disk is full."""

Command = Union[
    Annotated[DemoScenes, tyro.conf.subcommand("demo-scenes")],
    Annotated[RenderMeshes, tyro.conf.subcommand("render-meshes")],
    Annotated[ExportScene, tyro.conf.subcommand("export-scene")],
    Annotated[ExportScenes, tyro.conf.subcommand("export-scenes")],
    Annotated[ImportScenes, tyro.conf.subcommand("import-scenes")],
    Annotated[PackScenes, tyro.conf.subcommand("pack-scenes")],
    Annotated[FitScenes, tyro.conf.subcommand("fit-scenes")],
    Annotated[Push, tyro.conf.subcommand("push")],
    Annotated[Pull, tyro.conf.subcommand("pull")],
    Annotated[Report, tyro.conf.subcommand("report")],
    Annotated[ContactSheet, tyro.conf.subcommand("contact-sheet")],
    Annotated[Orbit, tyro.conf.subcommand("orbit")],
    Annotated[Blend, tyro.conf.subcommand("blend")],
    Annotated[RenderLatents, tyro.conf.subcommand("render-latents")],
    Annotated[DecodeLatents, tyro.conf.subcommand("decode-latents")],
    Annotated[Consistency, tyro.conf.subcommand("consistency")],
    Annotated[ImportAutoencoder, tyro.conf.subcommand("import-autoencoder")],
    Annotated[LinkFfmpeg, tyro.conf.subcommand("link-ffmpeg")],
]


def main(args: Optional[Sequence[str]] = None) -> None:
    """Scenes to train on, and what can be done with runs.

    Args:
        args: arguments; those of the process by default.
    """
    command: Any = tyro.cli(
        Command,  # type: ignore[arg-type]
        prog="lns",
        description="Scenes to train on, and what can be done with runs. "
        f"Set {DEBUG_VARIABLE}=1 for the traceback of an error.",
        args=args,
    )
    try:
        command.main()
    except EXPECTED_ERRORS as error:
        if os.environ.get(DEBUG_VARIABLE, "0") != "0":
            raise
        Console(stderr=True).print(f"[bold red]Error:[/bold red] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
