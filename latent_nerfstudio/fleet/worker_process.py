"""Where a local worker begins: before anything is imported that warns of its own insides."""

import contextlib
import signal
from multiprocessing.connection import Connection

from latent_nerfstudio.errors import show_own_warnings_alone


def begin(pipe: Connection) -> None:
    """Does until a pipe is closed what the function does that comes first, of the pipe and of what comes with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    show_own_warnings_alone()
    with contextlib.suppress(EOFError, OSError):
        serve, function = pipe.recv()  # which imports what they are part of
        serve(pipe, function)
