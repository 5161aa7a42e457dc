"""`lns contact-sheet`: draws a run's contact sheet again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from latent_nerfstudio.cli.words import RunFolder
from latent_nerfstudio.errors import check_least
from latent_nerfstudio.files.places import check_file


@dataclass
class ContactSheet:
    """Draws one held-out view a scene: photo, render, autoencoder's reconstruction, latents, error and depth."""

    source: RunFolder
    output: Optional[Path] = None
    """PNG file to write; by default contact_sheet.png beside config.yml."""
    max_scenes: int = 8
    """Number of scenes at most, the first by name."""

    def main(self) -> None:
        check_file(self.output, ".png")
        check_least(self, max_scenes=1)
        from latent_nerfstudio.engine.runs import load_pipeline, open_run
        from latent_nerfstudio.engine.summary import SHEET
        from latent_nerfstudio.pipelines.contact_sheet import write_contact_sheet

        path = self.output or open_run(self.source).folder / SHEET
        pipeline = load_pipeline(self.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"Contact sheet: {write_contact_sheet(pipeline, path, self.max_scenes)}")
