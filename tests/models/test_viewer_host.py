"""Where the viewer listens, by its settings and the command line."""

import pytest
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.configs.method_configs import all_methods

from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.models.viewer_address import EVERYWHERE, LOCAL, is_open, tell_if_open, unless_asked

OURS = sorted(name for name, config in all_methods.items() if isinstance(config, LatentTrainerConfig))


def test_every_method_of_ours_listens_on_this_machine_alone():
    assert {"latent-triplane", "ig-ae", "latent-splatfacto", "rgb-kplanes", "latent-nerfacto"} <= set(OURS)
    assert {name: all_methods[name].viewer.websocket_host for name in OURS} == dict.fromkeys(OURS, LOCAL)


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        (["/usr/bin/ns-viewer", "--load-config", "c.yml"], LOCAL),
        (["run_viewer.py"], LOCAL),
        (["ns-viewer", "--viewer.websocket-host", EVERYWHERE], EVERYWHERE),
        (["ns-viewer", "--viewer.websocket_host=0.0.0.0"], EVERYWHERE),
        (["ns-train", "latent-triplane"], EVERYWHERE),
        (["python"], EVERYWHERE),
    ],
)
def test_nerfstudios_default_is_not_taken_for_a_wish(arguments, host):
    viewer = unless_asked(ViewerConfig(num_rays_per_chunk=7), arguments)
    assert (viewer.websocket_host, viewer.num_rays_per_chunk) == (host, 7)
    assert unless_asked(ViewerConfig(websocket_host="10.1.2.3"), arguments).websocket_host == "10.1.2.3"


OPEN = (EVERYWHERE, "10.1.2.3", "::", "render-box", "[box]")


@pytest.mark.parametrize(("host", "got"), [(LOCAL, "a public address"), *((host, host) for host in OPEN)])
def test_what_an_open_viewer_means_is_said_and_nothing_to_a_machine_that_talks_to_itself(host, got, capsys):
    for own in (LOCAL, "127.0.0.5", "::1", "localhost"):
        tell_if_open(ViewerConfig(websocket_host=own))
        assert not is_open(ViewerConfig(websocket_host=own)) and capsys.readouterr().out == ""
    tell_if_open(ViewerConfig(websocket_host=host, make_share_url=got != host))
    said = capsys.readouterr().out
    assert f"viewer: expected 127.0.0.1, got {got}, with no password" in said
    assert "sees photos and scenes" in said and "ssh -L" in said
