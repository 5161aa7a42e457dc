"""Where a local worker begins: before anything is imported that warns of its own insides."""

import contextlib
import errno
import signal
from multiprocessing.connection import Connection
from typing import Any, Callable, Optional, Tuple

from latent_nerfstudio.errors import show_own_warnings_alone


def begin(pipe: Connection) -> None:
    """Does until a pipe is closed what the function that comes first makes of the jobs that follow."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    show_own_warnings_alone()
    with contextlib.suppress(EOFError, OSError):
        function = pipe.recv()  # which imports what it is part of
        while True:
            pipe.send(result_of(function, pipe.recv(), pipe))


def result_of(function: Callable, job: Any, pipe: Optional[Connection] = None) -> Tuple[str, Any]:
    """`done` with rows; `lost` with the reason, where another try may do; else the name of a kind of error and the text
    of what was raised, as errors of some kinds cannot be sent."""

    def report(share: float) -> None:
        with contextlib.suppress(OSError):  # who listened was killed; the chunk's files are worth having still
            if pipe is not None:
                pipe.send(("progress", share))

    try:
        return "done", function(job, report)
    except OSError as error:
        return ("OSError", str(error)) if is_lasting(error) else ("lost", f"{type(error).__name__}: {error}")
    except ValueError as error:
        return "ValueError", str(error)
    except Exception as error:
        return "RuntimeError", f"{type(error).__name__}: {error}"


def is_lasting(error: OSError) -> bool:
    """Whether an error of the system will be there for the next chunk as well: a full disk, and not a lost file."""
    return error.errno not in (errno.ENOENT, errno.ESTALE, errno.EINTR, errno.EIO)
