"""The training cameras of a run, beside its config.yml, so that it renders the same from wherever it is opened."""

from pathlib import Path
from typing import Any, Dict

from nerfstudio.cameras.cameras import Cameras
from safetensors.torch import load, save
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import check_header, read_bytes
from latent_nerfstudio.files.replacing import write_bytes

CAMERAS = "cameras/training.safetensors"
"""The file within a run's folder, where nobody takes it for a scene; older runs have none."""

MOST_BYTES = 1 << 30
"""Bytes of it at most; a camera takes about 130."""

FIELDS = ("fx", "fy", "cx", "cy", "width", "height", "distortion_params", "camera_type", "times")
"""Tensors [n, ...] of cameras beside their poses; the scenes that they belong to are added to these."""


def write_cameras(path: Path, cameras: Cameras) -> None:
    """Writes cameras, whole or not at all."""
    fields: Dict[str, Any] = {name: getattr(cameras, name) for name in ("camera_to_worlds", *FIELDS)}
    fields["scene_index"] = (cameras.metadata or {}).get("scene_index")
    tensors = {name: value.detach().cpu().contiguous() for name, value in fields.items() if value is not None}
    write_bytes(path, save(tensors))


def read_cameras(path: Path) -> Cameras:
    try:
        check_header(path, MOST_BYTES)
        tensors: Dict[str, Tensor] = load(read_bytes(path, MOST_BYTES))
        count = len(tensors["camera_to_worlds"])
        if any(len(value) != count or not bool(value.isfinite().all()) for value in tensors.values()):
            raise ValueError("numbers that are not finite, or of several counts")
        scenes = {name: tensors.pop(name) for name in ("scene_index",) if name in tensors}
        return Cameras(**tensors, metadata=scenes or None)  # type: ignore[arg-type]
    except FileNotFoundError:
        raise
    except Exception as error:  # safetensors' own, and those of names and shapes that cameras do not have
        do = "remove it: the data are read instead, where they are"
        raise ValueError(problem(path, "the cameras of a run", f"'{error!s:.200}'", do)) from error
