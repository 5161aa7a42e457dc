"""A mesh flattened to what a ray caster needs: triangles, colours at their corners, textures."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from latent_nerfstudio.errors import is_worded, problem
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.meshes.mesh_files import GLTF, MeshError, check_textures, read_mesh_file
from latent_nerfstudio.pictures import has_alpha

Colour = tuple[float, float, float]
WHITE = (1.0, 1.0, 1.0)
UNCOLOURED = 0.7
"""Grey of meshes that have no colours."""
MAX_VALENCE = 64
"""Corners beyond this number around one vertex do not enter its smooth normal (tips of finely cut cones)."""

LARGEST_COORDINATE = 1e30
"""Of a vertex: the square of an area is still far from the largest number."""

LARGEST_SIDE = 4096
"""Pixels along a side of a texture; larger ones are averaged down, to less than any view can show."""

CREASE = math.radians(40)
"""Angle from which on faces do not share a smooth normal."""

Shading = Literal["smooth", "flat"]

UpAxis = Literal["y", "z"]

TextureKey = tuple[int, str]
"""The `id` of a picture, and Pillow's mode."""


@dataclass(frozen=True)
class Surface:
    """Triangles with colours: of a point its corners' tint and alpha, times those of its texture where it has one."""

    triangles: Float[np.ndarray, "faces 3 3"]
    """Corners, z up."""
    tint: Float[np.ndarray, "faces 3 3"]
    """sRGB in [0, 1] of each corner."""
    uv: Float[np.ndarray, "faces 3 2"]
    """Texture coordinates of each corner, v up; outside [0, 1] the texture repeats."""
    texture: Int[np.ndarray, "faces"]
    """Index into `textures`; -1 for faces without one."""
    opacity: Float[np.ndarray, "faces 3"]
    """Alpha of each corner."""
    cutoff: Float[np.ndarray, "faces"]
    """Alpha from which on a face is there, wholly; NaN where it is blended with what is behind."""
    textures: tuple[UInt8[np.ndarray, "_ _ _"], ...] = ()
    """[height, width, channels] each: RGB, or RGBA where alpha counts."""
    files: Mapping[str, Optional[str]] = field(default_factory=dict)
    """SHA-256 of the files that it was read from, see `CheckedResolver.files`."""

    def normalized(self, up_axis: UpAxis = "z") -> "Surface":
        """The same surface, centred, longest side 1, z up; see `unit_box_map`."""
        turn, shift, size = unit_box_map(self.triangles, up_axis)
        return replace(self, triangles=np.clip((self.triangles @ turn.T + shift) / size, -0.5, 0.5))

    def moved(self, matrix: Float[np.ndarray, "4 4"]) -> "Surface":
        """The same surface after an affine map; one that mirrors turns the faces, so that they still look outwards."""
        triangles = self.triangles @ matrix[:3, :3].T + matrix[:3, 3]
        order = slice(None, None, -1 if np.linalg.det(matrix[:3, :3]) < 0 else 1)
        tint, uv, opacity = self.tint[:, order], self.uv[:, order], self.opacity[:, order]
        return replace(self, triangles=triangles[:, order], tint=tint, uv=uv, opacity=opacity)


def unit_box_map(
    triangles: Float[np.ndarray, "faces 3 3"], up_axis: UpAxis = "z"
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], float]:
    """Turn, shift and size that map triangles into [-0.5, 0.5]^3, centred and z up: (turn x + shift) / size."""
    # y up keeps x, and what looked along z then looks along -y
    turn = np.eye(3) if up_axis == "z" else np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    turned = (triangles @ turn.T).reshape(-1, 3)
    low, high = turned.min(0), turned.max(0)
    return turn, -0.5 * (low + high), float((high - low).max())


