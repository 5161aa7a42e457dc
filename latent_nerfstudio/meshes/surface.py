"""A mesh flattened to what a ray caster needs: triangles, colours at their corners, textures."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

from latent_nerfstudio.meshes.normalize import UpAxis, to_unit_box

UNCOLOURED = 0.7
"""Grey of meshes that have no colours."""
MAX_VALENCE = 64
"""Corners beyond this number around one vertex do not enter its smooth normal (tips of finely cut cones)."""

Shading = Literal["smooth", "flat"]


@dataclass(frozen=True)
class Surface:
    """Triangles with colours. The colour of a point is its corners' tint, times its texture where it has one."""

    triangles: Float[np.ndarray, "faces 3 3"]
    """Corners, z up."""
    tint: Float[np.ndarray, "faces 3 3"]
    """RGB in [0, 1] of each corner."""
    uv: Float[np.ndarray, "faces 3 2"]
    """Texture coordinates of each corner, v up; outside [0, 1] the texture repeats."""
    texture: Int[np.ndarray, "faces"]
    """Index into `textures`; -1 for faces without one."""
    textures: tuple[UInt8[np.ndarray, "height width 3"], ...] = ()

    def normalized(self, up_axis: UpAxis = "z") -> "Surface":
        """The same surface, centred, longest side 1, z up."""
        return replace(self, triangles=to_unit_box(self.triangles, up_axis))

    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """Lowest and highest corner of the box around all triangles."""
        points = self.triangles.reshape(-1, 3)
        return np.stack([points.min(0), points.max(0)])


def load_surface(path: Path) -> Surface:
    """Reads a mesh file (glb, gltf, obj, ply, stl, off), with its textures, colours and instances.

    Alpha is ignored: every face is opaque.

    Raises:
        ValueError: the file cannot be read, or has no faces.
    """
    try:
        scene = trimesh.load_scene(path)
        meshes = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]
        surfaces = [surface_of(mesh) for mesh in meshes if len(mesh.faces)]
    except Exception as error:  # the readers raise anything from struct.error to KeyError on a broken file
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: expected a readable mesh, got {reason}; export it again") from error
    surfaces = [surface for surface in surfaces if len(surface.triangles)]
    if not surfaces:
        raise ValueError(f"{path}: expected a mesh with faces, got none; export it with faces, not as points")
    return join(surfaces)


def surface_of(mesh: trimesh.Trimesh) -> Surface:
    """Flattens one mesh; faces without an area are left out.

    Raises:
        ValueError: faces that are no triangles, or corners of other than three coordinates.
    """
    faces = np.asarray(mesh.faces)
    triangles = np.asarray(mesh.vertices, dtype=np.float64)[faces]
    if triangles.shape[1:] != (3, 3):
        raise ValueError(f"corners of shape {list(triangles.shape[1:])} instead of [3, 3]")
    kept = np.linalg.norm(area_vectors(triangles), axis=-1) > 0.0
    image, uv = texture_of(mesh.visual)
    return Surface(
        triangles=triangles[kept],
        tint=corner_tint(mesh, has_texture=image is not None)[kept],
        uv=(np.zeros((*faces.shape, 2)) if image is None else uv[faces])[kept],
        texture=np.full(int(kept.sum()), -1 if image is None else 0),
        textures=() if image is None else (image,),
    )


def join(surfaces: list[Surface]) -> Surface:
    """One surface of many; textures are kept apart."""
    first = np.cumsum([0] + [len(surface.textures) for surface in surfaces])
    texture = [np.where(s.texture < 0, -1, s.texture + start) for s, start in zip(surfaces, first[:-1], strict=True)]
    return Surface(
        triangles=np.concatenate([surface.triangles for surface in surfaces]),
        tint=np.concatenate([surface.tint for surface in surfaces]),
        uv=np.concatenate([surface.uv for surface in surfaces]),
        texture=np.concatenate(texture),
        textures=tuple(image for surface in surfaces for image in surface.textures),
    )


