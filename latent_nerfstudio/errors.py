"""The one form in which errors are worded, and which warnings are shown. Imports nothing heavy."""

import math
import operator
import os
import sys
import warnings
from typing import Any, Callable, Optional, Sequence, Union

from latent_nerfstudio.escaping import for_terminal

DEBUG_VARIABLE = "LNS_DEBUG"
"""Environment variable that, when set to anything but 0, shows the traceback of an error."""

LONGEST = 500
"""Letters of each part of an error at most: names and values of strangers' files may be of any length."""

MOST_SEED = (1 << 32) - 1
"""NumPy takes no larger one."""


def problem(what: object, expected: str, got: object, do: str) -> str:
    """Words an error in one line, in which terminal commands are spelled out, as `what: expected X, got Y; do Z`: of
    the file, folder or option at fault, with what the user can do in the imperative."""
    parts = (for_terminal(part, LONGEST) for part in (what, expected, got, do))
    return "{}: expected {}, got {}; {}".format(*parts)


def check_least(owner: object, do: str = "raise it", **least: Union[int, float]) -> None:
    """Refuses attributes of an object that are less than `least` says; None is left out."""
    for name, low in least.items():
        value = getattr(owner, name)
        if value is not None and not value >= low:
            raise ValueError(problem(name, f"at least {low}", value, do))


def check_whole(
    what: str, value: Any, low: int, high: Optional[int] = None, do: str = "give another", unit: str = ""
) -> None:
    """Refuses what is no whole number, or none from `low` to `high`; one of NumPy or of torch is one, a bool is not."""
    expected = (f"at least {low}" if high is None else f"{low} to {high}") + unit
    try:
        number = operator.index(value)
    except (TypeError, RuntimeError):
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(problem(what, f"a whole number, {expected}", f"{value!r:.60}", do))
    if number < low or (high is not None and number > high):
        raise ValueError(problem(what, expected, number, do))


def is_number(value: Any) -> bool:
    """Whether something is one finite number; a text is none."""
    try:
        return not isinstance(value, (str, bytes)) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False


def few_of(things: Sequence[Any], most: int = 5, words: Callable[[Any], str] = str) -> str:
    """The first of some things in words, and how many more there are."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(map(words, things[:most])) + more


def in_words(error: OSError, what: object, expected: str, got: str, do: str) -> OSError:
    """An error of the system as one of the same kind, with its number, whose text is that of `problem` alone."""
    worded = type(error)(problem(what, expected, got, do))
    worded.errno = error.errno
    return worded


def is_worded(error: BaseException) -> bool:
    """Whether an error is one of this package about what the user gave, or a disk: its text needs no traceback."""
    parts = str(error).partition(": expected ")[2]
    return isinstance(error, (ValueError, OSError, MemoryError, ArithmeticError)) and ", got " in parts


def reason_of(error: BaseException, what: str, do: str) -> str:
    """Why something has failed, in the form of `problem`: what a worded error says, else its kind and text."""
    if is_worded(error):
        return str(error)
    return problem(what, "to end well", f"{type(error).__name__}: {error}", do)


def is_debugging() -> bool:
    """Whether tracebacks and warnings of other libraries are asked for."""
    return os.environ.get(DEBUG_VARIABLE, "0") != "0"


def show_own_warnings_alone() -> None:
    """From now on shows warnings of this package in one line, and none of other libraries, about their own insides; all
    stay as they are where someone has asked for them, by `LNS_DEBUG` or by Python's own `-W`."""
    if is_debugging() or sys.warnoptions:
        return

    def show(message: Any, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"Warning: {for_terminal(message, LONGEST)}\n")

    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module=r"latent_nerfstudio\b")
    warnings.showwarning = show
