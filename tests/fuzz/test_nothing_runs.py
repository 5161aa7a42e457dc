"""Nothing that is in a file is run: by reading the code, and by files that would tell if they were."""

import ast
import os
import pickle
from pathlib import Path
from typing import Iterator, Tuple

import pytest
from tiny import save_tiny

import latent_nerfstudio
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

PACKAGE = Path(latent_nerfstudio.__file__).parent

RUNNING = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
"""Modules whose files may run code when they are read."""

TRUSTED = ("engine/runs.py",)
"""Where config.yml is read, which Nerfstudio writes as YAML with objects: docs/security.md calls it trusted."""


def nodes() -> Iterator[Tuple[str, ast.AST]]:
    """All code of the package, with the file that it is in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.relative_to(PACKAGE).as_posix(), node


def calls(name: str) -> Iterator[Tuple[str, ast.Call]]:
    """Calls of a function by its last name, such as `torch.load`."""
    for file, node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield file, node


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
    found = list(calls("torch.load"))
    assert found
    for file, call in found:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("weights_only") == "True", file


def test_yaml_with_objects_is_read_where_it_is_trusted_alone():
    assert {file for file, _ in calls("yaml.load")} == set(TRUSTED)
    assert not list(calls("yaml.unsafe_load")) + list(calls("yaml.full_load"))


@pytest.mark.parametrize("name", ["eval", "exec", "os.system", "np.load", "extractall"])
def test_functions_that_run_or_unpack_are_not_called(name):
    assert not [
        file
        for file, node in nodes()
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(name)
        and ast.unparse(node.func) in (name, name.split(".")[-1])
    ]


class Tells:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_an_autoencoder_in_pickle_is_refused_and_not_run(tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"encoder": Tells(tmp_path / "run")}))
    with pytest.raises(ValueError, match="expected weights that fit its config.json"):
        AutoencoderConfig(source=str(folder)).setup()
    assert not (tmp_path / "run").exists()
