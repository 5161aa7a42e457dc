"""The words of `lns`: what several commands take has one name and one line of help."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional, Tuple

from tyro.conf import Positional, arg

from latent_nerfstudio import scene_files

if TYPE_CHECKING:
    from latent_nerfstudio.api.scenes import Scenes

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

Source = Annotated[
    str,
    Positional,
    arg(metavar="SOURCE", help="Run (folder or config.yml), scene files, folder or archive of them, or Hub id."),
]
RunFolder = Annotated[Path, Positional, arg(metavar="SOURCE", help="Run: its folder or its config.yml.")]
SceneFiles = Annotated[
    Tuple[Path, ...],
    Positional,
    arg(metavar="SOURCE [SOURCE ...]", help="Scene files, folders of them, archives (.zip), and Hub ids."),
]
Bundle = Annotated[
    Optional[str],
    arg(
        metavar="SOURCE",
        help="Shared bundle of scene files: a run, its folder, `bundled`, or a Hub id; by default the one beside them.",
    ),
]
SceneNames = Annotated[Tuple[str, ...], arg(metavar="NAME [NAME ...]", help="Names of scenes, by default all.")]
Device = Annotated[
    Optional[str], arg(metavar="DEVICE", help="Device, cpu or cuda; by default the GPU, if there is one.")
]
Size = Annotated[
    Optional[int],
    arg(metavar="PIXELS", help="Height of the pictures, pixels; by default that of the training pictures."),
]
Precision = Annotated[
    scene_files.Precision,
    arg(help="Precision of micro planes; int8 takes half of float16, with one scale a plane and feature."),
]
Workers = Annotated[Optional[int], arg(metavar="N", help="Processes; by default one a core.")]
Rows = Annotated[
    Tuple[Literal["rgb", "latent", "depth", "accumulation"], ...],
    arg(help="Panels of each scene, from top to bottom."),
]
Overwrite = Annotated[bool, arg(help="Replace what is there.")]


@dataclass
class OfScenes:
    """What every command takes that renders learned scenes."""

    source: Source
    output: Path
    bundle: Bundle = field(default=None, kw_only=True)
    device: Device = field(default=None, kw_only=True)

    def open(self) -> "Scenes":
        """The scenes. Raises as `lns.load`."""
        from latent_nerfstudio.api.loading import load

        return load(self.source, self.bundle, self.device)
