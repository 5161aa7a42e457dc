"""`lns fit-scenes`: fits any number of new scenes against a shared bundle that stays as it is."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional, Tuple, Union

import tyro

from latent_nerfstudio.cli.words import Precision, SceneNames
from latent_nerfstudio.errors import problem
from latent_nerfstudio.threads import choose_threads

if TYPE_CHECKING:
    from latent_nerfstudio.fleet.settings import Inventory
    from latent_nerfstudio.fleet.status import StatusTable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

LEAST = {"workers": 1, "chunk": 1, "steps": 0, "rays_per_scene": 1, "eval_interval": 2, "seed": 0}
LEAST.update(rgb_alignment_start=0, gpus_per_task=0)
"""Smallest values of flags."""


@dataclass
class FitScenes:
    """Fits scenes against a frozen shared bundle (autoencoder, base planes, MLP): one small file a scene, and a table
    of their states. The same call again goes on where the last one ended, and tries failed scenes again. See
    docs/numerous_scenes.md."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Folder of scene folders, or one scene folder; `--data SOURCE` is the same."""
    output: Path
    """Folder for scenes/NAME.safetensors, status.json, settings.json and logs/."""
    bundle: str = "bundled"
    """Shared bundle: `bundled`, a run of ig-ae (folder or config.yml), a bundle's folder, or a Hub id."""
    scenes: SceneNames = ()
    steps: int = 300
    """Steps of each scene in all; 0 writes scenes as the bundle's scene encoder predicts them from their photos."""
    rgb_alignment_start: Optional[int] = None
    """First step of RGB alignment, which decodes renders and fits them to the pictures; None for none."""
    eval_interval: Optional[int] = None
    """Distance n of held-out views 0, n, 2n, ... of scenes without a split of their own; by default 10, and none where
    there are 8 photos or fewer."""
    precision: Precision = "float16"
    workers: Union[int, Literal["ray"]] = 1
    """Processes of this machine, which take its GPUs by turns; or `ray`: the cluster at hand, else one of this
    machine."""
    gpus_per_task: Optional[float] = None
    """GPUs of a Ray task, may be part of one; by default 1 where the cluster has some."""
    shard: Optional[str] = None
    """Part i/n of the scenes, i from 1, for arrays of jobs; the call without it collects them all."""
    device: Optional[Literal["cpu", "cuda"]] = None
    """Device of the fits; by default the GPU, if there is one."""
    chunk: Optional[int] = None
    """Scenes fitted together at most: what a crash costs; by default what memory allows, at most 32."""
    rays_per_scene: int = 256
    """Latent pixels of each scene a step of latent supervision."""
    seed: int = 0
    """Seed of fresh planes and of draws."""
    latent_cache: str = "disk"
    """Place of encoded pictures: `memory`, `disk` (the user's cache folder) or a folder."""

    def main(self) -> None:
        """Fits the scenes and prints their table; exits with 1 if a scene failed, with 130 after Ctrl-C.

        Raises:
            FileNotFoundError: data or bundle are not there.
            ValueError: a value is out of its range, or the output holds scenes of other settings.
            OSError: the output cannot be written.
        """
        choose_threads()  # first: torch reads it when it is imported
        self.check()
        from latent_nerfstudio.engine.signals import exit_on_sigterm
        from latent_nerfstudio.fleet.inventory import fit_inventory
        from latent_nerfstudio.fleet.plan import find_names

        names, table, code = find_names(self.data.expanduser().resolve(), self.scenes), None, 0
        shard = self.part()
        chosen = names if shard is None else names[shard[0] - 1 :: shard[1]]
        options = {"workers": self.workers, "chunk": self.chunk, "gpus_per_task": self.gpus_per_task}
        try:
            with exit_on_sigterm():
                for table in fit_inventory(self.inventory(), chosen, **options):  # type: ignore[arg-type]
                    code = 1 if table.failed() else 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            if table is not None:
                print_table(table, self.output / "scenes")
        if code:
            sys.exit(code)

    def check(self) -> None:
        """Refuses what cannot work, before anything is written or much is imported.

        Raises:
            ValueError: a number out of its range, a part that there is none of, a device or Ray that are not there.
        """
        for name, low in LEAST.items():
            value, flag = getattr(self, name), name.replace("_", "-")
            if isinstance(value, (int, float)) and not value >= low:
                raise ValueError(problem(name, f"at least {low}", value, f"raise --{flag}"))
        start = self.rgb_alignment_start
        if start is not None and start >= self.steps:
            raise ValueError(
                problem("rgb_alignment_start", f"less than the {self.steps} steps", start, "leave it out for none")
            )
        self.part()
        if self.workers == "ray":
            from latent_nerfstudio.fleet.workers import import_ray

            import_ray()
        elif self.gpus_per_task is not None:
            raise ValueError(problem("gpus_per_task", "--workers ray with it", self.workers, "leave it out"))
        if self.device == "cuda" and self.workers != "ray":
            import torch

            if not torch.cuda.is_available():
                raise ValueError(problem("device", "cpu on a machine without CUDA", "cuda", "leave --device out"))

    def part(self) -> Optional[Tuple[int, int]]:
        """Which of how many parts of the scenes is meant; None for all.

        Raises:
            ValueError: there is no such part.
        """
        if self.shard is None:
            return None
        index, _, count = self.shard.partition("/")
        if not (re.fullmatch(r"\d{1,9}/\d{1,9}", self.shard) and 1 <= int(index) <= int(count)):
            raise ValueError(problem("shard", "i/n with i from 1 to n", f"{self.shard!r:.60}", "correct --shard"))
        return int(index), int(count)

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
            device=self.device,
            shard=self.part(),
        )


def print_table(table: "StatusTable", scenes: Path) -> None:
    """Prints the table, a line that sums it up, and where the scenes are."""
    from rich.console import Console

    console = Console()
    console.print(table.drawn())
    for line in (table.summary(), f"Scenes: {scenes.expanduser().resolve()}"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