def texture_of(visual: Any) -> tuple[Any, Any]:
    """(image as height x width x 3 uint8, texture coordinates of the vertices), or (None, None)."""
    uv = getattr(visual, "uv", None)
    material = getattr(visual, "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if uv is None or image is None or len(uv) == 0:
        return None, None
    return np.asarray(image.convert("RGB")), np.asarray(uv, dtype=np.float64)[:, :2]


def corner_tint(mesh: trimesh.Trimesh, has_texture: bool) -> Float[np.ndarray, "faces 3 3"]:
    """RGB in [0, 1] of each corner, from vertex colours, face colours or the plain colour of a material."""
    faces = np.asarray(mesh.faces)
    visual: Any = mesh.visual  # its class says which attributes there are; `kind` says it at run time
    if visual.kind == "face":
        colours = np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, axis=1)
    elif visual.kind == "vertex":
        colours = np.asarray(visual.vertex_colors)[faces][..., :3]
    elif visual.kind == "texture":
        colours = np.broadcast_to(material_colour(visual.material, has_texture), (*faces.shape, 3))
        extra = visual.vertex_attributes.get("color")  # glTF's COLOR_0, which multiplies the material
        if extra is not None and len(extra) == len(mesh.vertices):
            scale = 255.0 if np.issubdtype(np.asarray(extra).dtype, np.integer) else 1.0
            colours = colours * (np.asarray(extra)[faces][..., :3] / scale)
    else:
        colours = np.full((*faces.shape, 3), 255.0 * UNCOLOURED)
    return np.asarray(colours, dtype=np.float64) / 255.0


def material_colour(material: Any, has_texture: bool) -> Float[np.ndarray, "3"]:
    """Plain colour of a material, 0 to 255; white under a texture unless glTF says to multiply."""
    if hasattr(material, "baseColorFactor"):
        factor = material.baseColorFactor
        return np.full(3, 255.0) if factor is None else np.asarray(factor, float)[:3]
    # A diffuse colour beside a texture is as often a leftover as it is meant; viewers differ, we show the texture.
    return np.full(3, 255.0) if has_texture else np.asarray(material.main_color, float)[:3]


def area_vectors(triangles: Float[np.ndarray, "faces 3 3"]) -> Float[np.ndarray, "faces 3"]:
    """Normals whose length is twice the area."""
    return np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])


def corner_normals(
    triangles: Float[np.ndarray, "faces 3 3"], shading: Shading = "smooth", crease: float = 40.0
) -> Float[np.ndarray, "faces 3 3"]:
    """Unit normal of each corner: of its face, or averaged with neighbours that bend by less than `crease` degrees.

    Neighbours are found by position, so seams of textures do not show; sharp edges stay sharp.
    """
    weighted = area_vectors(triangles)
    unit = weighted / np.linalg.norm(weighted, axis=-1, keepdims=True)
    if shading == "flat":
        return np.repeat(unit[:, None], 3, axis=1)
    vertex = same_place(triangles.reshape(-1, 3))
    order = np.argsort(vertex, kind="stable")
    vertex, face = vertex[order], np.repeat(np.arange(len(triangles)), 3)[order]
    total = weighted[face].copy()
    limit = np.cos(np.radians(crease))
    for step in range(1, min(int(np.bincount(vertex).max()), MAX_VALENCE)):
        near = np.flatnonzero(vertex[:-step] == vertex[step:])
        near = near[np.einsum("ij,ij->i", unit[face[near]], unit[face[near + step]]) > limit]
        total[near] += weighted[face[near + step]]
        total[near + step] += weighted[face[near]]
    normals = np.empty_like(total)
    normals[order] = total / np.linalg.norm(total, axis=-1, keepdims=True)
    return normals.reshape(-1, 3, 3)


def same_place(points: Float[np.ndarray, "points 3"]) -> Int[np.ndarray, "points"]:
    """A number for each point; points closer than a millionth of the whole share theirs."""
    low, high = points.min(0), points.max(0)
    cells = np.round((points - low) * (1e6 / max(float((high - low).max()), 1e-30))).astype(np.int64)
    return np.unique(cells @ np.array([1, 2**21, 2**42]), return_inverse=True)[1].reshape(-1)


def shrink_textures(surface: Surface, samples_per_unit: float) -> Surface:
    """Averages textures down so that a texel is about as wide as the distance of the rays, against shimmer.

    The factor depends on the texture and on the resolution, never on the view, so that views stay consistent.

    Args:
        surface: what to shrink.
        samples_per_unit: rays per unit of length on the surface.
    """
    textures = []
    for index, image in enumerate(surface.textures):
        chosen = surface.texture == index
        area = np.linalg.norm(area_vectors(surface.triangles[chosen]), axis=-1)
        (a, b), size = np.moveaxis(surface.uv[chosen][:, 1:] - surface.uv[chosen][:, :1], 1, 0), image.shape[:2]
        texels = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) * size[0] * size[1]
        mapped = texels > 0.0
        density = np.sqrt(texels[mapped].sum() / area[mapped].sum()) if mapped.any() else 0.0
        textures.append(reduced(image, max(1, int(density / samples_per_unit))))
    return replace(surface, textures=tuple(textures))


def reduced(image: UInt8[np.ndarray, "height width 3"], factor: int) -> UInt8[np.ndarray, "small_height small_width 3"]:
    """An image `factor` times smaller, each pixel the mean of those that it covers."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
