"""What a machine may lack while a command runs; a test is left out on a machine that cannot lack it."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, ContextManager, Iterator

import pytest

LITTLE = 64
"""Bytes that a file may have on the full disk."""


@contextmanager
def no_ffmpeg(folder: Path) -> Iterator[None]:
    """The program that imageio-ffmpeg is told to take is not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEIO_FFMPEG_EXE", str(folder / "ffmpeg"))
        yield


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """No file can grow."""
    import tiny  # which imports torch, and the page of bad input needs none

    with tiny.full_disk(LITTLE):
        yield


@contextmanager
def no_cuda(folder: Path) -> Iterator[None]:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    yield


def without(name: str) -> Callable[[Path], ContextManager[None]]:
    """A package that is not installed."""

    @contextmanager
    def around(folder: Path) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for module in (name, *(module for module in sys.modules if module.startswith(f"{name}."))):
                patch.setitem(sys.modules, module, None)
            yield

    return around
