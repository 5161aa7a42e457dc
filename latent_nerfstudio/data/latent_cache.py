"""Latents of the training images: encoded once, kept in half precision, in memory or on disk: one safetensors file a
scene, named by the hash of its pictures, in a folder named by the autoencoder's."""

import hashlib
import os
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from jaxtyping import Shaped
from nerfstudio.utils.rich_utils import CONSOLE
from rich.progress import track
from torch import Tensor

from latent_nerfstudio.escaping import for_markup
from latent_nerfstudio.files.replacing import OLD, remove_unfinished, write_bytes
from latent_nerfstudio.latent_space.autoencoder import Autoencoder
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.latent_space.precision import autocast, has_bfloat16

CHECKSUM = "crc32"
"""Name of a file's checksum among its metadata; files of older versions have none."""

CACHE_FORMAT = "latents-v1"
"""Part of every file's name; changed when its contents change their meaning."""

CACHED = re.compile(r"[0-9a-f]{16}/([0-9a-f]{2})/\1[0-9a-f]{38}\.latents-v\d+\.safetensors")
"""Where files are in the cache's folder; other things, git's objects for instance, have shorter names."""


def cache_folder(setting: str) -> Optional[Path]:
    """The folder of `memory` (None), `disk` (`latent-nerfstudio/latents` in `$XDG_CACHE_HOME`, by default `~/.cache`)
    or a path."""
    if setting == "memory":
        return None
    if setting == "disk":
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "latent-nerfstudio" / "latents"
    return Path(setting).expanduser()


def cached_files(folder: Path) -> List[Path]:
    """The files that the cache has written into a folder, by name and place; never through links."""
    base = folder.resolve()
    found = [path for path in base.glob("*/[0-9a-f][0-9a-f]/*") if CACHED.fullmatch(path.relative_to(base).as_posix())]
    return [path for path in found if path.is_file() and path.resolve() == path]


def scene_latents(
    images: Sequence[Shaped[Tensor, "_ _ 3"]],
    scene_of_image: Sequence[int],
    autoencoder: Autoencoder,
    setting: str = "disk",
    batch_size: int = 32,
) -> Iterator[Tuple[List[int], List[Tensor]]]:
    """For each scene, the positions of its pictures (uint8, or float in [0, 1]) and their raw latents [h, w, C] in
    float16, from the cache where possible. Scenes are never encoded together: the last bits depend on the batch, and
    what happens to be cached must not decide what is learned."""
    groups = group_by(scene_of_image)
    if autoencoder.is_identity:
        yield from ((members, [images[i] for i in members]) for members in groups.values())
        return
    folder = cache_folder(setting)
    files = _files(folder, images, groups, autoencoder) if folder is not None else {}
    found = sum(len(members) for scene, members in groups.items() if scene in files and files[scene].is_file())
    place = for_markup("memory" if folder is None else folder)
    if found == len(images):
        CONSOLE.log(f"latents: all {found} images found in {place}, nothing to encode")
    else:
        CONSOLE.log(f"latents: encoding {len(images) - found} of {len(images)} images, kept in {place}")
        remove_unfinished(*{path.parent for path in files.values()}, age=OLD)
    for scene in track(list(groups), "Encoding images, scene by scene", transient=True, disable=found == len(images)):
        members = groups[scene]
        latents = _read(files[scene], len(members)) if scene in files else None
        if latents is None:
            latents = encode_images([images[i] for i in members], autoencoder, batch_size)
            if scene in files:
                _write(files[scene], latents)
        yield members, latents


def group_by(labels: Sequence[int]) -> Dict[int, List[int]]:
    """Positions of each label, in order."""
    groups: Dict[int, List[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return groups


@torch.no_grad()
def encode_images(images: Sequence[Shaped[Tensor, "_ _ 3"]], autoencoder: Autoencoder, batch_size: int) -> List[Tensor]:
    """Raw latents [h, w, C] in float16, on the host; pictures of one size are encoded together, in bfloat16 where the
    device computes in it: half the time, with an error 48 dB below the latents' deviation."""
    sizes = group_by([hash(tuple(image.shape)) for image in images])
    device = autoencoder.device
    latents: Dict[int, Tensor] = {}
    for members in sizes.values():
        count = autoencoder.at_once(batch_size, *images[members[0]].shape[:2])
        for start in range(0, len(members), count):
            part = members[start : start + count]
            batch = as_float(torch.stack([images[i] for i in part]).to(device))
            with autocast("auto", device):
                encoded = autoencoder.encode(batch)
            latents.update(zip(part, encoded.half().cpu(), strict=True))
    return [latents[i] for i in range(len(images))]


def encoding_hash(autoencoder: Autoencoder) -> str:
    """Hash of what decides cached latents: the autoencoder, and whether it encodes in bfloat16."""
    own = autoencoder.fingerprint()
    return hashlib.sha256(f"{own} in bfloat16".encode()).hexdigest()[:16] if has_bfloat16(autoencoder.device) else own


def _files(
    folder: Path, images: Sequence[Tensor], groups: Dict[int, List[int]], autoencoder: Autoencoder
) -> Dict[int, Path]:

    def hash_of(index: int) -> str:
        image = images[index]
        digest = hashlib.sha256(str(tuple(image.shape)).encode())
        digest.update(image.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(hash_of, range(len(images))))
    base, files = folder / encoding_hash(autoencoder), {}
    for scene, members in groups.items():
        name = hashlib.sha256("".join(hashes[i] for i in members).encode()).hexdigest()
        files[scene] = base / name[:2] / f"{name[:40]}.{CACHE_FORMAT}.safetensors"
    return files


def _read(path: Path, count: int) -> Optional[List[Tensor]]:
    """The latents of a file, or None where it is missing or does not verify; such a file is written anew."""
    from safetensors import safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
            expected = (file.metadata() or {}).get(CHECKSUM)
    except Exception as error:  # safetensors' own error type, or the system's
        CONSOLE.log(f"latents: {for_markup(path)} is unreadable ({for_markup(error)}); its scene is encoded again")
        return None
    if expected is not None and expected != str(_checksum(stored)):
        CONSOLE.log(f"latents: {for_markup(path)} is damaged; its scene is encoded again")
        return None
    names = [f"{i:06d}" for i in range(count)]
    return [stored[name] for name in names] if sorted(stored) == names else None


def _checksum(tensors: Dict[str, Tensor]) -> int:
    return zlib.crc32(b"".join(tensors[name].contiguous().numpy().tobytes() for name in sorted(tensors)))


def _write(path: Path, latents: Sequence[Tensor]) -> None:
    """Writes a file with a checksum; one that cannot be written is no error."""
    from safetensors.torch import save

    tensors = {f"{i:06d}": latent.contiguous() for i, latent in enumerate(latents)}
    try:
        write_bytes(path, save(tensors, {CHECKSUM: str(_checksum(tensors))}))
    except OSError as error:
        CONSOLE.log(f"latents: not kept on disk ({for_markup(error)}); training goes on with those in memory")
