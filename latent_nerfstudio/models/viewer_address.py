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

LOCAL, EVERYWHERE = "127.0.0.1", "0.0.0.0"
"""Where this machine alone reaches itself; and Nerfstudio's default, all addresses of the machine."""


def unless_asked(viewer: ViewerConfig, arguments: Sequence[str]) -> ViewerConfig:
    """The settings that ns-viewer made of its flags, but with this machine alone where nobody asked for more."""
    program, *flags = arguments
    is_asked_for = any(flag.partition("=")[0].replace("_", "-") == "--viewer.websocket-host" for flag in flags)
    is_viewer = Path(program).name in ("ns-viewer", "run_viewer.py")
    is_wide = is_viewer and not is_asked_for and viewer.websocket_host == EVERYWHERE
    return replace(viewer, websocket_host=LOCAL) if is_wide else viewer


def is_open(viewer: ViewerConfig) -> bool:
    if viewer.make_share_url:
        return True
    try:
        return not ipaddress.ip_address(viewer.websocket_host).is_loopback
    except ValueError:  # a name
        return viewer.websocket_host != "localhost"


def tell_if_open(viewer: ViewerConfig) -> None:
    if is_open(viewer):
        at = "a public address" if viewer.make_share_url else viewer.websocket_host
        got = f"{at}, with no password: whoever reaches it sees photos and scenes, pauses training, and has .json "
        got += "files written wherever you may write"
        do = "leave the flag out and open a tunnel (ssh -L 7007:localhost:7007) if only you are to see it"
        CONSOLE.print(for_markup(problem("viewer", LOCAL, got, do)), style="yellow", soft_wrap=True)
