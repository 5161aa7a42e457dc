"""Texts of strangers, made fit for where they are shown: names and values of files may hold commands of a terminal, of
rich's markup, or of Markdown and HTML. Imports nothing of ours."""

import html
import re
from typing import List, Optional, Sequence

MARKDOWN = re.compile(r"[\\`*\[\]|~#]|(?<!\w)_|_(?!\w)")
"""What Markdown takes for more than a letter, within a line or a cell of a table; `_` not within a word."""


def for_terminal(text: object, longest: Optional[int] = None) -> str:
    """A text on one line, with escapes for what is not printable, shortened to a number of letters."""
    letters = str(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in letters[:longest])
    return shown if longest is None or len(letters) <= longest else f"{shown}..."


def for_markup(text: object) -> str:
    """The same for what rich prints with markup, a cell of its tables among it."""
    from rich.markup import escape

    return escape(for_terminal(text))


def for_markdown(text: object) -> str:
    """The same for a line of Markdown, a cell of its tables among it, in which HTML may stand."""
    return MARKDOWN.sub(r"\\\g<0>", html.escape(for_terminal(text), quote=False))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]], rest: str = "---:") -> List[str]:
    """Lines of a table; the columns after the first are numbers, or of another alignment."""
    first, *others = [[for_markdown(cell) for cell in row] for row in (head, *rows)]
    return ["| " + " | ".join(row) + " |" for row in [first, ["---", *(rest for _ in head[1:])], *others]]
