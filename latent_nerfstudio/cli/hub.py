"""`lns push` and `lns pull`: autoencoders, shared bundles and scenes to the Hugging Face Hub, and from it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import tyro

from latent_nerfstudio.cli.words import Overwrite
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import Kind, bars_on_terminals_alone, first_line, is_hub_id, kind_of
from latent_nerfstudio.files.places import check_folder, check_free
from latent_nerfstudio.hub import Notes

if TYPE_CHECKING:
    from latent_nerfstudio.hub.packages import Package


@dataclass
class Push(Notes):
    """Publishes an autoencoder, a shared bundle or a set of scenes on the Hugging Face Hub, with a model card made of
    what was measured. Log in first: `hf auth login`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A run, a bundle's folder, an autoencoder's folder, a folder of scene files, or `bundled`."""
    repository: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """Hub id OWNER/NAME; the repository is made if there is none."""
    kind: Optional[Kind] = None
    """Kind of thing to take of the source; by default what is there: a bundle before an autoencoder before scenes."""
    bundle: Optional[str] = None
    """Shared bundle of scenes: a Hub id or `bundled` is named, one of this machine is published with them."""
    private: bool = False
    """Make a new repository private."""
    branch: Optional[str] = None
    """Branch to push to; by default the main one."""
    message: str = "Push by latent-nerfstudio"
    """Message of the commit."""
    output: Optional[Path] = None
    """Folder to write what would be published into; nothing is then published."""

    def main(self) -> None:
        check_folder(self.output)
        if not is_hub_id(self.repository) or "@" in self.repository:
            raise ValueError(problem("repository", "OWNER/NAME", repr(self.repository), "correct the name"))
        if self.output is not None and self.output.exists():
            raise FileExistsError(problem(self.output, "nothing there", "something", "name another --output"))
        from latent_nerfstudio.files.replacing import replacing_folder
        from latent_nerfstudio.hub.packages import Package, guess_kind

        package = Package(self.source, self.kind or guess_kind(self.source), self.bundle, notes=self)
        package.picture = picture_of(package)
        print(package)
        if self.output is not None:
            with replacing_folder(self.output, "") as writing:
                package.write(writing, self.repository)
            print(f"Wrote what would be published: {self.output}")
        else:
            print(f"Published: {self._publish(package)}")

    def _publish(self, package: "Package") -> str:
        try:
            with bars_on_terminals_alone():
                return package.push_to_hub(self.repository, self.private, self.branch, self.message)
        except ValueError:
            raise
        except Exception as error:  # the client's errors differ by version
            got = f"{type(error).__name__}: {first_line(error)}"
            do = "log in with 'hf auth login', or write it with --output and upload that"
            raise ConnectionError(problem(self.repository, "the Hub to take it", got, do)) from error


def picture_of(package: "Package") -> Optional[bytes]:
    """A picture of some scenes for the card, as in a gallery; None of other kinds, and where no bundle is known."""
    if package.kind != "scenes" or package.bundle is None:
        return None
    from latent_nerfstudio.api.loading import load
    from latent_nerfstudio.gallery.page import SHOWN, sheet
    from latent_nerfstudio.scene_files.scene_file import copy_scene_file
    from latent_nerfstudio.scene_files.sources import files_in

    with tempfile.TemporaryDirectory() as some:
        for file in files_in(package.folder)[:SHOWN]:
            copy_scene_file(file, Path(some) / file.name)
        return sheet(load(some, package.bundle.folder))


@dataclass
class Pull:
    """Copies an autoencoder, a shared bundle or a set of scenes of the Hugging Face Hub into a folder, verified. What
    takes a source takes a Hub id as well; a folder is for machines without a network."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """Hub id OWNER/NAME or OWNER/NAME@REVISION."""
    output: Path
    """Folder to write."""
    kind: Optional[Kind] = None
    """Kind of thing to take; by default what is there: scenes, with their bundle, before a bundle before an
    autoencoder."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        if not is_hub_id(self.source):
            raise ValueError(problem("repository", "OWNER/NAME", repr(self.source), "correct the name"))
        from latent_nerfstudio.files.replacing import check_replaceable, replacing_folder
        from latent_nerfstudio.hub.packages import LAYOUT, Package

        check_free([self.output], self.overwrite)
        kind = self.kind or kind_of(self.source)
        check_replaceable(self.output, LAYOUT[kind])
        package = Package(self.source, kind)
        with replacing_folder(self.output, LAYOUT[kind]) as writing:
            package.copy_to(writing)
        print(package)
        print(f"Wrote {self.output}")
