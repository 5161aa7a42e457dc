"""Renders a surface by casting rays: Lambertian, antialiased, with straight alpha. The light is fixed to the object and
has no highlights, so a point of the surface has one colour in all views."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import map_coordinates

from latent_nerfstudio.errors import problem
from latent_nerfstudio.meshes.surface import Shading, Surface, corner_normals, shrink_textures
from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH

BEYOND = 1e-5
"""How far behind a face that is seen through a ray goes on, of the surface's size and of the ray's length."""

MOST_LAYERS = 64
"""Faces that are seen through, one behind the other, at most."""

SAMPLES_PER_AXIS = 3
"""n for n x n rays a pixel."""

RAYS_AT_ONCE = 1 << 17
"""Rays cast in one go, so that the working set stays in the processor's cache."""


@dataclass(frozen=True)
class Lighting:
    """Light from all around, and from some directions."""

    ambient: float = 0.52
    directions: tuple[tuple[float, float, float], ...] = ((0.45, -0.55, 0.80), (-0.60, 0.60, 0.35), (0.0, 0.0, 1.0))
    """Where the light comes from, in the object's frame; of any length."""
    strengths: tuple[float, ...] = (0.34, 0.18, 0.12)


def irradiance(normals: Float[np.ndarray, "*shape 3"], lighting: Lighting) -> Float[np.ndarray, "*shape"]:
    """Light that falls on surfaces of unit normals `normals`: ambient + sum of strength * max(0, n . l), at most 1."""
    directions = np.array(lighting.directions)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    diffuse = np.maximum(normals @ directions.T, 0.0) @ np.array(lighting.strengths)
    return np.minimum(lighting.ambient + diffuse, 1.0)


def import_embree() -> tuple[type, type]:
    """Embree's scene and mesh; they are an extra, which not every processor has."""
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        do = "pip install 'latent-nerfstudio[meshes]', or render the meshes on an x86-64 machine"
        raise ValueError(problem("meshes", "embreex, which casts rays at them", "none installed", do)) from error
    return EmbreeScene, TriangleMesh


