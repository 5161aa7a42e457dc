"""ns-viewer on a run of ours: which addresses of this machine answer."""

from types import SimpleNamespace

import pytest
from official import free_port, is_open

OTHER = "127.0.0.2"
"""Another address of this machine, which answers where the viewer listens on all of them."""


class Shown(Exception):
    """The viewer is there; ends ns-viewer, which waits for ever."""


@pytest.mark.parametrize(("flags", "reached"), [((), False), (("--viewer.websocket-host", "0.0.0.0"), True)])
def test_ns_viewer_is_for_this_machine_unless_it_is_told_otherwise(latent_run, flags, reached, monkeypatch, capsys):
    from nerfstudio.scripts.viewer import run_viewer

    port, viewers, answered = free_port(), [], []
    build = run_viewer.ViewerState

    def sleep(seconds):
        answered.extend(is_open(port, address) for address in ("127.0.0.1", OTHER))
        raise Shown

    monkeypatch.setattr(run_viewer, "ViewerState", lambda *a, **k: viewers.append(build(*a, **k)) or viewers[0])
    monkeypatch.setattr(run_viewer, "time", SimpleNamespace(sleep=sleep))
    call = ["ns-viewer", "--load-config", str(latent_run), "--viewer.websocket-port", str(port), *flags]
    monkeypatch.setattr("sys.argv", call)
    try:
        with pytest.raises(Shown):
            run_viewer.entrypoint()
    finally:
        for viewer in viewers:
            viewer.viser_server.stop()
    assert answered == [True, reached]
    assert ("viewer: expected 127.0.0.1, got 0.0.0.0, with no password" in capsys.readouterr().out) == reached
