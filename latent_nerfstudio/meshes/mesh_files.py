"""Mesh files of strangers: what is checked before trimesh reads them, and what they lead to."""

import os
import re
import warnings
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import trimesh
from PIL import EpsImagePlugin
from trimesh.resolvers import FilePathResolver

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_bytes
from latent_nerfstudio.meshes.gltf_limits import check_gltf
from latent_nerfstudio.pictures import FORMATS

GLTF = (".glb", ".gltf")

LARGEST_FILE = 1 << 29
"""Bytes of a mesh file at most, and of all files that it names together."""

LARGEST_SCENE = 1 << 23
"""Faces of all instances of a file's meshes at most; some 300 bytes each."""

MATERIAL, MOST_MATERIALS = re.compile(rb"^[ \t]*usemtl[ \t]([^\n]*)", re.MULTILINE), 1 << 12
"""A line of an OBJ file that names a material, and materials at most."""

LARGEST_TEXTURES = 1 << 26
"""Pixels of all textures of a file at most: one of 8192 x 8192."""


class MeshError(ValueError):
    """A mesh file that cannot be read, worded."""


class CheckedResolver(FilePathResolver):
    """Reads what a mesh file names: materials, textures, buffers. Regular files beside it or below, of bounded size.
    trimesh goes on without what it cannot have; `failures` says what that was."""

    def __init__(self, source: str):
        super().__init__(source)
        self.failures: dict[str, Exception] = {}
        self.left = LARGEST_FILE

    def get(self, name: str) -> bytes:
        path = self.place(name)
        try:
            if not path.is_relative_to(os.path.realpath(self.parent)):
                raise MeshError(problem(self.file_path, "files beside it or below", name, "put them there"))
            content = read_bytes(path, self.left)
            self.left -= len(content)
            return content
        except Exception as error:
            self.failures[name] = error
            raise

    def place(self, name: str) -> Path:
        return Path(os.path.realpath(os.path.join(self.parent, name.strip())))


def read_mesh_file(path: Path) -> trimesh.Scene:
    """Reads a glb, gltf, obj, ply, stl or off, with bounds on what it says to hold. Textures are not decoded yet."""
    # trimesh opens textures itself, and Pillow starts Ghostscript for some kinds of them.
    EpsImagePlugin.gs_binary = False
    kind, data = path.suffix.lower(), read_bytes(path, LARGEST_FILE)
    resolver = CheckedResolver(str(path))
    if kind in GLTF:
        data = data.removeprefix(BOM_UTF8)  # with which trimesh would read another file
        check_gltf(data, path, resolver.place)
    if kind == ".obj":
        check_materials(data, path)
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


def check_materials(data: bytes, path: Path) -> None:
    """Refuses an OBJ file of more materials than can be told apart in seconds: each makes a mesh of its own."""
    count = len({line.strip() for line in MATERIAL.findall(data)})
    if count > MOST_MATERIALS:
        raise MeshError(problem(path, f"at most {MOST_MATERIALS:,} materials", f"{count:,}", "join some of them"))


def check_textures(images: list[Any], path: Path) -> None:
    """Refuses textures, not decoded yet, of other formats than those of pictures, and more pixels than memory holds."""
    for image in images:
        if image.format not in (*FORMATS, "TGA", None):  # those that were made in memory have no format
            raise MeshError(problem(path, f"textures in {', '.join(FORMATS)}", image.format, "convert them"))
    pixels = sum(image.width * image.height for image in images)
    if pixels > LARGEST_TEXTURES:
        got = f"{pixels:,}"
        raise MeshError(problem(path, f"textures of at most {LARGEST_TEXTURES:,} pixels in all", got, "shrink them"))
