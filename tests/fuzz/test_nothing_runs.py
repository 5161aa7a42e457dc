"""Nothing that is in a file is run, by reading the code."""

import ast
import functools
from pathlib import Path
from typing import List, Tuple

import latent_nerfstudio

PACKAGE = Path(latent_nerfstudio.__file__).parent

RUNNING = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
"""Modules whose files may run code when they are read."""

LOADER = "engine/config_loader.py"
"""Where config.yml is read, by a loader that calls nothing."""


@functools.cache
def nodes() -> List[Tuple[str, ast.AST]]:
    """Imports and calls of the package, with the file that they are in."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        kinds = (ast.Import, ast.ImportFrom, ast.Call)
        found += [(path.relative_to(PACKAGE).as_posix(), node) for node in tree if isinstance(node, kinds)]
    return found


def name_of(node: ast.expr) -> str:
    """A name, or the last two parts of a dotted one, such as `torch.load`; of another method, `.load`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{node.value.id if isinstance(node.value, ast.Name) else ''}.{node.attr}"
    return ""


def calls(name: str) -> List[Tuple[str, ast.Call]]:
    """Calls of a function by its name, such as `torch.load`."""
    return [(file, node) for file, node in nodes() if isinstance(node, ast.Call) and name_of(node.func) == name]


def test_no_module_that_runs_what_it_reads_is_imported():
    imported = set()
    for _, node in nodes():
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert "torch" in imported
    assert not imported & RUNNING


def test_torch_files_are_read_as_weights_only():
    found = calls("torch.load")
    assert found
    for file, call in found:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("weights_only") == "True", file


def test_yaml_is_read_by_our_loader_alone():
    found = {(file, ast.unparse(call.keywords[0].value)) for file, call in calls("yaml.load")}
    assert found == {(LOADER, "ConfigLoader")}
    assert not calls("eval_setup") and not calls("yaml.unsafe_load") + calls("yaml.full_load")


def test_functions_that_run_or_unpack_are_not_called():
    for name in ("eval", "exec", "os.system", "np.load", "archive.extractall", "archive.extract", "zip.extractall"):
        assert not calls(name), name
