"""The page of a gallery: a template, and the scenes as JSON in it."""

import html
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.files.hub import local
from latent_nerfstudio.files.replacing import replacing_folder
from latent_nerfstudio.gallery.strips import write_strips

STRIPS = "strips"
"""Folder of the strips beside the page."""

FILES = rf"index\.html|{STRIPS}/\d{{5}}\.webp"
"""What a gallery consists of, and all that a new one replaces."""


def write_gallery(
    output: Path, scenes: Scenes, names: Sequence[str], views: int = 24, size: int = 192, title: str = ""
) -> Path:
    """Writes a folder, whole or not at all, with `index.html`, whose path is returned, and a strip of each scene."""
    sizes = bytes_of(scenes)
    with replacing_folder(output, FILES) as writing:
        files = write_strips(scenes, list(names), writing / STRIPS, views, size)
        named = zip(names, files, strict=True)
        rows = [row(name, scenes.facts.get(name, {}), sizes.get(name), file) for name, file in named]
        (writing / "index.html").write_text(page(title or scenes.title, rows, views), encoding="utf-8")
    return output / "index.html"


def row(name: str, facts: Dict[str, Any], size: Optional[int], file: str) -> Dict[str, Any]:
    """What the page holds of a scene; numbers that are none are left out."""
    psnr: Any = facts.get("psnr")
    good = type(psnr) in (int, float) and math.isfinite(psnr)
    return {"name": name, "file": f"{STRIPS}/{file}", "psnr": round(psnr * 1.0, 2) if good else None, "bytes": size}


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
