"""`lns pull`: an autoencoder, a shared bundle or scenes from the Hugging Face Hub into a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Pull:
    """Copies an autoencoder, a shared bundle or a set of scenes of the Hugging Face Hub into a folder, verified. What
    takes a source takes a Hub id as well; a folder is for machines without a network."""

    repository: Annotated[str, tyro.conf.Positional]
    """Hub id OWNER/NAME or OWNER/NAME@REVISION."""
    folder: Annotated[Path, tyro.conf.Positional]
    """Folder to write."""
    kind: Literal["autoencoder", "bundle", "scenes"] = "bundle"
    """What to take."""
    overwrite: bool = False
    """Replace a folder that is there."""

    def main(self) -> None:
        """Writes the folder.

        Raises:
            FileExistsError: there is something already.
            FileNotFoundError, PermissionError, ValueError, ConnectionError: see `latent_nerfstudio.hub.resolve`.
        """
        from latent_nerfstudio.hub.resolve import is_hub_id

        if not is_hub_id(self.repository):
            raise ValueError(f"repository: expected OWNER/NAME, got {self.repository!r}; correct the name")
        if self.folder.exists() and not self.overwrite:
            raise FileExistsError(f"{self.folder}: expected nothing there, got something; pass --overwrite")
        from latent_nerfstudio.files.replacing import replacing_folder
        from latent_nerfstudio.hub.packages import Package

        package = Package(self.repository, self.kind)
        with replacing_folder(self.folder) as writing:
            package.copy_to(writing)
        print(f"{package.kind}: " + ", ".join(f"{name} {value}" for name, value in package.facts.items()))
        print(f"Wrote {self.folder}")
