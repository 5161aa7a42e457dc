"""Where the viewer listens: on this machine alone unless a flag says otherwise, and what it means if one does.

Nerfstudio's default is every network that the machine is in. Its viewer asks nobody for a password.
"""

import ipaddress
import sys
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.utils.rich_utils import CONSOLE

LOCAL = "127.0.0.1"
"""Address at which this machine alone reaches itself."""

EVERYWHERE = "0.0.0.0"
"""Nerfstudio's default: all addresses of the machine."""

FLAG = "--viewer.websocket-host"

PROGRAMS = ("ns-viewer", "run_viewer.py")
"""Names by which ns-viewer is started; it takes the viewer's settings from its own flags, and none of a run's."""


def unless_asked(viewer: ViewerConfig, arguments: Optional[Sequence[str]] = None) -> ViewerConfig:
    """The viewer's settings, with this machine alone for ns-viewer's default, which nobody has asked for.

    Args:
        viewer: as ns-viewer made them of its flags.
        arguments: program and arguments; by default those of this process.
    """
    program, *flags = sys.argv if arguments is None else arguments
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
        CONSOLE.print(
            f"[yellow]viewer: expected {LOCAL}, got {at}, with no password: whoever reaches it sees photos and scenes, "
            "pauses training, and has .json files written wherever you may write; leave the flag out and open "
            "a tunnel (ssh -L 7007:localhost:7007) if only you are to see it",
            soft_wrap=True,
        )
