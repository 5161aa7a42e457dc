"""Where the viewer listens: on this machine alone unless a flag says otherwise, and what it means if one does.
Nerfstudio's default is every network that the machine is in, and its viewer asks nobody for a password."""

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import Sequence

from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.utils.rich_utils import CONSOLE

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup

LOCAL = "127.0.0.1"
"""Address at which this machine alone reaches itself."""

EVERYWHERE = "0.0.0.0"
"""Nerfstudio's default: all addresses of the machine."""

FLAG = "--viewer.websocket-host"

PROGRAMS = ("ns-viewer", "run_viewer.py")
"""Names by which ns-viewer is started; it takes the viewer's settings from its own flags, and none of a run's."""


def unless_asked(viewer: ViewerConfig, arguments: Sequence[str]) -> ViewerConfig:
    """The settings that ns-viewer made of its flags, but with this machine alone where nobody has asked for more."""
    program, *flags = arguments
    is_asked_for = any(flag.partition("=")[0].replace("_", "-") == FLAG for flag in flags)
    if Path(program).name not in PROGRAMS or is_asked_for or viewer.websocket_host != EVERYWHERE:
        return viewer
    return replace(viewer, websocket_host=LOCAL)


def is_open(viewer: ViewerConfig) -> bool:
    """Whether others than this machine reach the viewer."""
    if viewer.make_share_url:
        return True
    try:
        return not ipaddress.ip_address(viewer.websocket_host).is_loopback
    except ValueError:  # a name
        return viewer.websocket_host != "localhost"


def tell_if_open(viewer: ViewerConfig) -> None:
    """Prints what it means that others reach the viewer, if they do."""
    if is_open(viewer):
        at = "a public address" if viewer.make_share_url else viewer.websocket_host
        got = f"{at}, with no password: whoever reaches it sees photos and scenes, pauses training, and has .json "
        got += "files written wherever you may write"
        do = "leave the flag out and open a tunnel (ssh -L 7007:localhost:7007) if only you are to see it"
        CONSOLE.print(for_markup(problem("viewer", LOCAL, got, do)), style="yellow", soft_wrap=True)
