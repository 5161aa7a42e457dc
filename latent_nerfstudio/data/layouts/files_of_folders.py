"""Which files lie in folders, by listing each folder once."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Optional, Union

from latent_nerfstudio.names import name_key


class FilesOfFolders:
    """Finds files by the paths of a camera file, relative to a root; absent ones cost no call of the file system."""

    def __init__(self, root: Path):
        self.root = str(root)
        self.real_folder, self.names_in = cache(real_folder), cache(names_in)

    def place(self, name: str) -> str:
        """The absolute path of a relative or absolute one, without '..' parts, its folder behind all links."""
        folder, last = os.path.split(os.path.abspath(os.path.join(self.root, name)))
        return os.path.join(self.real_folder(folder), last)

    def find(self, name: str, suffixes: Sequence[str] = ()) -> Optional[Path]:
        """Where a file is: as it is named, or with a suffix behind ('frame.001' has no extension); None if nowhere."""
        folder, last = os.path.split(os.path.join(self.root, name))
        key = name_key(last)
        there = self.names_in(folder)
        found = (suffix for suffix in ("", *suffixes) if key + suffix in there)
        paths = (os.path.join(folder, last + suffix) for suffix in found)
        return next((Path(path) for path in paths if os.path.exists(path) and not os.path.isdir(path)), None)

    def real(self, path: Union[Path, str]) -> str:
        """The path of a file behind all links: one file, one path."""
        folder, name = os.path.split(path)
        real = os.path.join(self.real_folder(folder), name)
        return os.path.realpath(real) if os.path.islink(real) else real


def real_folder(folder: str) -> str:
    """The path of a folder behind all links."""
    try:
        return os.path.realpath(folder)
    except ValueError:  # a name that no file can have
        return folder


def names_in(folder: str) -> set[str]:
    """The keys of the names in a folder; file systems differ in what they take for one name."""
    try:
        return {name_key(name) for name in os.listdir(folder)}
    except (OSError, ValueError):
        return set()
