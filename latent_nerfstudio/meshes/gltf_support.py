"""What glTF may ask for that trimesh leaves out without a word: it is refused, as it would be rendered wrongly."""

import base64
import binascii
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from latent_nerfstudio.errors import few_of, problem

READ = (
    *("KHR_materials_", "KHR_lights_", "KHR_xmp", "KHR_animation", "EXT_lights_"),
    *("KHR_texture_transform", "KHR_mesh_quantization", "EXT_texture_webp"),
)
"""How names of extensions begin that are read, or that change nothing of shape and base colour."""

DRACO = "KHR_draco_mesh_compression"

WEBP = "EXT_texture_webp"

PLAIN = "export it without compression and quantization"


def check_support(header: Dict[str, Any], path: Path) -> None:
    """Refuses glTF that cannot be read without an extension that is not there, and coordinates that are shares of the
    largest whole number, which trimesh takes as they are."""
    known = (*READ, DRACO) if find_spec("DracoPy") else READ
    unknown = [name for name in header.get("extensionsRequired", []) if not str(name).startswith(known)]
    if unknown:
        raise ValueError(problem(path, "glTF without extensions that it requires", few_of(unknown), PLAIN))
    accessors = header.get("accessors", [])
    for part in (part for mesh in header.get("meshes", []) for part in mesh["primitives"]):
        for name in ("POSITION", "TEXCOORD_0"):
            if name in part["attributes"] and accessors[part["attributes"][name]].get("normalized"):
                raise ValueError(problem(path, f"{name} in floats", "shares of the largest whole number", PLAIN))


def base_images(header: Dict[str, Any], path: Path) -> Iterator[Dict[str, Any]]:
    """The images of base colours; a texture that names none in a format that is read is refused."""
    entries = [material.get("pbrMetallicRoughness", {}) for material in header.get("materials", [])]
    for entry in (entry["baseColorTexture"] for entry in entries if "baseColorTexture" in entry):
        texture = header["textures"][entry["index"]]
        others = texture.get("extensions", {})
        source = others.get(WEBP, texture).get("source", texture.get("source"))
        if source is None:
            raise ValueError(problem(path, "textures in PNG, JPEG or WEBP", few_of(list(others)) or "none", PLAIN))
        yield header["images"][source]


def embedded(image: Dict[str, Any], header: Dict[str, Any], data: bytes) -> Optional[bytes]:
    """The bytes of an image that lies in the JSON or in the binary part of a .glb; None for one in another file."""
    if (uri := image.get("uri")) is not None:
        try:
            return base64.b64decode(uri.partition(",")[2]) if uri.startswith("data:") else None
        except binascii.Error:
            return b""
    view = header["bufferViews"][image["bufferView"]]
    if data[:4] != b"glTF" or "uri" in header["buffers"][view["buffer"]]:
        return None
    start = 28 + struct.unpack("<I", data[12:16])[0] + view.get("byteOffset", 0)
    return data[start : start + view["byteLength"]]
