"""What a wheel holds, and what the package says that it needs."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shell_lines import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

NOT_DECLARED = {"triton", "ray"}
"""Comes with torch where there is CUDA; an extra, which is asked for where it is used."""

DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "skimage": "scikit-image", "yaml": "pyyaml"}
"""Those that bring modules of another name."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("latent_nerfstudio", "method_configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=folder, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def imported(folder: Path) -> set:
    """Names at the top of what the modules of a folder import."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).partition(".")[0])
    return names


def test_everything_that_is_imported_is_declared_and_configs_are_those_of_the_checkout():
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["meshes"], *extras["photos"]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    names = imported(ROOT / "latent_nerfstudio") | imported(ROOT / "method_configs")
    names -= {*sys.stdlib_module_names, *NOT_DECLARED, "latent_nerfstudio"}
    assert {name for name in names if canonicalize_name(DISTRIBUTIONS.get(name, name)) not in declared} == set()
    from latent_nerfstudio.method_configs import triplane

    assert Path(triplane.__file__) == ROOT / "method_configs" / "triplane.py"


def test_a_wheel_has_one_name_at_its_top_every_method_and_links_that_hold_on_the_index(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(wheel.parent / "installed")
    assert {re.sub(r"-.*", "", name.partition("/")[0]) for name in names} == {"latent_nerfstudio"}
    for path in (ROOT / "method_configs").glob("*.py"):
        assert f"latent_nerfstudio/method_configs/{path.name}" in names
    weights = (ROOT / "latent_nerfstudio").rglob("*.safetensors")
    assert {path.relative_to(ROOT).as_posix() for path in weights} <= names
    code = "from importlib.util import find_spec; print(find_spec('latent_nerfstudio.method_configs.igae').origin)"
    there = wheel.parent / "installed"
    found = subprocess.run([sys.executable, "-c", code], cwd=there, env={}, capture_output=True, text=True)
    assert found.stdout.strip() == f"{there}/latent_nerfstudio/method_configs/igae.py"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(name).decode()
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links and all(link.startswith(("https://", "#")) for link in links)
