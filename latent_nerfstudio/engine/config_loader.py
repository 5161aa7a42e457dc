"""config.yml without trust: YAML that builds configs, and runs nothing.

Nerfstudio's own reader (`yaml.Loader`) calls whatever the file names. Here a file may name classes of the packages of
methods that are installed, of `pathlib` and of `torch.optim`; dataclasses are made without their constructors, and only
paths and members of enumerations are made of arguments."""

from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path, PurePath
from typing import Any, FrozenSet

import yaml
from yaml.constructor import ConstructorError

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import MOST_DIGITS, read_bytes

MOST_BYTES = 1 << 20
"""Bytes of a config.yml at most."""

FUNCTIONS = ("latent_nerfstudio.latent_space.autoencoder.load_autoencoder",)
"""Functions that a config may name as what it sets up."""


@lru_cache
def trusted_packages() -> FrozenSet[str]:
    """Packages whose classes a config may name: Nerfstudio, this one, and those that brought methods when installed."""
    groups = ("nerfstudio.method_configs", "nerfstudio.dataparser_configs")
    installed = (point.module.partition(".")[0] for group in groups for point in entry_points(group=group))
    return frozenset({"nerfstudio", "latent_nerfstudio", "pathlib", *installed})


def is_trusted(module: str) -> bool:
    return module.partition(".")[0] in trusted_packages() or f"{module}.".startswith("torch.optim.")


class ConfigLoader(yaml.FullLoader):
    """Loads a config.yml; anything that it may not name is an error of YAML."""

    def find_python_name(self, name: str, mark: Any, unsafe: bool = False) -> Any:
        """A class, or one of `FUNCTIONS`, by its dotted name."""
        if is_trusted(name.rpartition(".")[0]):
            found = super().find_python_name(name, mark, unsafe=True)
            if name in FUNCTIONS or (isinstance(found, type) and is_trusted(found.__module__)):
                return found
        raise ConstructorError(None, None, f"{name!r}, which a config may not name", mark)

    def make_python_instance(
        self, suffix: str, node: Any, args: Any = None, kwds: Any = None, newobj: bool = False, unsafe: bool = False
    ) -> Any:
        """An empty dataclass, or a path or a member of an enumeration of plain arguments."""
        args = args or ()
        if suffix == "builtins.getattr" and not newobj and not kwds and is_member(*args):
            return args[0][args[1]]  # so do Python 3.11.0 to 3.11.3 write it, by its name
        kind: Any = self.find_python_name(suffix, node.start_mark)
        if newobj and isinstance(kind, type) and is_dataclass(kind) and not args and not kwds:
            return kind.__new__(kind)
        plain = not kwds and all(isinstance(value, (str, int)) for value in args)
        if not newobj and plain and issubclass(kind, (PurePath, Enum)):
            return (Path if issubclass(kind, PurePath) else kind)(*args)
        raise ConstructorError(None, None, f"{suffix!r}, which a config may not build", node.start_mark)


def is_member(kind: Any = None, name: Any = None, *others: Any) -> bool:
    """Whether a class is an enumeration that has a member of this name."""
    return not others and isinstance(kind, type) and issubclass(kind, Enum) and name in kind.__members__


def construct_int(loader: ConfigLoader, node: Any) -> int:
    """A whole number; one of a megabyte of digits would take minutes."""
    if len(loader.construct_scalar(node)) > MOST_DIGITS:
        raise ConstructorError(None, None, f"a whole number of more than {MOST_DIGITS} digits", node.start_mark)
    return loader.construct_yaml_int(node)


TAG = "tag:yaml.org,2002:python/object"
ConfigLoader.add_constructor("tag:yaml.org,2002:int", construct_int)
ConfigLoader.add_multi_constructor(f"{TAG}:", ConfigLoader.construct_python_object)
ConfigLoader.add_multi_constructor(f"{TAG}/apply:", ConfigLoader.construct_python_object_apply)


def read_config(path: Path) -> Any:
    """What a config.yml holds; nothing in it is run."""
    try:
        return yaml.load(read_bytes(path, MOST_BYTES).decode("utf-8"), Loader=ConfigLoader)
    except Exception as error:  # YAML's own, and those of the classes that it names
        lines = [line.strip() for line in str(error).splitlines() if not line.startswith("  in ")]
        got, do = " ".join(lines) or type(error).__name__, "name a config.yml that ns-train wrote"
        raise ValueError(problem(path, "a config of Nerfstudio that only names configs", got, do)) from error


def data_of(config: Any) -> Path:
    manager = config.pipeline.datamanager
    return Path(manager.data or manager.dataparser.data)


def started_in(config: Any, folder: Path) -> Path:
    """The folder that ns-train was called from, to which paths of version 0.1 are relative: the present one, where the
    folder of a config.yml does not lie in the config's `output_dir`."""
    output, parents = Path(config.output_dir).parts, folder.absolute().parents
    inside = len(parents) > 2 + len(output) and parents[2].parts[-len(output) :] == output
    return parents[2 + len(output)] if inside else Path.cwd()
