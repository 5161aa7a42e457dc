"""Latents of the training images: encoded once, kept in half precision, in memory or on disk.

On disk, one safetensors file a scene, named by the hash of its pictures and kept in a folder named by the
autoencoder's hash: latents are found again whatever the pictures' folder is called, and never those of another
autoencoder or of changed pictures.
"""

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import torch
from jaxtyping import Shaped
from nerfstudio.utils.rich_utils import CONSOLE
from rich.progress import track
from torch import Tensor

from latent_nerfstudio.latent_space.autoencoder import Autoencoder
from latent_nerfstudio.latent_space.latent_space import as_float

FORMAT = "latents-v1"
"""Part of every file's name; changed when its contents change their meaning."""


def cache_folder(setting: str) -> Optional[Path]:
    """The folder that `memory`, `disk` or a path stands for; None for memory.

    `disk` is `latent-nerfstudio/latents` in `$XDG_CACHE_HOME`, by default `~/.cache`.
    """
    if setting == "memory":
        return None
    if setting == "disk":
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "latent-nerfstudio" / "latents"
    return Path(setting).expanduser()


def encode_scenes(
    images: Sequence[Shaped[Tensor, "_ _ 3"]],
    scene_of_image: Sequence[int],
    autoencoder: Autoencoder,
    setting: str = "disk",
    batch_size: int = 32,
) -> List[Tensor]:
    """Raw latents [h, w, C] in float16 of pictures of any sizes, from the cache where they are in it.

    Args:
        images: the pictures, uint8 or float in [0, 1].
        scene_of_image: the scene of each; a scene is encoded, stored and found as a whole.
        autoencoder: what encodes; its device is used.
        setting: `memory`, `disk` or a folder.
        batch_size: pictures encoded at once.
    """
    if autoencoder.is_identity:
        return list(images)
    folder = cache_folder(setting)
    groups = group_by(scene_of_image)
    files = _files(folder, images, groups, autoencoder) if folder is not None else {}
    latents: Dict[int, Tensor] = {}
    for scene, members in groups.items():
        stored = _read(files[scene], len(members)) if scene in files else None
        if stored is not None:
            latents.update(zip(members, stored, strict=True))
    missing = {scene: members for scene, members in groups.items() if members[0] not in latents}
    _announce(len(images), len(latents), folder)
    for scene, members in _progress(missing):
        encoded = encode_images([images[i] for i in members], autoencoder, batch_size)
        latents.update(zip(members, encoded, strict=True))
        if scene in files:
            _write(files[scene], encoded)
    return [latents[i] for i in range(len(images))]


def group_by(labels: Sequence[int]) -> Dict[int, List[int]]:
    """Positions of each label, in order."""
    groups: Dict[int, List[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return groups


@torch.no_grad()
def encode_images(images: Sequence[Shaped[Tensor, "_ _ 3"]], autoencoder: Autoencoder, batch_size: int) -> List[Tensor]:
    """Raw latents [h, w, C] in float16, on the host; pictures of one size go through the encoder together."""
    sizes = group_by([hash(tuple(image.shape)) for image in images])
    device = next(autoencoder.parameters()).device
    latents: Dict[int, Tensor] = {}
    for members in sizes.values():
        for start in range(0, len(members), batch_size):
            part = members[start : start + batch_size]
            batch = as_float(torch.stack([images[i] for i in part]).to(device))
            latents.update(zip(part, autoencoder.encode(batch).half().cpu(), strict=True))
    return [latents[i] for i in range(len(images))]


def _progress(missing: Dict[int, List[int]]):
    items = list(missing.items())
    return track(items, description="Encoding images, scene by scene", transient=True) if items else items


def _announce(total: int, found: int, folder: Optional[Path]) -> None:
    place = "memory" if folder is None else str(folder)
    if found == total:
        CONSOLE.log(f"latents: all {total} images found in {place}, nothing to encode")
    else:
        CONSOLE.log(f"latents: encoding {total - found} of {total} images, kept in {place}")


def _files(
    folder: Path, images: Sequence[Tensor], groups: Dict[int, List[int]], autoencoder: Autoencoder
) -> Dict[int, Path]:
    """The cache file of each scene."""
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_hash_image, images))
    names = {
        s: hashlib.sha256("".join(hashes[i] for i in members).encode()).hexdigest() for s, members in groups.items()
    }
    base = folder / autoencoder.fingerprint()
    return {scene: base / name[:2] / f"{name[:40]}.{FORMAT}.safetensors" for scene, name in names.items()}


def _hash_image(image: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(image.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, count: int) -> Optional[List[Tensor]]:
    """The latents of a file, or None where it is missing or does not verify; such a file is written anew."""
    from safetensors.torch import load_file

    if not path.is_file():
        return None
    try:
        stored = load_file(path)
    except Exception as error:  # safetensors' own error type, or the system's
        CONSOLE.log(f"latents: {path} is unreadable ({error}); its scene is encoded again")
        return None
    names = [f"{i:06d}" for i in range(count)]
    return [stored[name] for name in names] if sorted(stored) == names else None


def _write(path: Path, latents: Sequence[Tensor]) -> None:
    """Writes beside the final name and renames, so that a file is either whole or absent."""
    from safetensors.torch import save_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        os.close(handle)
        try:
            save_file({f"{i:06d}": latent.contiguous() for i, latent in enumerate(latents)}, temporary)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        CONSOLE.log(f"latents: not kept on disk ({error}); training goes on with those in memory")
