"""`lns cache`: encoded pictures on the disk, their size, and an end to those that nobody has used."""

import time
from dataclasses import dataclass
from typing import Optional


@dataclass
class Cache:
    """Tells how large the cache of encoded pictures is, and removes what is old, which is encoded again when needed."""

    location: str = "disk"
    """Place of the cache: `disk` (the user's cache folder) or a folder, as for --latent-cache."""
    prune: Optional[float] = None
    """Days since the last use from which on files are removed; 0 removes all."""

    def main(self) -> None:
        from latent_nerfstudio.data.latent_cache import cache_folder, cached_files
        from latent_nerfstudio.errors import check_least, problem

        folder = cache_folder(self.location)
        if folder is None:
            raise ValueError(problem("location", "disk or a folder", repr(self.location), "leave it out"))
        if self.location != "disk" and not folder.is_dir():
            raise FileNotFoundError(problem(folder, "a folder of encoded pictures", "no folder", "check --location"))
        check_least(self, "try 30", prune=0)
        sizes = {path: path.stat() for path in cached_files(folder)}
        print(f"{folder}: {len(sizes):,} files, {sum(stat.st_size for stat in sizes.values()):,} bytes")
        if self.prune is not None:
            before = time.time() - 86400 * self.prune
            old = [path for path, stat in sizes.items() if max(stat.st_atime, stat.st_mtime) <= before]
            for path in old:
                path.unlink(missing_ok=True)
            print(f"Removed {len(old):,} files, {sum(sizes[path].st_size for path in old):,} bytes")
