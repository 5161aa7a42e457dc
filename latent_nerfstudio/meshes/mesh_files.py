"""Mesh files of strangers: what is checked before trimesh reads them, and what they lead to."""

import json
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import trimesh
from PIL import EpsImagePlugin
from trimesh.resolvers import FilePathResolver

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import open_file
from latent_nerfstudio.pictures import FORMATS

GLTF = (".glb", ".gltf")

LARGEST_FILE = 2 << 30
"""Bytes of a mesh file, or of a file that it names, at most."""

LARGEST_ACCESSOR = 1 << 26
"""Elements of a list of glTF at most: one without bytes behind it is all zeros, and may say to be of any length."""

LARGEST_SCENE = 1 << 25
"""Faces of all instances of a file's meshes at most; some 300 bytes each."""

LARGEST_TEXTURES = 1 << 26
"""Pixels of all textures of a file at most: one of 8192 x 8192."""


class MeshError(ValueError):
    """A mesh file that cannot be read, worded."""


class CheckedResolver(FilePathResolver):
    """Reads what a mesh file names: materials, textures, buffers. Regular files beside it or below, of bounded size.

    trimesh goes on without what it cannot have; `failures` says what that was.
    """

    def __init__(self, source: str):
        super().__init__(source)
        self.failures: dict[str, Exception] = {}

    def get(self, name: str) -> bytes:
        """The contents of a file.

        Raises:
            ValueError: it lies elsewhere, is no regular file, or is too large.
            FileNotFoundError: no such file.
        """
        path = Path(os.path.realpath(os.path.join(self.parent, name.strip())))
        try:
            if not path.is_relative_to(os.path.realpath(self.parent)):
                raise MeshError(problem(self.file_path, "files beside it or below", name, "put them there"))
            return read_bytes(path)
        except Exception as error:
            self.failures[name] = error
            raise


def read_bytes(path: Path) -> bytes:
    """A regular file of at most `LARGEST_FILE` bytes.

    Raises:
        ValueError: another one.
        FileNotFoundError: no such file.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_FILE:
            raise MeshError(problem(path, f"at most {LARGEST_FILE:,} bytes", f"{size:,}", "make it smaller"))
        return file.readall()  # type: ignore[attr-defined]


def read_mesh_file(path: Path) -> trimesh.Scene:
    """Reads a mesh file, with bounds on what it says to hold. Textures are not decoded yet.

    Args:
        path: glb, gltf, obj, ply, stl or off.

    Raises:
        ValueError: it cannot be read, or says to hold more than memory does.
        FileNotFoundError: no such file.
    """
    # trimesh opens textures itself, and Pillow starts Ghostscript for some kinds of them.
    EpsImagePlugin.gs_binary = False
    kind, data = path.suffix.lower(), read_bytes(path)
    if kind in GLTF:
        check_lists(gltf_header(data), path)
    resolver = CheckedResolver(str(path))
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(data), kind[1:], resolver=resolver)
    for name, error in resolver.failures.items():
        if not isinstance(error, FileNotFoundError):
            raise error
        warnings.warn(f"{path}: '{name}', which it names, is not there; it is rendered without", stacklevel=2)
    faces = {name: len(part.faces) for name, part in scene.geometry.items() if isinstance(part, trimesh.Trimesh)}
    count = sum(faces.get(scene.graph[node][1], 0) for node in scene.graph.nodes_geometry)
    if count > LARGEST_SCENE:
        raise MeshError(problem(path, f"at most {LARGEST_SCENE:,} faces", f"{count:,}", "simplify the mesh"))
    return scene


def gltf_header(data: bytes) -> dict[str, Any]:
    """The JSON of a glTF file, binary or not."""
    if data[:4] == b"glTF":
        (length,) = struct.unpack("<I", data[12:16])
        data = data[20 : 20 + length]
    header = json.loads(data)
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    return header


def check_lists(header: dict[str, Any], path: Path) -> None:
    """Refuses glTF whose lists say to be longer than memory holds."""
    counts = [accessor.get("count", 0) for accessor in header.get("accessors", [])]
    if not all(isinstance(count, int) and 0 <= count <= LARGEST_ACCESSOR for count in counts):
        got = f"{max(map(float, counts)):,.0f}"
        raise MeshError(problem(path, f"lists of at most {LARGEST_ACCESSOR:,} elements", got, "export it again"))
    if sum(counts) > 4 * LARGEST_ACCESSOR:
        got = f"{sum(counts):,}"
        raise MeshError(problem(path, f"at most {4 * LARGEST_ACCESSOR:,} elements in all", got, "export it again"))


def check_textures(images: list[Any], path: Path) -> None:
    """Refuses textures of other formats than those of pictures, and more pixels than memory holds.

    Args:
        images: Pillow's images, not decoded yet.
        path: of the mesh, for the message.

    Raises:
        ValueError: such textures.
    """
    for image in images:
        if image.format not in (*FORMATS, "TGA", None):  # those that were made in memory have no format
            raise MeshError(problem(path, f"textures in {', '.join(FORMATS)}", image.format, "convert them"))
    pixels = sum(image.width * image.height for image in images)
    if pixels > LARGEST_TEXTURES:
        got = f"{pixels:,}"
        raise MeshError(problem(path, f"textures of at most {LARGEST_TEXTURES:,} pixels in all", got, "shrink them"))
