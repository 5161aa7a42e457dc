"""`lns pull`: an autoencoder, a shared bundle or scenes from the Hugging Face Hub into a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from latent_nerfstudio.cli.words import Overwrite
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_folder, check_free


@dataclass
class Pull:
    """Copies an autoencoder, a shared bundle or a set of scenes of the Hugging Face Hub into a folder, verified. What
    takes a source takes a Hub id as well; a folder is for machines without a network."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """Hub id OWNER/NAME or OWNER/NAME@REVISION."""
    output: Path
    """Folder to write."""
    kind: Literal["autoencoder", "bundle", "scenes"] = "bundle"
    """Kind of thing to take."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        from latent_nerfstudio.files.hub import is_hub_id

        if not is_hub_id(self.source):
            raise ValueError(problem("repository", "OWNER/NAME", repr(self.source), "correct the name"))
        from latent_nerfstudio.files.replacing import check_replaceable, replacing_folder
        from latent_nerfstudio.hub.packages import LAYOUT, Package

        check_free([self.output], self.overwrite)
        check_replaceable(self.output, LAYOUT[self.kind])
        package = Package(self.source, self.kind)
        with replacing_folder(self.output, LAYOUT[self.kind]) as writing:
            package.copy_to(writing)
        print(package)
        print(f"Wrote {self.output}")
