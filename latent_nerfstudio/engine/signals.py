"""Signals that end a run: noted when they come, obeyed when a step is over."""

import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Sequence

EXIT_CODE = 128
"""And the number of the signal: the exit code of a process that a signal has ended, as shells have it."""


@dataclass
class StopRequest:
    """Which signal has asked this process to end, and when (seconds of the monotonic clock)."""

    number: Optional[int] = None
    time: float = 0.0
    pause: Callable[[], None] = lambda: None
    """From its call on, signals do what they did before."""

    @property
    def exit_code(self) -> int:
        """Of a process that obeys; 0 where nobody has asked."""
        return 0 if self.number is None else EXIT_CODE + self.number

    def take(self, number: int, frame: Any = None) -> None:
        """Notes a signal; a second one ends the process at once."""
        now = time.monotonic()
        if self.number is None:
            self.number, self.time = number, now
            name = signal.Signals(number).name
            os.write(2, f"\n{name}: ending after this step, with a checkpoint; once more to end at once\n".encode())
        elif now - self.time > 1:  # before that, a launcher passes on what the terminal has sent this process already
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def handling(numbers: Sequence[int], take: Callable[[int, Any], None]) -> Iterator[None]:
    """Passes signals to `take` within the block, in the main thread; in others they do what they did before. Ignored
    signals stay ignored, as in processes that a shell has started in the background."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.getsignal(n) for n in numbers if is_main and signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def stop_request(listens: bool = True) -> Iterator[StopRequest]:
    """Notes signals within the block, unless it does not listen."""
    request = StopRequest()
    with ExitStack() as stack:
        if listens:
            stack.enter_context(handling([signal.SIGINT, signal.SIGTERM], request.take))
        request.pause = stack.close
        yield request


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM leave the block as Ctrl-C does, so that what is open is closed; the exit code is 143."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(EXIT_CODE + number)

    with handling([signal.SIGTERM], leave):
        yield
