"""The one form in which errors are worded. Imports nothing heavy, so that every command can have it at once."""

from latent_nerfstudio.escaping import for_terminal

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
    parts = (for_terminal(part, LONGEST) for part in (what, expected, got, do))
    return "{}: expected {}, got {}; {}".format(*parts)
