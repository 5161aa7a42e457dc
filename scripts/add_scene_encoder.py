"""Puts the scene encoder of a run of `lns learn-scene-encoder` into another bundle of the same planes: that of the
package, in half precision, or one with another decoder.

    python scripts/add_scene_encoder.py --run outputs/encoder --bundle bundled
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.models.bundle_encoder import read_scene_encoder, write_scene_encoder
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle

CLOSE = 2e-3
"""Difference that half precision makes, of the largest number."""


@dataclass
class AddSceneEncoder:
    """Replaces a bundle's folder by one with the scene encoder."""

    run: Path
    """Run of lns learn-scene-encoder."""
    bundle: str = "bundled"
    """The bundle that gets it: `bundled` or a folder."""

    def main(self) -> None:
        """Writes the bundle."""
        source, target = read_shared_bundle(str(self.run)), read_shared_bundle(self.bundle)
        encoder = read_scene_encoder(source)
        if encoder is None:
            do = "finish lns learn-scene-encoder"
            raise ValueError(problem(self.run, "a bundle with a scene encoder", "none", do))
        check_same(source, target)
        card = target.folder / "README.md"
        text = card.read_bytes() if card.is_file() else None
        with tempfile.TemporaryDirectory() as temporary:
            facts = source.facts.get("scene_encoder", {})
            written = write_scene_encoder(target, encoder, Path(temporary), facts)
            with replacing_folder(target.folder) as folder:
                shutil.copytree(written, folder, dirs_exist_ok=True)
                if text is not None:
                    (folder / card.name).write_bytes(text)
        print(f"{target.folder}: {read_shared_bundle(str(target.folder)).hash}")


def check_same(source: SharedBundle, target: SharedBundle) -> None:
    """Refuses a bundle whose scenes are rendered by something else than what the encoder learned with."""
    names = [n for n in target.tensors if n.startswith(("field.", "mean_scene_weights", "normalizer."))]
    for name in names:
        ours, theirs = (bundle.tensors.get(name, torch.zeros(0)).float() for bundle in (source, target))
        if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > CLOSE * float(theirs.abs().max()) + 1e-6:
            expected = f"{name} of the bundle that the encoder learned with"
            raise ValueError(problem(target.folder, expected, "another", "learn an encoder for this bundle"))


if __name__ == "__main__":
    tyro.cli(AddSceneEncoder).main()
