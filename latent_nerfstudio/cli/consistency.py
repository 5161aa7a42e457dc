"""`lns consistency`: how consistent latent spaces are between views, side by side."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Dict, List, Optional, Tuple

import tyro

from latent_nerfstudio.errors import check_least, problem
from latent_nerfstudio.files.places import check_file, check_scenes_there, data_folder

if TYPE_CHECKING:
    from latent_nerfstudio.engine.consistency import Budget, SpaceResult
    from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

COLUMNS = {
    "consistency": ("consistency\ndB", "{:.2f}"),
    "residual_object": ("residual\nobject", "{:.3f}"),
    "residual": ("residual\nall", "{:.3f}"),
    "train_residual_object": ("training\nobject", "{:.3f}"),
    "train_residual": ("training\nall", "{:.3f}"),
    "psnr": ("PSNR", "{:.2f}"),
    "autoencoder_psnr": ("ceiling", "{:.2f}"),
    "gap": ("gap", "{:.2f}"),
}
"""Numbers of the table: title and format of each."""


@dataclass
class Consistency:
    """Measures how consistent latent spaces are between views. A tri-plane is fitted to the latents of each scene, with
    the same budget for every autoencoder, and rendered from held-out views. The residual there is
    sum |E(x) - render|^2 / sum |E(x) - mean|^2 over latent pixels: 0 is perfect, 1 no better than one colour;
    consistency = -10 log10(residual over the object's latent pixels). See docs/consistency.md."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Scene folder, or folder of scene folders."""
    autoencoder: Tuple[str, ...] = ("bundled", "bundled-standard", "identity")
    """Autoencoders: each `bundled`, `bundled-standard`, `identity` (RGB, the reference), a folder in diffusers format,
    a run of ig-ae, or a Hub id."""
    subfolder: Optional[str] = None
    """Subfolder of the folders or Hub repositories, `vae` for instance."""
    steps: int = 200
    """Steps of the fit, for each group of at most 16 scenes."""
    rays_per_scene: int = 512
    """Latent pixels of each scene a step."""
    max_scenes: Optional[int] = None
    """Number of scenes at most, the first by name."""
    seed: int = 0
    """Seed of planes and draws; the same seed gives the same numbers."""
    output: Optional[Path] = None
    """JSON file to write: all numbers, of each scene as well, and the settings."""

    def main(self) -> None:
        check_file(self.output, ".json")
        check_least(self, "leave it out for the default", steps=1, rays_per_scene=1, max_scenes=1, seed=0)
        if not self.autoencoder:
            raise ValueError(problem("autoencoder", "at least one", "none", "name bundled, for instance"))
        check_scenes_there(data_folder(self.source))
        from latent_nerfstudio.engine.consistency import Budget, check_scenes, measure_consistency
        from latent_nerfstudio.files.replacing import write_text
        from latent_nerfstudio.reports.report import print_table

        configs = self.autoencoders()
        factors = [config.setup().downscale_factor for config in configs]  # loads each, so that none fails later
        scenes = check_scenes(self.source, self.max_scenes, factors)
        budget = Budget(self.steps, self.rays_per_scene, self.seed)
        results = [measure_consistency(self.source, scenes, config, budget) for config in configs]
        title = f"Consistency between views, {len(scenes)} scene{'s' if len(scenes) != 1 else ''}, held-out views"
        head = ["autoencoder", "f", "C", "T", *(title for title, _ in COLUMNS.values()), "seconds"]
        print_table(title, head, [table_cells(result) for result in results])
        if self.output is not None:
            settings = self.settings([scene.name for scene in scenes], budget)
            measured = [asdict(result, dict_factory=without_nan) for result in results]
            content = {"settings": settings, "autoencoders": measured}
            write_text(self.output, json.dumps(content, indent=2, allow_nan=False))
            print(f"Numbers: {self.output}")

    def autoencoders(self) -> List["AutoencoderConfig"]:
        from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig, check_not_retired
        from latent_nerfstudio.latent_space.shipped import BUNDLED_FOLDERS

        for source in self.autoencoder:
            check_not_retired(source)
        ours = (*BUNDLED_FOLDERS, "identity")
        return [AutoencoderConfig(source=s, subfolder=None if s in ours else self.subfolder) for s in self.autoencoder]

    def settings(self, scenes: List[str], budget: "Budget") -> Dict[str, Any]:
        """All that decides the numbers."""
        import torch

        from latent_nerfstudio.engine import consistency as engine

        names = ("scenes_at_once", "features", "samples", "total_variation", "learning_rates")
        fixed = {name: getattr(engine, name.upper()) for name in names}
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return {"data": str(self.source), "scenes": scenes, **asdict(budget), **fixed, "device": device}


def table_cells(result: "SpaceResult") -> List[str]:
    from latent_nerfstudio.reports.run_report import EXACT_PSNR

    numbers = asdict(result.together)
    cells = ["-" if math.isnan(numbers[name]) else text.format(numbers[name]) for name, (_, text) in COLUMNS.items()]
    if numbers["autoencoder_psnr"] >= EXACT_PSNR:
        cells[-2:] = ["exact", "-"]  # ceiling and gap
    sizes = [str(size) for size in (result.downscale_factor, result.num_channels, result.resolution)]
    return [result.source, *sizes, *cells, f"{result.seconds:.1f}"]


def without_nan(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """A dictionary with None for NaN, which JSON has not."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in pairs}
