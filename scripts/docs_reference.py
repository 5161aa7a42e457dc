"""Pages of the site that are made of the code: commands and methods of their parsers, the API of its docstrings."""

import re
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

MODULES_LEFT_OUT = ("cli",)
"""Rooms whose classes are commands, which have a page of their own."""

BASE_METHOD = "latent-triplane"
"""Method whose options are all listed; of the others, what differs."""

ENTRY_GROUP = "nerfstudio.method_configs"

Option = Tuple[str, str, str]
"""Name, kind of value, and text with the default."""


def command_pages() -> Iterator[Tuple[str, str]]:
    """A page for each command of `lns`, and one that lists them."""
    from latent_nerfstudio.cli.main import Command

    commands = subparsers(parser_of(Command, prog="lns"))
    lines = ["# `lns`: every command", "", "Made of the parsers: what `lns COMMAND --help` prints.", ""]
    lines += [f"- [`lns {name}`](commands/{name}.md): {first_sentence(parser)}" for name, parser in commands.items()]
    yield "reference/commands.md", "\n".join([*lines, ""])
    for name, parser in commands.items():
        page = [f"# `lns {name}`", "", plain(parser.description), "", *table(options(parser)), ""]
        yield f"reference/commands/{name}.md", "\n".join(page)


def method_pages() -> Iterator[Tuple[str, str]]:
    """A page for each method of this package, and one that lists them."""
    methods = own_methods()
    base = {name: rest for name, *rest in options(method_parser(methods[BASE_METHOD]))}
    lines = ["# `ns-train`: every method", "", "Made of the parsers: what `ns-train METHOD --help` prints.", ""]
    lines += [f"- [`{name}`](methods/{name}.md): {method.description}" for name, method in methods.items()]
    yield "reference/methods.md", "\n".join([*lines, ""])
    for name, method in methods.items():
        page = [f"# `ns-train {name}`", "", method.description, ""]
        found = options(method_parser(method))
        if name != BASE_METHOD:
            found = [option for option in found if base.get(option[0]) != list(option[1:])]
            page += [
                f"Options that [`{BASE_METHOD}`]({BASE_METHOD}.md) does not have, or has with another default:",
                "",
            ]
        yield f"reference/methods/{name}.md", "\n".join([*page, *table(found), ""])


def own_methods() -> Dict[str, Any]:
    """The methods of this package by name, those of most use first."""
    from importlib.metadata import entry_points

    entries = [e for e in entry_points(group=ENTRY_GROUP) if e.value.startswith("latent_nerfstudio.")]
    loaded = {entry.name: entry.load() for entry in entries}
    return {name: loaded[name] for name in sorted(loaded, key=lambda name: (name != BASE_METHOD, name))}


def method_parser(method: Any) -> Any:
    """The parser of a method's config, with ns-train's way of saying True and False."""
    import tyro

    kind: Any = type(method.config)
    return parser_of(tyro.conf.SuppressFixed[tyro.conf.FlagConversionOff[kind]], default=method.config)


def parser_of(kind: Any, **settings: Any) -> Any:
    """What tyro makes of a type."""
    import tyro

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tyro.extras.get_parser(kind, **settings)


def subparsers(parser: Any) -> Dict[str, Any]:
    """A parser's commands by name."""
    return next(dict(action.choices) for action in parser._actions if isinstance(action.choices, dict))


def options(parser: Any) -> List[Option]:
    """A parser's options but for --help."""
    found = []
    for action in parser._actions:
        if action.dest == "help" or isinstance(action.choices, dict):
            continue
        name = ", ".join(sorted(action.option_strings, key=len)[:1]) or plain(action.metavar)
        found.append((name, "" if not action.option_strings else plain(action.metavar), plain(action.help)))
    return found


def table(found: List[Option]) -> List[str]:
    """Lines of a table of options."""
    rows = [f"| {code(name)} | {code(kind)} | {cell(text)} |" for name, kind, text in found]
    head = ['<div class="options" markdown>', "", "| option | value | |", "| --- | --- | --- |"]
    return [*head, *rows, "", "</div>"] if rows else ["No options."]


def plain(text: Any) -> str:
    """Help without the colours and line breaks that are meant for terminals."""
    if isinstance(text, (tuple, list)):
        text = " ".join(map(str, text))
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(text or "")).split())


def code(text: str) -> str:
    """Text as code within a cell."""
    return f"`{text}`" if text else ""


def cell(text: str) -> str:
    """Text within a cell, which Markdown must not take for markup."""
    return re.sub(r"(?<!`)([<>*_\[\]$|])", r"\\\1", text)


def first_sentence(parser: Any) -> str:
    """How a command's description begins."""
    return re.split(r"(?<=[.:]) ", plain(parser.description))[0].rstrip(":.") + "."


def api_pages(package: Path) -> Iterator[Tuple[str, str]]:
    """A page for each room of the package, and one that lists them."""
    rooms = sorted(path.parent for path in package.glob("*/__init__.py") if path.parent.name not in MODULES_LEFT_OUT)
    lines = ["# Python API", "", "Made of the docstrings, a page for each room of the package.", ""]
    for room in rooms:
        modules = [path for path in sorted(room.rglob("*.py")) if documented(path)]
        if not modules:
            continue
        lines.append(
            f"- [`{package.name}.{room.name}`](api/{room.name}.md): {', '.join(path.stem for path in modules)}"
        )
        yield f"reference/api/{room.name}.md", room_page(package, room.name, modules)
    yield "reference/api.md", "\n".join([*lines, ""])


def documented(path: Path) -> bool:
    """Whether a module says what it is."""
    return path.name != "__init__.py" and path.read_text(encoding="utf-8").lstrip().startswith('"""')


def room_page(package: Path, room: str, modules: List[Path]) -> str:
    """The page of a room: its modules one after another."""
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in modules]
    sections = [f"::: {name}\n" for name in names]
    return "\n".join([f"# `{package.name}.{room}`", "", *sections])
