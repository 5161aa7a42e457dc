"""Adds the decoder of rendered latents that a run has learned to the bundle that the run started from.

    ns-train latent-triplane --data data/autoencoder/joint --pipeline.model.shared-bundle bundled \\
        --pipeline.align-scenes False --write-bundle True ...
    python scripts/add_decoder.py --run outputs/decoder/latent-triplane/latest

All else in the bundle stays as it is; its hash becomes another. `scripts/train_bundled.sh` holds the whole command.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

import torch
import tyro
from safetensors.torch import save
from torch import Tensor

from latent_nerfstudio.files.replacing import replacing_file, write_text
from latent_nerfstudio.models.bundle_folder import SETTINGS_FILE, TENSORS_FILE, hash_folder
from latent_nerfstudio.models.shared_bundle import DECODER, SharedBundle, read_shared_bundle


@dataclass
class AddDecoder:
    """Writes a run's decoder into a bundle, in half precision."""

    run: Path
    """Folder of the run, with its shared bundle."""
    bundle: Path = Path("latent_nerfstudio/latent_space/bundled")
    """The bundle that it started from."""
    seconds: Optional[float] = None
    """Seconds that the bundle took to be learned in all, which reports count as entry cost; by default those that its
    facts say, and the run's."""

    def main(self) -> None:
        """Writes the bundle.

        Raises:
            ValueError: the run's bundle differs in more than its decoder, or has none.
        """
        old, new = read_shared_bundle(str(self.bundle)), read_shared_bundle(str(self.run))
        check(old, new)
        tensors = {name: t for name, t in old.tensors.items() if not name.startswith(DECODER)}
        tensors.update({f"{DECODER}{name}": t.to(torch.float16) for name, t in new.decoder.items()})
        write_bundle(self.bundle, tensors, new.facts["seconds"] if self.seconds is None else self.seconds)
        print(
            f"Added {len(new.decoder)} tensors of {self.run}; the bundle is {read_shared_bundle(str(self.bundle)).hash}"
        )


def check(old: SharedBundle, new: SharedBundle) -> None:
    """Refuses a decoder for other latents than the bundle's."""
    if not new.decoder:
        raise ValueError("run: expected one with a decoder of its own, got none; train with align-scenes False")
    for name in ("field.base_planes", "normalizer.mean", "normalizer.std"):
        if not torch.equal(old.tensors[name].float(), new.tensors[name].float()):
            raise ValueError(f"run: expected one that started from {old.folder}, got another {name}; name its bundle")
    if old.autoencoder["encoder_hash"] != new.autoencoder["encoder_hash"]:
        raise ValueError(f"run: expected one that started from {old.folder}, got another encoder; name its bundle")


def write_bundle(folder: Path, tensors: Dict[str, Tensor], seconds: float) -> None:
    """Replaces a bundle's tensors, and states its new hash and how long it took."""
    with replacing_file(folder / TENSORS_FILE) as stream:
        stream.write(save({name: t.contiguous() for name, t in tensors.items()}))
    settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    settings["facts"]["seconds"] = round(seconds, 2)
    settings["hash"] = hash_folder(folder, settings)
    write_text(folder / SETTINGS_FILE, json.dumps(settings, indent=2))


if __name__ == "__main__":
    tyro.cli(AddDecoder).main()
