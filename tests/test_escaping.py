"""Texts of strangers within a terminal, rich's markup and Markdown."""

import html
import io

import pytest
from rich.console import Console
from rich.table import Table

from latent_nerfstudio.escaping import for_markdown, for_markup, for_terminal

TEXTS = ["plain 0.5", "[red]x[/red]", "[/red]", "a\\b", "\\[x]", "a | b", "<script>", "![x](http://y)", "`x`", "**x**"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_rich_shows_is_the_text(text):
    table, stream = Table(show_header=False, box=None), io.StringIO()
    table.add_row(for_markup(text))
    Console(file=stream, width=60).print(table)
    assert stream.getvalue().strip() == text


@pytest.mark.parametrize("text", TEXTS)
def test_markdown_gets_no_marks_and_no_html(text):
    shown = for_markdown(text)
    assert "<" not in shown and "\n" not in shown
    bare = shown.replace("\\\\", "")
    assert all(bare[i - 1] == "\\" for i, letter in enumerate(bare) if letter in "`*[]|")
    assert html.unescape("".join(shown.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\"))) == text


def test_a_terminal_gets_one_line_without_commands():
    assert for_terminal("a\x1b]0;evil\x07\nb\u202e") == "a\\x1b]0;evil\\x07\\nb\\u202e"
    assert for_terminal("x" * 600, 500) == "x" * 500 + "..."
