"""`python -m latent_nerfstudio.prepare`, before Nerfstudio: what two of its dependencies need that have no wheels.

Both are tried with pip first. Where that fails (no compiler), placeholders take their place, since nothing that this
package does calls them: `pyliblzfse` (no wheel for any Python) reads Record3D captures in viser, and `fpsample` (no
wheel for Python 3.13 and later) picks cameras in Nerfstudio's strategy `fps`. A placeholder says so when it is called.
"""

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Dict

PLACEHOLDERS = {"pyliblzfse": ("0.4.1", "liblzfse", "reads Record3D captures")}
"""Version, module and use of what is replaced, by the name of the distribution."""

if sys.version_info >= (3, 13):
    PLACEHOLDERS["fpsample"] = ("1.0.2", "fpsample", "picks cameras by farthest point sampling")

MODULE = '''"""Placeholder: {name} could not be built here."""


def __getattr__(attribute):
    if attribute.startswith("__"):
        raise AttributeError(attribute)
    raise ImportError("{name}, which {use}, is a placeholder here; install a C++ compiler and then "
                      "pip install --force-reinstall --no-deps {name}")
'''


def main() -> None:
    for name in PLACEHOLDERS:
        if is_installed(name) or pip_install(name):
            print(f"{name}: installed")
        else:
            place(name, Path(sysconfig.get_paths()["purelib"]))
            print(f"{name}: pip could not build it (a C++ compiler is missing?); a placeholder takes its place")
    print("Now: pip install nerfstudio latent-nerfstudio")


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def pip_install(name: str) -> bool:
    """Installs a distribution without what it depends on; False if that fails."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", name]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def place(name: str, site_packages: Path) -> None:
    """Writes a placeholder: the module, and the metadata that tell pip that the distribution is there."""
    version, module, use = PLACEHOLDERS[name]
    info = f"{name}-{version}.dist-info"
    files: Dict[str, str] = {
        f"{module}.py": MODULE.format(name=name, use=use),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Placeholder\n",
        f"{info}/INSTALLER": "latent-nerfstudio\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    for path, content in {**files, f"{info}/RECORD": record}.items():
        (site_packages / path).parent.mkdir(exist_ok=True)
        (site_packages / path).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
