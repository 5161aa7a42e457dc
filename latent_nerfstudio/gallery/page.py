"""The page of a gallery: a template, the scenes as JSON in it, and a strip of pictures of each, the views of a turn
beside each other."""

import html
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from latent_nerfstudio.api.framing import framed
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.api.scenes import Scenes, joined
from latent_nerfstudio.errors import is_number, problem
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.files.hub import local
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.latent_space.latent_space import as_bytes
from latent_nerfstudio.latent_space.resolution import resized

STRIPS = "strips"
"""Folder of the strips beside the page."""

FILES = rf"index\.html|{STRIPS}/\d{{5}}\.webp"
"""What a gallery consists of, and all that a new one replaces."""

MAX_STRIP, QUALITY = 16383, 82
"""Pixels along a side of a WebP at most, and its quality."""

SHOWN, ACROSS = 12, 4
"""Scenes of a sheet at most, and beside each other."""


def write_gallery(
    output: Path, scenes: Scenes, names: Sequence[str], views: int = 24, size: int = 192, title: str = ""
) -> Path:
    """Writes a folder, whole or not at all, with `index.html`, whose path is returned, and a strip of each scene."""
    sizes = bytes_of(scenes)
    with replacing_folder(output, FILES) as writing:
        (writing / STRIPS).mkdir()
        rows = []
        for index, name in enumerate(progress(names, "Drawing scenes", len(names))):
            file = f"{STRIPS}/{index:05d}.webp"  # which has nothing of the scene's own name
            Image.fromarray(strip(scenes, name, views, size)).save(writing / file, quality=QUALITY, method=4)
            rows.append(row(name, scenes.facts.get(name, {}), sizes.get(name), file))
        (writing / "index.html").write_text(page(title or scenes.title, rows, views), encoding="utf-8")
    return output / "index.html"


def row(name: str, facts: Dict[str, Any], size: Optional[int], file: str) -> Dict[str, Any]:
    """What the page holds of a scene; numbers that are none are left out."""
    psnr: Any = facts.get("psnr")
    return {"name": name, "file": file, "psnr": round(float(psnr), 2) if is_number(psnr) else None, "bytes": size}


def page(title: str, rows: List[Dict[str, Any]], views: int) -> str:
    """The page. Names may hold anything: they are text in JSON, in which `<` is spelled out, and never HTML."""
    data = json.dumps({"views": views, "scenes": rows}, allow_nan=False).replace("<", "\\u003c")
    parts = {"TITLE": html.escape(for_terminal(title)), "DATA": data}
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return re.sub("TITLE|DATA", lambda found: parts[found[0]], template)


def bytes_of(scenes: Scenes) -> Dict[str, int]:
    """The bytes of each scene: of its file where it came from one, else of its planes in float32."""
    path = local(Path(scenes.source).expanduser(), "scenes")
    files: Dict[str, int] = {}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            files = {Path(member.filename).stem: member.file_size for member in archive.infolist()}
    elif scenes.bundle is not None:
        paths = path.rglob("*.safetensors") if path.is_dir() else [path]
        files = {file.stem: file.stat().st_size for file in paths}
    own = scenes.model.scene_bytes()
    return {name: files.get(name, own) for name in scenes.names}


def check_strip(views: int, size: int) -> None:
    most = MAX_STRIP // max(1, size)
    if size < 16 or not 1 <= views <= most:
        expected = f"1 to {max(1, most)} views of at least 16 pixels, {MAX_STRIP} pixels beside each other at most"
        raise ValueError(problem("gallery", expected, f"{views} views of {size}", "lower --views or --size"))


def strip(scenes: Scenes, name: str, views: int, size: int) -> UInt8[np.ndarray, "size strip_width 3"]:
    """The views of a turn about a scene, squares beside each other that the object fills and does not leave."""
    ring = scenes.ring(name)
    side = min(ring.height, ring.width)
    cameras = framed(scenes, [name], replace(ring, height=side, width=side)).cameras(views)
    pictures = joined(list(scenes.stream([name] * views, cameras))).rgb
    return np.concatenate(list(as_bytes(resized(pictures, size, size))), axis=1)


def sheet(scenes: Scenes, size: int = 256) -> bytes:
    """One view of each of some scenes, in rows, as WebP."""
    thumbnails = [strip(scenes, name, 1, size) for name in scenes.names[:SHOWN]]
    across = min(ACROSS, len(thumbnails))
    thumbnails += [np.full_like(thumbnails[0], 255)] * (-len(thumbnails) % across)
    rows = [np.concatenate(thumbnails[i : i + across], axis=1) for i in range(0, len(thumbnails), across)]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(stream, "WEBP", quality=QUALITY)
    return stream.getvalue()
