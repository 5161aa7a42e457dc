"""The help of `ns-train METHOD`: what comes first, and what is left out."""

import re
from importlib.metadata import entry_points

import pytest
import tyro
import yaml

from latent_nerfstudio.engine.config_loader import ConfigLoader
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
