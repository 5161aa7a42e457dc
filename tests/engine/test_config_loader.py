"""config.yml: what ns-train wrote comes back, and nothing that it names is called."""

from pathlib import Path

import pytest
import yaml
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.utils.writer import EventName

from latent_nerfstudio.engine.config_loader import read_config
from latent_nerfstudio.engine.runs import open_run


@pytest.mark.parametrize("method", ["latent-triplane", "ig-ae", "latent-nerfacto", "latent-kplanes"])
def test_a_config_comes_back(tmp_path, method):
    (tmp_path / "config.yml").write_text(yaml.dump(all_methods[method]))
    assert yaml.dump(read_config(tmp_path / "config.yml")) == (tmp_path / "config.yml").read_text()


def test_members_of_enumerations_as_each_python_writes_them(tmp_path):
    """Python 3.11.0 to 3.11.3, which Debian 12 has, write the name, others the value."""
    name = "nerfstudio.utils.writer.EventName"
    by_name = f"- !!python/object/apply:builtins.getattr [!!python/name:{name} '', ETA]"
    by_value = f"- !!python/object/apply:{name} ['{EventName.ETA.value}']"
    (tmp_path / "config.yml").write_text(f"{by_name}\n{by_value}\n")
    assert read_config(tmp_path / "config.yml") == [EventName.ETA] * 2


HOSTILE = [
    "!!python/object/apply:builtins.getattr [!!python/name:pathlib.Path '', mkdir]",
    "!!python/object/apply:builtins.getattr [!!python/name:nerfstudio.utils.writer.EventName '', __class__]",
    "!!python/object/apply:builtins.getattr [!!python/name:nerfstudio.utils.writer.EventName '', [ETA]]",
    "!!python/object/apply:builtins.getattr [!!python/name:nerfstudio.utils.writer.EventName '']",
    "!!python/object/apply:os.mkdir [RUN]",
    "!!python/object/new:os.mkdir [RUN]",
    "!!python/object/apply:subprocess.Popen [[mkdir, RUN]]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/name:nerfstudio.utils.scripts.run_command",
    "!!python/object/apply:nerfstudio.utils.scripts.run_command ['mkdir RUN']",
    "!!python/object/apply:nerfstudio.utils.rich_utils.CONSOLE.print [x]",
    "!!python/object/apply:pathlib.Path.mkdir [!!python/object/apply:pathlib.PosixPath [RUN]]",
    "!!python/object/apply:latent_nerfstudio.latent_space.autoencoder.load_autoencoder [x]",
    "!!python/object/apply:nerfstudio.configs.base_config.PrintableConfig []",
    "!!python/object:nerfstudio.models.nerfacto.NerfactoModel {}",
    "!!python/object:collections.OrderedDict {}",
    "{_target: !!python/object/apply:builtins.eval ['1']}",
    "[" * 20000,
    ":".join(["1" * 15, *["59"] * 300_000]),  # a whole number to the base of 60
    "9" * 4000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:60])
def test_nothing_is_run(tmp_path, text):
    (tmp_path / "config.yml").write_text(text.replace("RUN", str(tmp_path / "made")))
    with pytest.raises(ValueError, match=r"config.yml: expected a config of Nerfstudio"):
        open_run(tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_config_that_is_too_large(tmp_path):
    (tmp_path / "config.yml").write_text("# " + "x" * (1 << 20))
    with pytest.raises(ValueError, match="expected 1,048,576 bytes at most"):
        open_run(Path(tmp_path))
