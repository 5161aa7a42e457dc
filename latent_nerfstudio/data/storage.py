"""Pictures and latents that do not fit into memory: decoded when they are asked for, or mapped from a file."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Callable, Generic, Iterable, List, Literal, Optional, Tuple, TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from latent_nerfstudio.errors import problem

Storage = Literal["auto", "memory", "stream"]

KEPT_BYTES = 256 << 20
"""Memory of decoded pictures that are kept, most recently used ones first."""

T = TypeVar("T")


class Lazy(Sequence, Generic[T]):
    """A sequence of `count` items, each made when it is asked for."""

    def __init__(self, count: int, make: Callable[[int], T]):
        self.size, self.make = count, make

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> T:  # type: ignore[override]
        if not 0 <= index < self.size:
            raise IndexError(problem("position", f"one below {self.size}", index, "count from 0"))
        return self.make(index)


class Prefetched(Lazy[T]):
    """A lazy sequence that keeps the last `kept` items, and makes several at once in a few threads."""

    def __init__(self, count: int, make: Callable[[int], T], kept: int):
        super().__init__(count, lru_cache(kept)(make))
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="pictures")

    def many(self, indices: Iterable[int]) -> List[T]:
        return list(self.pool.map(self.make, indices))

    def expect(self, indices: Iterable[int]) -> None:
        """Starts making items that will be asked for soon."""
        for index in indices:
            self.pool.submit(self.make, index)


def concatenated(
    parts: Iterable[Shaped[Tensor, "_ _ channels"]], folder: Optional[Path] = None
) -> Tuple[Shaped[Tensor, "pixels channels"], List[Tuple[int, int]]]:
    """The pixels of all pictures, in memory or in a temporary file in `folder`, and the pictures' sizes."""
    sizes: List[Tuple[int, int]] = []

    def rows() -> Iterable[Tensor]:
        for part in parts:
            sizes.append((part.shape[0], part.shape[1]))
            yield part.reshape(-1, part.shape[-1])

    values = torch.cat(list(rows())) if folder is None else _mapped(rows(), folder)
    return values, sizes


def _mapped(rows: Iterable[Shaped[Tensor, "_ channels"]], folder: Path) -> Shaped[Tensor, "pixels channels"]:
    """Rows in an unnamed file that vanishes with the process; written as a stream, which holds no pages in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, prefix="latents-") as file:
        last = torch.zeros(0, 0)
        try:
            for last in rows:
                file.write(last.contiguous().numpy().tobytes())
            file.flush()
        except OSError as error:
            do = "make room, or hold them in memory (--pipeline.datamanager.latent-storage memory)"
            raise OSError(problem(folder, "room for a file of streamed latents", f"'{error}'", do)) from error
        # Copy on write, of which nothing is copied as nothing is written: torch warns of read-only arrays.
        array = np.memmap(file, dtype=last.numpy().dtype, mode="c").reshape(-1, last.shape[1])
    return torch.from_numpy(array)


def must_stream(wanted: Storage, needed: int, free: int) -> bool:
    """Whether data are streamed; with `auto`, if the bytes that they need are more than 60 % of the free ones."""
    return wanted == "stream" or (wanted == "auto" and needed > 0.6 * free)


def free_host_bytes() -> int:
    """Memory of the host that programs may still take, bytes; of a container's limit where there is one."""
    import psutil

    free = psutil.virtual_memory().available
    for limit, used in CGROUP_FILES:
        if limit.is_file() and used.is_file() and limit.read_text().strip().isdigit():
            free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(0, free)


CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (
    (CGROUP / "memory.max", CGROUP / "memory.current"),
    (CGROUP / "memory/memory.limit_in_bytes", CGROUP / "memory/memory.usage_in_bytes"),
)
"""Where Linux keeps the limit and the use of a container's memory, versions 2 and 1."""
