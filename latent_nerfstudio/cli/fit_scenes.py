"""`lns fit-scenes`: fits any number of new scenes against a shared bundle that stays as it is."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from latent_nerfstudio.cli.words import INTERRUPTED, SceneNames
from latent_nerfstudio.fleet.request import FitRequest
from latent_nerfstudio.threads import choose_threads

if TYPE_CHECKING:
    from latent_nerfstudio.fleet.status import StatusTable


@dataclass
class FitScenes(FitRequest):
    """Fits scenes against a frozen shared bundle (autoencoder, base planes, MLP): one small file a scene, and a table
    of their states. The same call again goes on where the last one ended, and tries failed scenes again. See
    docs/numerous_scenes.md."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Folder of scene folders, one scene folder, or its transforms.json; `--data SOURCE` is the same."""
    scenes: SceneNames = ()

    def main(self) -> None:
        """Fits the scenes and prints their table; exits with 1 if a scene failed, with 130 after Ctrl-C."""
        choose_threads()  # first: torch reads it when it is imported
        self.check()
        from latent_nerfstudio.engine.signals import exit_on_sigterm
        from latent_nerfstudio.fleet.inventory import fit_scenes
        from latent_nerfstudio.method_configs.triplane import latent_triplane

        table, code = None, 0
        try:
            with exit_on_sigterm():
                for table in fit_scenes(self, latent_triplane.config):  # type: ignore[arg-type]
                    code = 1 if table.failed() else 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            if table is not None:
                print_table(table, self.output / "scenes")
        if code:
            sys.exit(code)


def print_table(table: "StatusTable", scenes: Path) -> None:
    """Prints the table, why scenes failed or are doubted, a line that sums it up, and where the scenes are."""
    from rich.console import Console

    console = Console()
    console.print(table.drawn())
    for line in (*table.reasons(), table.summary(), f"Scenes: {scenes.expanduser().resolve()}"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