class Raycaster:
    """Renders one surface from any view; holds the ray-tracing tree."""

    def __init__(
        self,
        surface: Surface,
        lighting: Lighting | None = None,
        shading: Shading = "smooth",
        samples_per_axis: int = SAMPLES_PER_AXIS,
        samples_per_unit: float | None = None,
    ) -> None:
        """Builds the tree and bakes the light, by default a soft daylight. Textures are averaged down first to so many
        rays a unit of length on the surface; None keeps them as they are."""
        EmbreeScene, TriangleMesh = import_embree()
        surface = surface if samples_per_unit is None else shrink_textures(surface, samples_per_unit)
        light = irradiance(corner_normals(surface.triangles, shading), lighting or Lighting())
        tint = surface.tint * light[..., None]
        self.samples_per_axis = samples_per_axis
        self.attributes = np.concatenate([tint, surface.opacity[..., None], surface.uv], -1).astype(np.float32)
        self.face_texture, self.cutoff = surface.texture, surface.cutoff
        self.is_opaque = bool((surface.cutoff == 0).all())
        self.textures = tuple(image.astype(np.float32) / 255.0 for image in surface.textures)
        self.corners = np.unique(surface.triangles.reshape(-1, 3), axis=0)
        self.size = float(np.ptp(self.corners, axis=0).max())
        self.scene = EmbreeScene()
        TriangleMesh(self.scene, surface.triangles.astype(np.float32))

    def cast(
        self, origins: Float[np.ndarray, "rays 3"], directions: Float[np.ndarray, "rays 3"]
    ) -> tuple[Int[np.ndarray, "rays"], Float[np.ndarray, "rays"], Float[np.ndarray, "rays 2"]]:
        """What rays, with directions of any length, hit first: index of the face, -1 for none; distance in lengths of
        `directions`, 1e37 for none; weights of the second and third corner of the face at the point hit."""
        hit = self.scene.run(origins.astype(np.float32), directions.astype(np.float32), output=True)
        return hit["primID"], hit["tfar"], np.stack([hit["u"], hit["v"]], -1)

    def colour(
        self, faces: Int[np.ndarray, "hits"], weights: Float[np.ndarray, "hits 2"]
    ) -> Float[np.ndarray, "hits 4"]:
        """RGB and alpha in [0, 1] of points on faces, given the weights of the faces' second and third corner."""
        corners = self.attributes[faces]
        u, v = weights[:, :1], weights[:, 1:]
        mixed = (1.0 - u - v) * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2]
        colour, uv = mixed[:, :4], mixed[:, 4:]
        texture = self.face_texture[faces]
        for index in np.unique(texture[texture >= 0]):
            chosen = texture == index
            texels = sample_texture(self.textures[index], uv[chosen])
            colour[chosen, : texels.shape[1]] *= texels
        if self.is_opaque:
            colour[:, 3] = 1.0
        else:
            cutoff = self.cutoff[faces]
            colour[:, 3] = np.where(np.isnan(cutoff), colour[:, 3].clip(0, 1), colour[:, 3] >= cutoff)
        return colour

    def seen(
        self, origins: Float[np.ndarray, "rays 3"], directions: Float[np.ndarray, "rays 3"]
    ) -> Float[np.ndarray, "rays 4"]:
        """What rays see, front to back: RGB times alpha, and alpha."""
        seen, rays = np.zeros((len(origins), 4), np.float32), np.arange(len(origins))
        for _ in range(MOST_LAYERS):
            faces, distance, weights = self.cast(origins, directions)
            hit = np.flatnonzero(faces >= 0)
            colour, rays = self.colour(faces[hit], weights[hit]), rays[hit]
            if self.is_opaque:
                seen[rays] = colour
                break
            share = (1.0 - seen[rays, 3:]) * colour[:, 3:]
            seen[rays] += share * np.concatenate([colour[:, :3], np.ones_like(share)], axis=1)
            going = seen[rays, 3] < 0.999
            hit, rays = hit[going], rays[going]
            if not len(rays):
                break
            directions, distance = directions[hit], distance[hit, None]
            origins = origins[hit] + (distance * (1 + BEYOND) + BEYOND * self.size) * directions
        return seen

    def render(
        self, pose: Float[np.ndarray, "4 4"], side: int, focal_per_side: float = FOCAL_PER_WIDTH
    ) -> UInt8[np.ndarray, "side side 4"]:
        """A square view from an OpenGL camera-to-world matrix: mean RGB of the rays, by their alpha, and mean alpha."""
        image, focal = np.zeros((side, side, 4), np.uint8), focal_per_side * side
        top, bottom, left, right = visible_box(self.corners, pose, side, focal)
        n = self.samples_per_axis
        rows = max(1, RAYS_AT_ONCE // max(1, (right - left) * n**2))
        for start in range(top, bottom, rows):
            stop = min(start + rows, bottom)
            x = (left + (np.arange((right - left) * n) + 0.5) / n - side / 2) / focal
            y = (side / 2 - start - (np.arange((stop - start) * n) + 0.5) / n) / focal
            local = np.stack([*np.meshgrid(x, y), np.full((len(y), len(x)), -1.0)], axis=-1).reshape(-1, 3)
            directions = (local @ pose[:3, :3].T).astype(np.float32)
            origins = np.broadcast_to(pose[:3, 3].astype(np.float32), directions.shape)
            total = self.seen(origins, directions).reshape(stop - start, n, right - left, n, 4).sum((1, 3))
            rgb = total[..., :3] / np.maximum(total[..., 3:], 1e-6)
            rgba = np.concatenate([rgb, total[..., 3:] / n**2], -1)
            image[start:stop, left:right] = np.round(255.0 * rgba).astype(np.uint8)
        return image


def visible_box(
    points: Float[np.ndarray, "points 3"], pose: Float[np.ndarray, "4 4"], side: int, focal: float
) -> list[int]:
    """Rows top to bottom and columns left to right that can show any of the points, or triangles between them."""
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    if np.any(local[:, 2] > -1e-6):  # a triangle that passes the camera can show anywhere
        return [0, side, 0, side]
    x = side / 2 - focal * local[:, 0] / local[:, 2]
    y = side / 2 + focal * local[:, 1] / local[:, 2]
    edges = [np.floor(y.min()), np.ceil(y.max()), np.floor(x.min()), np.ceil(x.max())]
    return np.clip(edges, 0, side).astype(int).tolist()


def sample_texture(
    texture: Float[np.ndarray, "height width channels"], uv: Float[np.ndarray, "hits 2"]
) -> Float[np.ndarray, "hits channels"]:
    """Bilinear values in [0, 1] of a texture; v points up, outside [0, 1] the texture repeats."""
    height, width = texture.shape[:2]
    places = (1.0 - uv[:, 1]) * height - 0.5, uv[:, 0] * width - 0.5
    channels = [map_coordinates(channel, places, order=1, mode="grid-wrap") for channel in np.moveaxis(texture, 2, 0)]
    return np.stack(channels, axis=-1)
