"""config.yml of a run: read, and what its paths are relative to."""

from pathlib import Path
from typing import Any

from latent_nerfstudio.engine.config_loader import load_config
from latent_nerfstudio.errors import problem


def read_config(path: Path) -> Any:
    """What a config.yml holds; nothing in it is run."""
    try:
        return load_config(path)
    except Exception as error:  # YAML's own, and those of the classes that it names
        lines = [line.strip() for line in str(error).splitlines() if not line.startswith("  in ")]
        got, do = " ".join(lines) or type(error).__name__, "name a config.yml that ns-train wrote"
        raise ValueError(problem(path, "a config of Nerfstudio that only names configs", got, do)) from error


def data_of(config: Any) -> Path:
    """The data of a run, as its config names them."""
    manager = config.pipeline.datamanager
    return Path(manager.data or manager.dataparser.data)


def started_in(config: Any, folder: Path) -> Path:
    """The folder that ns-train was called from, to which paths of version 0.1 are relative: the present one, where the
    folder of a config.yml does not lie in the config's `output_dir`."""
    output, parents = Path(config.output_dir).parts, folder.absolute().parents
    inside = len(parents) > 2 + len(output) and parents[2].parts[-len(output) :] == output
    return parents[2 + len(output)] if inside else Path.cwd()