def load_surface(path: Path) -> Surface:
    """Reads a mesh file (glb, gltf, obj, ply, stl, off), with its textures, colours and instances. Colours are sRGB as
    in pictures: glTF's factors and vertex colours, which are linear, are encoded. Alpha counts as the alpha mode of a
    glTF material says; faces of other formats are opaque, and those with alpha are warned of."""
    try:
        scene, files = read_mesh_file(path)
        meshes = {name: part for name, part in scene.geometry.items() if isinstance(part, trimesh.Trimesh)}
        images = {key: image for key, image in (texture_of(mesh.visual) for mesh in meshes.values()) if image}
        check_textures(list({id(image): image for image in images.values()}.values()), path)
        factors = {key: -(-max(image.size) // LARGEST_SIDE) for key, image in images.items()}
        pixels = {key: reduced(np.asarray(image.convert(key[1])), factors[key]) for key, image in images.items()}
        is_linear = path.suffix.lower() in GLTF
        parts = {name: surface_of(mesh, is_linear, pixels) for name, mesh in meshes.items() if len(mesh.faces)}
        places = [scene.graph[node] for node in scene.graph.nodes_geometry]
        surfaces = [parts[name].moved(matrix) for matrix, name in places if name in parts]
    except Exception as error:  # the readers raise anything from struct.error to KeyError on a broken file
        if is_worded(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise MeshError(problem(path, "a readable mesh", reason, "export it again")) from error
    surfaces = [surface for surface in surfaces if len(surface.triangles)]
    if not surfaces:
        raise MeshError(problem(path, "a mesh with faces", "none", "export it again, whole, and not as points"))
    if names := [name for name, mesh in meshes.items() if is_taken_for_opaque(mesh.visual)]:
        listed = for_terminal(", ".join(names), 200)
        warnings.warn(f"{path}: rendered opaque, though it has alpha below 1: {listed}", stacklevel=2)
    return replace(join(surfaces), files=files)


def surface_of(
    mesh: trimesh.Trimesh, is_linear: bool = False, pixels: Optional[Mapping[TextureKey, np.ndarray]] = None
) -> Surface:
    """Flattens one mesh; faces without an area are left out. Colours of vertices may be linear, as glTF's are; base
    colour factors are in any case. `pixels` are decoded textures by their keys (`texture_of`)."""
    faces, do = np.asarray(mesh.faces), "repair the mesh"
    triangles = np.asarray(mesh.vertices, dtype=np.float64)[faces]
    if triangles.shape[1:] != (3, 3):
        raise MeshError(problem("mesh", "corners of shape [3, 3]", list(triangles.shape[1:]), do))
    if not (np.abs(triangles) <= LARGEST_COORDINATE).all():
        raise MeshError(problem("mesh", f"finite vertices up to {LARGEST_COORDINATE:g}", "NaN, infinity or more", do))
    kept = np.linalg.norm(area_vectors(triangles), axis=-1) > 0.0
    visual: Any = mesh.visual
    (key, image), uv, textures = texture_of(visual), np.zeros((*faces.shape, 2)), ()
    if image is not None:
        textures = (pixels[key] if pixels and key in pixels else np.asarray(image.convert(key[1])),)
        uv = np.asarray(visual.uv, dtype=np.float64)[faces][..., :2]
    rgba = corner_colours(mesh, image is not None, is_linear)[kept]
    texture = np.full(len(rgba), len(textures) - 1)
    cutoff = np.full(len(rgba), cutoff_of(visual))
    return Surface(triangles[kept], rgba[..., :3], uv[kept], texture, rgba[..., 3], cutoff, textures)


def plain(
    triangles: Float[np.ndarray, "faces 3 3"],
    rgb: Colour,
    uv: Optional[Float[np.ndarray, "faces 3 2"]] = None,
    *textures: UInt8[np.ndarray, "_ _ _"],
) -> Surface:
    """Faces that nothing is seen through, of one colour, and with a texture or without one."""
    count = len(triangles)
    tint, texture = np.broadcast_to(np.array(rgb), triangles.shape), np.full(count, len(textures) - 1)
    uv = np.zeros((count, 3, 2)) if uv is None else uv
    return Surface(triangles, tint, uv, texture, np.ones((count, 3)), np.zeros(count), textures)


def join(surfaces: list[Surface]) -> Surface:
    """One surface of many; a texture that several share is kept once."""
    unique = {id(image): image for surface in surfaces for image in surface.textures}
    places = {key: place for place, key in enumerate(unique)}
    # -1, for no texture, takes the last entry.
    tables = [np.array([*(places[id(image)] for image in s.textures), -1]) for s in surfaces]
    texture = np.concatenate([table[s.texture] for table, s in zip(tables, surfaces, strict=True)])
    names = ("triangles", "tint", "uv", "opacity", "cutoff")
    parts: Any = {name: np.concatenate([getattr(surface, name) for surface in surfaces]) for name in names}
    return Surface(texture=texture, textures=tuple(unique.values()), **parts)


def texture_of(visual: Any) -> tuple[TextureKey, Optional[Image.Image]]:
    """The picture of a material, where there are texture coordinates for it, not decoded yet, and before it its key."""
    material, uv = getattr(visual, "material", None), getattr(visual, "uv", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    found = None if uv is None or len(uv) == 0 else image
    return (id(found), "RGB" if cutoff_of(visual) == 0 or found is None or not has_alpha(found) else "RGBA"), found


def cutoff_of(visual: Any) -> float:
    """`Surface.cutoff` of a mesh, by the alpha mode of its glTF material; 0, for opaque, where there is none."""
    material: Any = getattr(visual, "material", None)
    mode, cutoff = getattr(material, "alphaMode", None), getattr(material, "alphaCutoff", None)
    if mode == "MASK":
        return 0.5 if cutoff is None else float(cutoff)
    return math.nan if mode == "BLEND" else 0.0


def corner_colours(mesh: trimesh.Trimesh, has_texture: bool, is_linear: bool = False) -> Float[np.ndarray, "faces 3 4"]:
    """sRGB and alpha in [0, 1] of each corner, from vertex colours, face colours or the plain colour of a material. A
    factor over a texture multiplies its sRGB values by its own, which is right for light of a pure power."""
    faces = np.asarray(mesh.faces)
    visual: Any = mesh.visual  # its class says which attributes there are; `kind` says it at run time
    if visual.kind == "face":
        colours = np.repeat(in_unit(visual.face_colors)[:, None], 3, axis=1)
    elif visual.kind == "vertex":
        colours = in_unit(visual.vertex_colors)[faces]
    elif visual.kind == "texture":
        is_linear = hasattr(visual.material, "baseColorFactor")
        colours = np.broadcast_to(material_colour(visual.material, has_texture), (*faces.shape, 4))
        extra = visual.vertex_attributes.get("color")  # glTF's COLOR_0, which multiplies the material
        if extra is not None and len(extra) == len(mesh.vertices):
            colours = colours * in_unit(extra)[faces]
    else:
        return np.broadcast_to((*[UNCOLOURED] * 3, 1.0), (*faces.shape, 4))
    return np.concatenate([srgb(colours[..., :3]), colours[..., 3:]], axis=-1) if is_linear else colours


def in_unit(colours: Any) -> Float[np.ndarray, "n 4"]:
    """RGBA in [0, 1] of colours in floats, or in integers that take their whole range; alpha 1 where there is none."""
    values = np.asarray(colours)
    whole = float(np.iinfo(values.dtype).max) if np.issubdtype(values.dtype, np.integer) else 1.0
    return np.concatenate([values / whole, np.ones((len(values), 1))], axis=1)[:, :4]


def material_colour(material: Any, has_texture: bool) -> Float[np.ndarray, "4"]:
    """Plain colour of a material in [0, 1]; white under a texture unless glTF says to multiply."""
    if hasattr(material, "baseColorFactor"):
        factor = material.baseColorFactor
        return np.ones(4) if factor is None else in_unit(np.asarray(factor)[None])[0]
    # A diffuse colour beside a texture is as often a leftover as it is meant; viewers differ, we show the texture.
    return np.ones(4) if has_texture else in_unit(np.asarray(material.main_color)[None])[0]


def srgb(linear: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Linear light in [0, 1] as a picture has it (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def is_taken_for_opaque(visual: Any) -> bool:
    """Whether a mesh has alpha below 1 of which no alpha mode says what it means, as glTF's does."""
    material: Any = getattr(visual, "material", None)
    if visual.kind in ("vertex", "face"):
        return bool((visual.vertex_colors[:, 3] < 255).any())
    return material is not None and not hasattr(material, "alphaMode") and bool(material.main_color[3] < 255)


def area_vectors(triangles: Float[np.ndarray, "faces 3 3"]) -> Float[np.ndarray, "faces 3"]:
    """Normals whose length is twice the area."""
    return np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])


def has_area(triangles: Float[np.ndarray, "faces 3 3"]) -> Bool[np.ndarray, "faces"]:
    """Which generated faces have an area: where a sweep shrinks to a point, one triangle of each quad has none."""
    return np.linalg.norm(area_vectors(triangles), axis=-1) > 1e-9


def corner_normals(
    triangles: Float[np.ndarray, "faces 3 3"], shading: Shading = "smooth"
) -> Float[np.ndarray, "faces 3 3"]:
    """Unit normal of each corner: of its face, or averaged with neighbours that bend by less than `CREASE`. These are
    found by position, so seams of textures do not show; sharp edges stay sharp."""
    weighted = area_vectors(triangles)
    unit = weighted / np.linalg.norm(weighted, axis=-1, keepdims=True)
    if shading == "flat":
        return np.repeat(unit[:, None], 3, axis=1)
    corners = triangles.reshape(-1, 3) - triangles.min((0, 1))
    _, vertex = trimesh.grouping.unique_rows(corners / max(float(corners.max()), 1e-30), digits=6)
    order = np.argsort(vertex, kind="stable")
    vertex, face = vertex[order], np.repeat(np.arange(len(triangles)), 3)[order]
    total = weighted[face].copy()
    for step in range(1, min(int(np.bincount(vertex).max()), MAX_VALENCE)):
        near = np.flatnonzero(vertex[:-step] == vertex[step:])
        near = near[np.einsum("ij,ij->i", unit[face[near]], unit[face[near + step]]) > math.cos(CREASE)]
        total[near] += weighted[face[near + step]]
        total[near + step] += weighted[face[near]]
    normals = np.empty_like(total)
    normals[order] = total / np.linalg.norm(total, axis=-1, keepdims=True)
    return normals.reshape(-1, 3, 3)


def shrink_textures(surface: Surface, samples_per_unit: float) -> Surface:
    """Averages textures down so that a texel is about as wide as the distance of the rays (`samples_per_unit` of length
    on the surface), against shimmer; never by the view, so that views stay consistent."""
    textures = []
    for index, image in enumerate(surface.textures):
        chosen = surface.texture == index
        area = np.linalg.norm(area_vectors(surface.triangles[chosen]), axis=-1)
        (a, b), size = np.moveaxis(surface.uv[chosen][:, 1:] - surface.uv[chosen][:, :1], 1, 0), image.shape[:2]
        texels = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) * size[0] * size[1]
        mapped = texels > 0.0
        density = np.sqrt(texels[mapped].sum() / area[mapped].sum()) if mapped.any() else 0.0
        textures.append(reduced(image, int(density / samples_per_unit)))
    return replace(surface, textures=tuple(textures))


def reduced(image: UInt8[np.ndarray, "height width channels"], factor: int) -> UInt8[np.ndarray, "h w channels"]:
    """An image so many times smaller; a pixel is the mean of those that it covers, in each channel."""
    if factor <= 1:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    channels = [Image.fromarray(plane) for plane in np.moveaxis(image, 2, 0)]  # Pillow would weight by alpha
    return np.stack([np.asarray(c.resize(size, Image.Resampling.BOX)) for c in channels], axis=2)
