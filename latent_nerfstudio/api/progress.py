"""A progress bar on standard error, which says nothing where that is no terminal."""

from typing import Iterable, Iterator, Optional, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: Optional[int] = None) -> Iterator[Item]:
    """The items, with a bar while they are worked on."""
    yield from items if total == 1 else tqdm(items, description, total, leave=False, disable=None)
