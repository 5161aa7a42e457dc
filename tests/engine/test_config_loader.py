"""The help of `ns-train METHOD`, and config.yml: what was written comes back, and nothing that it names is called."""

import re
from importlib.metadata import entry_points

import pytest
import tyro
import yaml
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.utils.writer import EventName

from latent_nerfstudio.engine.config_loader import ConfigLoader, read_config
from latent_nerfstudio.engine.runs import open_run
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.method_configs.triplane import latent_triplane

KIND = tyro.conf.SuppressFixed[tyro.conf.FlagConversionOff[LatentTrainerConfig]]

LEFT_OUT = {
    *("--prompt", "--pipeline.model.prompt", "--pipeline.datamanager.masks-on-gpu", "--machine.dist-url"),
    *("--logging.profiler", "--viewer.num-rays-per-chunk", "--optimizers.mlp.optimizer.eps"),
}


def test_the_help_begins_with_the_data_and_has_no_more_than_what_matters():
    parser = tyro.extras.get_parser(KIND, default=latent_triplane.config)
    names = [action.option_strings[0] for action in parser._actions if action.option_strings]
    assert names[1:4] == ["--data", "--max-num-iterations", "--output-dir"] and len(names) < 90
    assert not LEFT_OUT & set(names)
    assert {"--optimizers.planes.optimizer.lr", "--machine.num-devices", "--logging.steps-per-log"} <= set(names)


OURS = [point for point in entry_points(group="nerfstudio.method_configs") if "latent_nerfstudio" in point.value]


@pytest.mark.parametrize("method", OURS, ids=lambda point: point.name)
def test_each_line_begins_with_its_subject(method):
    parser = tyro.extras.get_parser(KIND, default=method.load().config)
    helps = {action.option_strings[0]: action.help or "" for action in parser._actions if action.option_strings}
    assert len(helps) > 40 and not [flag for flag, text in helps.items() if re.match("(Of|Also|Without|As) ", text)]


def test_what_is_left_out_keeps_its_value_in_the_file():
    config = tyro.cli(KIND, default=latent_triplane.config, args=["--max-num-iterations", "9", "--machine.seed", "3"])
    kept = yaml.load(yaml.dump(config), Loader=ConfigLoader)
    assert (kept.max_num_iterations, kept.machine.seed, kept.steps_per_save) == (9, 3, 1000)
    assert (kept.method_name, kept.logging.profiler, kept.viewer.jpeg_quality) == ("latent-triplane", "none", 75)
    assert kept.optimizers["mlp"]["optimizer"].eps == 1e-15 and not kept.pipeline.datamanager.masks_on_gpu


@pytest.mark.parametrize("method", ["ig-ae", "latent-nerfacto", "latent-kplanes"])
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
    "[" * 5000,
    ":".join(["1" * 15, *["59"] * 100_000]),  # a whole number to the base of 60
    "9" * 4000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:60])
def test_nothing_is_run(tmp_path, text):
    (tmp_path / "config.yml").write_text(text.replace("RUN", str(tmp_path / "made")))
    with pytest.raises(ValueError, match=r"config.yml: expected a config of Nerfstudio"):
        open_run(tmp_path)
    assert not (tmp_path / "made").exists()
    (tmp_path / "config.yml").write_text("# " + "x" * (1 << 20))
    with pytest.raises(ValueError, match="expected 1,048,576 bytes at most"):
        open_run(tmp_path)
