"""glTF of strangers, before trimesh reads it: what it says to hold is bounded, as its lists may overlap, repeat, or
have nothing behind them, so that a few kilobytes stand for any number of bytes; and what trimesh would leave out
without a word is refused, as it would be rendered wrongly."""

import base64
import binascii
import struct
from importlib.util import find_spec
from operator import mul
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.reading import parse_json

LARGEST_HEADER = 1 << 26
"""Bytes of JSON at most; what a .gltf embeds as text is part of it."""

SPARE = 1 << 26
"""Bytes that views and accessors may have beyond a multiple of what their files have: some are all zeros."""

OF_EACH_MESH = 1 << 13
"""Numbers that a mesh counts as whatever it has: it takes a millisecond."""

NUMBER_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2}
"""Bytes of a number by its component type; others have 4."""

NUMBERS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""Numbers of an element by its type."""

AGAIN = "export it again"

READ = (
    *("KHR_materials_", "KHR_lights_", "KHR_xmp", "KHR_animation", "EXT_lights_"),
    *("KHR_texture_transform", "KHR_mesh_quantization", "EXT_texture_webp"),
)
"""How names of extensions begin that are read, or that change nothing of shape and base colour."""

UNMOVED = {"offset": [0, 0], "rotation": 0, "scale": [1, 1], "texCoord": 0}
"""What KHR_texture_transform says of a texture that stays where it is."""

DRACO, WEBP = "KHR_draco_mesh_compression", "EXT_texture_webp"

PLAIN = "export it without compression and quantization"


def check_gltf(data: bytes, path: Path, beside: Callable[[str], Path]) -> Dict[str, Any]:
    """The JSON of glTF, refused where it takes far more memory than its files, which `beside` finds by their names."""
    header = header_of(data, path)
    longest = max((len(value) for value in header.values() if isinstance(value, list)), default=0)
    check_most(longest, 1 << 16, "entries of a list", path)
    names = [buffer.get("uri") for buffer in header.get("buffers", [])]
    files = {beside(name) for name in names if isinstance(name, str) and "base64," not in name}
    held = len(data) + sum(file.stat().st_size for file in files if file.is_file())
    views = sum(count_of(view, "byteLength", path) for view in header.get("bufferViews", []))
    check_most(views, SPARE + 2 * held, "bytes of views", path)
    accessors: List[Dict[str, Any]] = header.get("accessors", [])
    counts = [count_of(accessor, "count", path) for accessor in accessors]
    widths = (NUMBER_BYTES.get(a.get("componentType", 0), 4) * NUMBERS.get(a.get("type", ""), 16) for a in accessors)
    check_most(sum(map(mul, counts, widths)), SPARE + 4 * held, "bytes of accessors", path)
    meshes = (part for mesh in header.get("meshes", []) for part in mesh["primitives"])
    check_most(sum(numbers_of(part, counts) for part in meshes), 1 << 27, "numbers of meshes", path)  # 8 bytes each
    steps = steps_to_roots(header.get("nodes", []))  # trimesh takes some 20 microseconds for each
    check_most(steps, 1 << 19, "steps from nodes to their roots", path)
    return header


def header_of(data: bytes, path: Path) -> Dict[str, Any]:
    """The JSON of glTF, which must not be too much."""
    if path.suffix.lower() == ".glb":
        if data[:4] != b"glTF":
            raise ValueError("no binary glTF")
        (length,) = struct.unpack("<I", data[12:16])
        data = data[20 : 20 + length]
    check_most(len(data), LARGEST_HEADER, "bytes of JSON", path)
    return parse_json(data, path, AGAIN)


def check_most(number: int, most: int, what: str, path: Path) -> None:
    if number > most:
        raise ValueError(problem(path, f"at most {most:,} {what}", f"{number:,}", AGAIN))


def count_of(entry: Dict[str, Any], name: str, path: Path) -> int:
    """A count, 0 where there is none; it must be a whole number."""
    value = entry.get(name, 0)
    if type(value) is not int or value < 0:
        raise ValueError(problem(path, f"a count as {name}", f"{value!r:.40}", AGAIN))
    return value


def numbers_of(primitive: Dict[str, Any], counts: List[int]) -> int:
    """Coordinates and indices of a mesh."""
    corners = counts[primitive["attributes"]["POSITION"]]
    return OF_EACH_MESH + 3 * corners + (counts[primitive["indices"]] if "indices" in primitive else corners)


def steps_to_roots(nodes: List[Dict[str, Any]]) -> int:
    """Sum of the depths of all nodes, each counted for every parent that it has; circles are left to trimesh."""
    children = [node.get("children", []) for node in nodes]
    parents = [0] * len(nodes)
    for child in (child for own in children for child in own):
        parents[child] += 1
    depths, left = [0] * len(nodes), [index for index, count in enumerate(parents) if not count]
    for index in left:  # which grows: parents before their children (Kahn, Communications of the ACM 5(11), 1962)
        for child in children[index]:
            depths[child] += depths[index] + 1
            parents[child] -= 1
            if not parents[child]:
                left.append(child)
    return sum(depths)


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
        moved = {"texCoord": entry.get("texCoord", 0), **entry.get("extensions", {}).get("KHR_texture_transform", {})}
        if others := [name for name, value in moved.items() if UNMOVED.get(name, value) != value]:
            do = "bake them into the first texture coordinates (gltf-transform, Blender)"
            raise ValueError(problem(path, "base colours at TEXCOORD_0 as it is", f"other {few_of(others)}", do))
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
