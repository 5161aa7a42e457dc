"""Pictures and their cameras as a scene folder, which every command that takes data reads."""

from pathlib import Path
from typing import Any, Dict, Optional, Union

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from latent_nerfstudio.api.codec import Images, as_batch
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.camera_file import pinhole, write_pictures
from latent_nerfstudio.files.reading import LARGEST_TEXT, read_json
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.latent_space.cameras import as_cameras, others_of
from latent_nerfstudio.latent_space.latent_space import as_bytes

NAMES = r"transforms\.json|images/\d{4,}\.png"
"""Names of the files of a scene that `save_scene` writes, as a pattern."""

MARK = {"written_by": "latent_nerfstudio.save_scene"}
"""Entry of their transforms.json; captures of others have the same names."""


def save_scene(
    folder: Union[str, Path], pictures: Images, cameras: Cameras, box: Optional[Float[Tensor, "2 3"]] = None
) -> Path:
    """Writes pictures as a scene in Nerfstudio's format, to be learned; whole or not at all.

    Args:
        folder: the scene's folder; one that this function wrote is replaced.
        pictures: [n, H, W, 3], uint8 or in [0, 1], as `Codec.encode` takes them.
        cameras: n perspective cameras of that size.
        box: scene box, world units.

    Raises:
        ValueError: cameras that are not those of the pictures.
        FileExistsError: the folder holds something else.
        OSError: there is no room, or the folder cannot be written to.
    """
    folder, batch, flat = Path(folder).expanduser(), as_batch(pictures), as_cameras(cameras).to("cpu")
    check_fit(batch, flat)
    lenses = torch.cat([flat.width, flat.height, flat.fx, flat.fy, flat.cx, flat.cy], dim=1).tolist()
    each = [pinhole(int(width), int(height), *lens) for width, height, *lens in lenses]
    top: Dict[str, Any] = MARK if box is None else {**MARK, "aabb": box.tolist()}
    with replacing_folder(folder, NAMES) as writing:
        check_own(folder)
        write_pictures(writing, as_bytes(batch), flat.camera_to_worlds.double().numpy(), each, **top)
    return folder


def check_own(folder: Path) -> None:
    """Refuses to replace a scene that `save_scene` did not write: its photos may be the only ones."""
    path = folder / "transforms.json"
    try:
        said = read_json(path, most=LARGEST_TEXT, strict=False)
    except FileNotFoundError:
        return
    except ValueError:
        said = {}
    if any(said.get(name) != value for name, value in MARK.items()):
        expected, do = "nothing there, or a scene that save_scene wrote", "move it away, or name another folder"
        raise FileExistsError(problem(folder, expected, "another scene", do))


def check_fit(pictures: Float[Tensor, "n height width 3"], cameras: Cameras, what: str = "cameras") -> None:
    """Refuses cameras that are not those of pictures."""
    count, height, width = pictures.shape[:3]
    same = len(cameras) == count and bool((cameras.height == height).all() and (cameras.width == width).all())
    others = others_of(cameras) if len(cameras) else ""
    if not same or others:
        expected = f"{count} perspective cameras of {height} x {width} pixels"
        sizes = torch.cat([cameras.height, cameras.width], dim=1).unique(dim=0).tolist()
        got = f"{len(cameras)} {others or 'perspective'} of {', '.join('{} x {}'.format(*size) for size in sizes[:3])}"
        raise ValueError(problem(what, expected, got, "give those that the pictures were taken with"))
