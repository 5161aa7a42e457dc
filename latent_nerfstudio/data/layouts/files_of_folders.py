"""Which files lie in folders, by listing each folder once."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

from latent_nerfstudio.names import name_key


class FilesOfFolders:
    """Finds files by the paths of a camera file, relative to a root; absent ones cost no call of the file system."""

    def __init__(self, root: Path):
        self.root = str(root)
        self._names: dict[str, set[str]] = {}
        self._real: dict[str, str] = {}

    def place(self, name: str) -> str:
        """The absolute path of a relative or absolute one, without '..' parts, its folder behind all links."""
        folder, last = os.path.split(os.path.abspath(os.path.join(self.root, name)))
        return os.path.join(self._real_folder(folder), last)

    def find(self, name: str, suffixes: Sequence[str] = ()) -> Optional[Path]:
        """Where a file is: as it is named, or with a suffix behind ('frame.001' has no extension); None if nowhere."""
        folder, last = os.path.split(os.path.join(self.root, name))
        key = name_key(last)
        there = self._names_in(folder)
        found = (suffix for suffix in ("", *suffixes) if key + suffix in there)
        paths = (os.path.join(folder, last + suffix) for suffix in found)
        return next((Path(path) for path in paths if os.path.exists(path) and not os.path.isdir(path)), None)

    def real(self, path: Union[Path, str]) -> str:
        """The path of a file behind all links: one file, one path."""
        folder, name = os.path.split(path)
        real = os.path.join(self._real_folder(folder), name)
        return os.path.realpath(real) if os.path.islink(real) else real

    def _real_folder(self, folder: str) -> str:
        """The path of a folder behind all links."""
        if folder not in self._real:
            try:
                self._real[folder] = os.path.realpath(folder)
            except ValueError:  # a name that no file can have
                self._real[folder] = folder
        return self._real[folder]

    def _names_in(self, folder: str) -> set[str]:
        """The keys of the names in a folder; file systems differ in what they take for one name."""
        if folder not in self._names:
            try:
                self._names[folder] = {name_key(name) for name in os.listdir(folder)}
            except (OSError, ValueError):  # names that no file can have are ValueErrors
                self._names[folder] = set()
        return self._names[folder]
