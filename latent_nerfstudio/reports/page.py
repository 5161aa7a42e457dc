"""The page of `lns report`: one HTML file that holds its pictures, to be sent along or opened anywhere."""

import base64
from html import escape
from pathlib import Path
from typing import List, Sequence, Tuple

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d8dee4; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img, video { max-width: 100%; }
"""


def page(title: str, sections: Sequence[Tuple[str, List[str]]]) -> str:
    """A page of sections, each of a title and HTML."""
    body = [f"<h2>{escape(name)}</h2>\n" + "\n".join(parts) for name, parts in sections if parts]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return (
        f"<!doctype html><html><head>{head}</head><body><h1>{escape(title)}</h1>\n" + "\n".join(body) + "</body></html>"
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"


def html_list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def html_picture(path: Path) -> str:
    """A PNG, GIF or mp4 within the page."""
    content, kind = base64.b64encode(path.read_bytes()).decode(), path.suffix.lower()[1:]
    if kind == "mp4":
        return f'<video controls loop muted playsinline src="data:video/mp4;base64,{content}"></video>'
    text = path.stem.replace("_", " ")
    return f'<figure><img alt="{escape(text)}" src="data:image/{kind};base64,{content}"></figure>'
