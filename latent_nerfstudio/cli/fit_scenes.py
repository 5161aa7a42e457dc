"""`lns fit-scenes`: fits any number of new scenes against a shared bundle that stays as it is."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Optional, Tuple, Union

if TYPE_CHECKING:
    from latent_nerfstudio.fleet.settings import Inventory
    from latent_nerfstudio.fleet.status import StatusTable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass
class FitScenes:
    """Fits scenes against a frozen shared bundle (autoencoder, base planes, MLP): one small file a scene, and a table
    of their states. The same call again goes on where the last one ended, and tries failed scenes again. See
    docs/numerous_scenes.md."""

    data: Path
    """Folder of scene folders, or one scene folder."""
    output: Path
    """Folder for scenes/NAME.safetensors, status.json, settings.json and logs/."""
    bundle: str = "bundled"
    """Shared bundle: `bundled`, a run of ig-ae (folder or config.yml), a bundle's folder, or a Hub id."""
    workers: Union[int, Literal["ray"]] = 1
    """Processes of this machine, which take its GPUs by turns; or `ray`: the cluster at hand, else one of this
    machine."""
    chunk: Optional[int] = None
    """Scenes fitted together at most: what a crash costs; by default what memory allows, at most 32."""
    scenes: Tuple[str, ...] = ()
    """Names of the scenes; by default all."""
    steps: int = 300
    """Steps of each scene in all."""
    rgb_alignment_start: Optional[int] = None
    """First step of RGB alignment, which decodes renders and fits them to the pictures; None for none."""
    rays_per_scene: int = 256
    """Latent pixels of each scene a step of latent supervision."""
    eval_interval: int = 10
    """Where a scene has no split of its own, views 0, n, 2n, ... are held out, and measured."""
    precision: Literal["float16", "float32", "int8"] = "float16"
    """Of the scene files' micro planes."""
    seed: int = 0
    """Of fresh planes and of draws."""
    latent_cache: str = "disk"
    """Where encoded pictures are kept: `memory`, `disk` (the user's cache folder) or a folder."""

    def main(self) -> None:
        """Fits the scenes and prints their table; exits with 1 if a scene failed, with 130 after Ctrl-C.

        Raises:
            FileNotFoundError: data or bundle are not there.
            ValueError: a value is out of its range, or the output holds scenes of other settings.
            OSError: the output cannot be written.
        """
        self.check()
        from latent_nerfstudio.engine.signals import exit_on_sigterm
        from latent_nerfstudio.fleet.inventory import fit_inventory
        from latent_nerfstudio.fleet.plan import find_names

        names = find_names(self.data.expanduser().resolve(), self.scenes)
        table = None
        code = 0
        try:
            with exit_on_sigterm():
                for table in fit_inventory(self.inventory(), names, self.workers, self.chunk):
                    code = 1 if table.failed() else 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            if table is not None:
                print_table(table)
        if code:
            sys.exit(code)

    def check(self) -> None:
        """Refuses numbers that are out of their ranges."""
        least = {"workers": 1, "chunk": 1, "steps": 1, "rays_per_scene": 1, "eval_interval": 2, "seed": 0}
        for name, low in {**least, "rgb_alignment_start": 0}.items():
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not value >= low:
                raise ValueError(f"{name}: expected at least {low}, got {value}; raise --{name.replace('_', '-')}")
        start = self.rgb_alignment_start
        if start is not None and start >= self.steps:
            raise ValueError(
                f"rgb_alignment_start: expected less than the {self.steps} steps, got {start}; leave it out for none"
            )

    def inventory(self) -> "Inventory":
        """The flags as an inventory, with paths that hold on other machines and in other folders."""
        from latent_nerfstudio.fleet.settings import FitSettings, Inventory
        from latent_nerfstudio.method_configs.triplane import latent_triplane
        from latent_nerfstudio.models.shared_bundle import BUNDLED_BUNDLES, read_shared_bundle

        bundle = read_shared_bundle(self.bundle)
        settings = FitSettings(
            bundle=bundle.hash,
            steps=self.steps,
            rgb_alignment_start=self.rgb_alignment_start,
            rays_per_scene=self.rays_per_scene,
            eval_interval=self.eval_interval,
            precision=self.precision,
            seed=self.seed,
        )
        return Inventory(
            data=self.data.expanduser().resolve(),
            output=self.output.expanduser().resolve(),
            bundle=self.bundle if self.bundle in BUNDLED_BUNDLES else str(bundle.folder.resolve()),
            settings=settings,
            method=latent_triplane.config,  # type: ignore[arg-type]
            latent_cache=self.latent_cache,
        )


def print_table(table: "StatusTable") -> None:
    """The table, and a line that sums it up."""
    from rich.console import Console

    console = Console()
    console.print(table.drawn())
    console.print(table.summary(), highlight=False, markup=False, soft_wrap=True)
    console.print(f"Scenes: {table.path.parent / 'scenes'}", highlight=False, markup=False, soft_wrap=True)
