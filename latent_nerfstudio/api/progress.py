"""A progress bar on standard error, which says nothing where that is no terminal."""

from typing import Iterable, Iterator, Optional, TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: Optional[int] = None) -> Iterator[Item]:
    """The items, with a bar while they are worked on."""
    console = Console(stderr=True)
    if not console.is_terminal or total == 1:
        yield from items
    else:
        yield from track(items, description, total, console=console, transient=True)
