"""Nerfstudio in the latent space of an image autoencoder.

`load`, `orbit` and the rest of the Python API are imported when they are first asked for: entry points import this
package, and every ns-* command would wait for them.
"""

# ruff: noqa: F403, F405
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from latent_nerfstudio.api import *

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Codec",
    "LatentFile",
    "Pictures",
    "Ring",
    "Scenes",
    "camera_path",
    "depth_along_ray",
    "depth_along_z",
    "fit",
    "load",
    "load_autoencoder",
    "load_bundle",
    "look_at",
    "orbit",
    "read_latents",
    "render_latents",
    "save_pictures",
    "save_scene",
    "write_latents",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from latent_nerfstudio import api

    return getattr(api, name)


def __dir__() -> List[str]:
    return sorted([*globals(), *__all__])
