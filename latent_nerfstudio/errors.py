"""The one form in which errors are worded. Imports nothing, so that every command can have it at once."""

LONGEST = 500
"""Letters of each part of an error at most: names and values of strangers' files may be of any length."""


def problem(what: object, expected: str, got: object, do: str) -> str:
    """Words an error as `what: expected X, got Y; do Z`.

    Args:
        what: the file, folder or option at fault.
        expected: what should have been there.
        got: what was found.
        do: what the user can do, in the imperative.

    Returns:
        One line of text; what a terminal would take for a command is spelled out.
    """
    parts = (printable(str(part)) for part in (what, expected, got, do))
    return "{}: expected {}, got {}; {}".format(*parts)


def printable(text: str) -> str:
    """A text on one line, shortened, with escapes for what is not printable: names may hold a terminal's commands."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: LONGEST + 1])
    return shown if len(text) <= LONGEST else f"{shown[:LONGEST]}..."
