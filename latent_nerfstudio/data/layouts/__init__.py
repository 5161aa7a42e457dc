"""Scenes on disk, in one module a layout, each read into `SceneFrames`."""

from collections.abc import Callable
from pathlib import Path
from typing import Optional

from latent_nerfstudio.data.layouts.blender import read_blender
from latent_nerfstudio.data.layouts.frames import SPLITS, SceneFrames
from latent_nerfstudio.data.layouts.srn import read_srn
from latent_nerfstudio.data.layouts.transforms_json import read_transforms

LAYOUTS_LOOKED_FOR = (
    "transforms.json (Nerfstudio, instant-ngp), transforms_{train,val,test}.json (Blender), "
    "or rgb/ with pose/ or intrinsics.txt (SRN)"
)


def reader_of(folder: Path) -> Optional[Callable[[Path], SceneFrames]]:
    """What reads the first layout whose files are in a folder; None for no scene."""
    if (folder / "transforms.json").is_file():
        return read_transforms
    if any((folder / f"transforms_{split}.json").is_file() for split in SPLITS):
        return read_blender
    if (folder / "rgb").is_dir() and ((folder / "pose").is_dir() or (folder / "intrinsics.txt").is_file()):
        return read_srn
    return None


def read_scene(folder: Path) -> SceneFrames:
    """Reads a scene folder in whichever layout it has."""
    reader = reader_of(folder)
    assert reader is not None, f"{folder} holds no scene"
    return reader(folder)
