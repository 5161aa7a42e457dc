"""Writes the shared bundle of a run of `ig-ae` as one that is part of the package, in half precision.

    python scripts/write_bundled.py --run outputs/objects/ig-ae/latest --out latent_nerfstudio/latent_space/bundled

`scripts/train_bundled.sh` holds all that comes before. The model card, README.md, is kept.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from latent_nerfstudio.engine.runs import load_pipeline
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.models.bundle_writing import write_shared_bundle


@dataclass
class WriteBundled:
    """Writes a run's shared bundle as one that is part of the package."""

    run: Path
    """Folder of the run."""
    out: Path
    """Folder to write to."""
    family: str = "objects of any kind"
    """What its scenes are."""

    def main(self) -> None:
        pipeline = load_pipeline(self.run / "config.yml")
        step = json.loads((self.run / "training.json").read_text(encoding="utf-8"))["steps"]
        card = (self.out / "README.md").read_bytes() if (self.out / "README.md").is_file() else b""
        with tempfile.TemporaryDirectory() as temporary:
            facts = {"family": self.family}
            bundle = write_shared_bundle(Path(temporary), pipeline.model, step, facts, torch.float16)
            with replacing_folder(self.out) as folder:
                shutil.copytree(bundle, folder, dirs_exist_ok=True)
                (folder / "README.md").write_bytes(card)


if __name__ == "__main__":
    tyro.cli(WriteBundled).main()
