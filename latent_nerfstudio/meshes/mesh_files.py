"""Mesh files of strangers: what is checked before trimesh reads them, and what they lead to."""

import hashlib
import logging
import os
import re
import warnings
from codecs import BOM_UTF8
from io import BytesIO
from pathlib import Path, PureWindowsPath
from typing import Any, Container, Iterable, Optional
from urllib.parse import unquote

import trimesh
from PIL import EpsImagePlugin, Image, UnidentifiedImageError
from trimesh.resolvers import FilePathResolver

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_bytes
from latent_nerfstudio.meshes.gltf import base_images, check_gltf, check_support, embedded
from latent_nerfstudio.pictures import FORMATS

GLTF = (".glb", ".gltf")

LARGEST_FILE = 1 << 29
"""Bytes of a mesh file at most, and of all files that it names together."""

LARGEST_SCENE = 1 << 23
"""Faces of all instances of a file's meshes at most; some 300 bytes each."""

MATERIAL, MOST_MATERIALS = re.compile(rb"^[ \t]*usemtl[ \t]([^\n]*)", re.MULTILINE), 1 << 12
"""A line of an OBJ file that names a material, and materials at most."""

COLOURED_OFF = re.compile(
    rb"^\s*C|^[ \t]*3(?:[ \t]+\d+){3}[ \t]+[\d.]|^[ \t]*4(?:[ \t]+\d+){4}[ \t]+[\d.]", re.MULTILINE
)
"""What an OFF file with colours of vertices begins with, or a face of three or four corners with more behind them."""

LARGEST_TEXTURES = 1 << 26
"""Pixels of all textures of a file at most: one of 8192 x 8192."""


logging.getLogger("trimesh").addHandler(logging.NullHandler())  # else it prints tracebacks of textures that are absent


class MeshError(ValueError):
    """A mesh file that cannot be read, worded."""


class CheckedResolver(FilePathResolver):
    """Reads what a mesh file names: materials, textures, buffers. Regular files beside it or below, of bounded size.
    trimesh goes on without what it cannot have; `failures` says what that was, `files` what was read."""

    def __init__(self, source: str):
        super().__init__(source)
        self.failures: dict[str, Exception] = {}
        self.left = LARGEST_FILE
        self.files: dict[str, Optional[str]] = {}
        """SHA-256 of each file by the name that it is called by; None of one that is not there."""
        self.buffers: Container[str] = ()
        """Names, besides those of materials, that are none of pictures."""

    def get(self, name: str) -> bytes:
        self.files[name] = None
        try:
            path = self.place(name)
            if not path.is_relative_to(os.path.realpath(self.parent)):
                raise MeshError(problem(self.file_path, "files beside it or below", name, "put them there"))
            content = read_bytes(path, self.left)
            self.left -= len(content)
            self.files[name] = hashlib.sha256(content).hexdigest()
            if name not in self.buffers and path.suffix.lower() != ".mtl":
                check_picture(content, path)
            return content
        except Exception as error:
            self.failures[name] = error
            raise

    def place(self, name: str) -> Path:
        """Where a file is: as it is named, as glTF writes blanks, as Windows writes folders, or beside the mesh."""
        name = name.strip()
        spellings = (name, unquote(name), name.replace("\\", "/"), PureWindowsPath(name).name)
        places = [Path(os.path.realpath(os.path.join(self.parent, spelling))) for spelling in spellings]
        return next((place for place in places if place.is_file()), places[0])


def read_mesh_file(path: Path) -> tuple[trimesh.Scene, dict[str, Optional[str]]]:
    """Reads a glb, gltf, obj, ply, stl or off, with bounds on what it says to hold, and says by hashes of which files,
    see `CheckedResolver.files`. Textures are not decoded yet."""
    # trimesh opens textures itself, and Pillow starts Ghostscript for some kinds of them.
    EpsImagePlugin.gs_binary = False
    kind, data = path.suffix.lower(), read_bytes(path, LARGEST_FILE)
    resolver = CheckedResolver(str(path))
    resolver.files[path.name] = hashlib.sha256(data).hexdigest()
    if kind in GLTF:
        data = data.removeprefix(BOM_UTF8)  # with which trimesh would read another file
        header = check_gltf(data, path, resolver.place)
        check_support(header, path)
        resolver.buffers = {buffer.get("uri") for buffer in header.get("buffers", [])}
        for image in base_images(header, path):
            if (content := embedded(image, header, data)) is not None:
                check_picture(content, path)
    # Each material makes a mesh of its own: more of them cannot be told apart in seconds.
    if kind == ".obj" and (count := len({line.strip() for line in MATERIAL.findall(data)})) > MOST_MATERIALS:
        raise MeshError(problem(path, f"at most {MOST_MATERIALS:,} materials", f"{count:,}", "join some of them"))
    if kind == ".off" and COLOURED_OFF.search(data):
        warnings.warn(f"{path}: colours of OFF files are not read; it is rendered grey", stacklevel=2)
    # Unprocessed: else vertices that are NaN are left out with their faces, and those of small meshes become one.
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(data), kind[1:], resolver=resolver, process=False)
    for name, error in resolver.failures.items():
        if not isinstance(error, FileNotFoundError):
            raise error
        warnings.warn(f"{path}: '{name}', which it names, is not there; it is rendered without", stacklevel=2)
    faces = {name: len(part.faces) for name, part in scene.geometry.items() if isinstance(part, trimesh.Trimesh)}
    count = sum(faces.get(scene.graph[node][1], 0) for node in scene.graph.nodes_geometry)
    if count > LARGEST_SCENE:
        raise MeshError(problem(path, f"at most {LARGEST_SCENE:,} faces", f"{count:,}", "simplify the mesh"))
    return scene, resolver.files


def hashes_of(mesh: Path, names: Iterable[str]) -> dict[str, Optional[str]]:
    """What `CheckedResolver.files` of these names would be now."""
    places = {name: CheckedResolver(str(mesh)).place(name) for name in names}
    return {
        name: hashlib.sha256(read_bytes(place, LARGEST_FILE)).hexdigest() if place.is_file() else None
        for name, place in places.items()
    }


def check_picture(content: bytes, path: Path) -> None:
    """Refuses a texture that Pillow does not open, without which trimesh would go on."""
    try:
        Image.open(BytesIO(content)).close()
    except Exception as error:
        reason = "another format" if isinstance(error, UnidentifiedImageError) else f"{type(error).__name__}: {error}"
        do = "convert them to PNG or JPEG of at most 8192 x 8192 pixels"
        raise MeshError(problem(path, "textures that can be read", reason, do)) from error


def check_textures(images: list[Any], path: Path) -> None:
    """Refuses textures, not decoded yet, of other formats than those of pictures, and more pixels than memory holds."""
    for image in images:
        if image.format not in (*FORMATS, "TGA", None):  # those that were made in memory have no format
            raise MeshError(problem(path, f"textures in {', '.join(FORMATS)}", image.format, "convert them"))
    pixels = sum(image.width * image.height for image in images)
    if pixels > LARGEST_TEXTURES:
        got = f"{pixels:,}"
        raise MeshError(problem(path, f"textures of at most {LARGEST_TEXTURES:,} pixels in all", got, "shrink them"))
