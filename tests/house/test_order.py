"""The order of rooms that docs/architecture.md draws: imports run downwards, and never in a circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "latent_nerfstudio"

ORDER = (
    "cli",
    "reports videos gallery hub.packages hub.card",
    "api",
    "method_configs fleet",
    "engine",
    "pipelines scene_files",
    "models photos",
    "scene_encoder",
    "fields data",
    "kernels latent_space meshes",
    "hub pictures names",
    "files",
    "errors",
    "escaping",
)
"""Rooms and modules from the highest down; each imports itself and what is below."""

LEVELS = {name: level for level, names in enumerate(ORDER) for name in names.split()}


def modules():
    """Files by their names within the package, but for its own `__init__`, which offers what is public."""
    paths = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for parts, path in paths.items() if parts != ("__init__",)}


def imports_of(path):
    """Modules of the package that a module imports, within functions and for its types as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("latent_nerfstudio.") for name in found if name.startswith("latent_nerfstudio.")}


@pytest.fixture(scope="module")
def graph():
    files = modules()
    return {name: imports_of(path) & set(files) for name, path in files.items()}


def reached(graph):
    """All that each module leads to."""
    reach = {name: set(targets) for name, targets in graph.items()}
    for middle in graph:  # Warshall, Journal of the ACM 9(1), 1962
        for targets in reach.values():
            if middle in targets:
                targets |= reach[middle]
    return reach


def circles(graph):
    """Sets of modules each of which leads to all others."""
    reach = reached(graph)
    return {frozenset(other for other in reach[name] if name in reach[other]) for name in reach if name in reach[name]}


def level_of(name):
    """The level of a module, or of the room that it is in; None for what is in none, such as the package's version."""
    return LEVELS.get(name, LEVELS.get(name.partition(".")[0]))


def test_no_modules_import_each_other(graph):
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == {frozenset("abc")}
    assert circles(graph) == set()


def test_imports_run_downwards_between_rooms_that_all_have_a_level(graph):
    upwards = []
    for name, targets in graph.items():
        for target in targets - {name}:
            own, other = level_of(name), level_of(target)
            same_room = name.partition(".")[0] == target.partition(".")[0]
            if own is not None and other is not None and not same_room and own >= other:
                upwards.append(f"{name} -> {target}")
    assert upwards == []
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(LEVELS)
