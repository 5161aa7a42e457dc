"""A family of cars: one structure (body, cabin, wheels, lights, windows), thousands of individuals; see `car_shape`."""

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.meshes import car_paint, loft
from latent_nerfstudio.meshes.car_paint import ATLAS_PIXELS, REGIONS, SWATCHES
from latent_nerfstudio.meshes.car_shape import CarShape
from latent_nerfstudio.meshes.surface import WHITE, Surface, area_vectors, has_area, plain

Part = tuple[np.ndarray, np.ndarray]
"""Triangle corners, faces x 3 x 3, and their texture coordinates, faces x 3 x 2."""
Box = tuple[str, tuple[float, float, float], tuple[float, float, float]]
"""Swatch, centre and half size of a rounded box."""


def car(seed: int) -> Surface:
    """The car number `seed`, an integer >= 0: some ten thousand triangles with one atlas, in metres, z up, x forwards,
    standing on z = 0; the same seed gives the same car."""
    rng = np.random.default_rng([seed, 0xCA25])
    shape = CarShape(rng)
    atlas = np.asarray(car_paint.paint(shape, rng))
    parts = [*body_parts(shape), *cabin_parts(shape), *wheel_parts(shape), *small_parts(shape)]
    triangles, uv = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    kept = has_area(triangles)
    return plain(triangles[kept], WHITE, uv[kept], atlas)


def body_parts(shape: CarShape) -> list[Part]:
    """The lower body: bonnet, sides, boot."""
    profile = loft.half_profile(10, 61, shape.roundness)
    ring = loft.superellipse(8, 0.5 * shape.roundness + 2.0)
    t, s = profile[:, 0], profile[:, 1]
    x = 0.5 * shape.length * t
    half_width = 0.5 * shape.width * (1.0 - 0.07 * np.abs(t) ** 3) * s
    # The underbody rises behind and before the wheels.
    low = shape.clearance + 0.15 * np.maximum(np.abs(x) - 0.36 * shape.length, 0.0)
    end, belt = 0.5 * shape.length, shape.belt
    high = np.interp(x, [-end, shape.rear_foot, shape.cowl, end], [shape.deck, belt, belt - 0.02, shape.nose])
    y = half_width[:, None] * ring[:, 0]
    z = 0.5 * (low + high)[:, None] + (0.5 * (high - low) * s)[:, None] * ring[:, 1]
    triangles = loft.sweep(np.stack(np.broadcast_arrays(x[:, None], y, z), -1))
    return split_by_region(triangles, body_regions(area_vectors(triangles)))


def body_regions(normals: Float[np.ndarray, "faces 3"]) -> np.ndarray:
    """The picture that each face of the lower body is painted from, by where it looks."""
    x, y, z = normals.T
    ax, ay, az = np.abs(normals).T
    names = np.where(x > 0, "front", "rear")
    names = np.where(ay >= ax, "side", names)
    return np.where((az > ax) & (az > ay), np.where(z > 0, "top", "dark"), names)


def cabin_parts(shape: CarShape) -> list[Part]:
    """The cabin above the belt, with its windows."""
    profile = loft.dome_profile(10, 7, shape.roundness + 3.0)
    per_side = 10
    ring = loft.superellipse(per_side, shape.roundness + 2.0)
    s, u = profile.T
    rear, front = shape.cabin_ends(u)
    half_width = shape.foot_half_width + (shape.roof_half_width - shape.foot_half_width) * u
    foot = shape.belt - 0.06
    x = 0.5 * (rear + front)[:, None] + (0.5 * (front - rear) * s)[:, None] * ring[:, 0]
    y, z = (half_width * s)[:, None] * ring[:, 1], foot + (shape.height - foot) * u
    triangles = loft.sweep(np.stack(np.broadcast_arrays(x, y, z[:, None]), -1))
    around = np.array(["front", "side", "rear", "side"]).repeat(per_side)
    on_roof = 0.5 * (s[:-1] + s[1:]) < 0.97
    names = np.where(on_roof[:, None], "roof", around[None, :]).reshape(-1).repeat(2)
    return split_by_region(triangles, names)


def wheel_parts(shape: CarShape) -> list[Part]:
    """Four wheels, and a fifth on the tail gate of some."""
    parts = []
    for x in (shape.wheel_front, shape.wheel_rear):
        for side in (-1.0, 1.0):
            centre = np.array([x, side * (0.5 * shape.width + 0.015), shape.wheel_radius])
            parts += wheel(shape.wheel_radius, centre, np.array([1.0, 0.0, 0.0]), np.array([0.0, side, 0.0]))
    if "spare_wheel" in shape.extras:
        radius = 0.85 * shape.wheel_radius
        centre = np.array([-0.5 * shape.length - 0.16, 0.0, 0.92 * shape.belt])
        parts += wheel(radius, centre, np.array([0.0, 1.0, 0.0]), np.array([-1.0, 0.0, 0.0]))
    return parts


def wheel(radius: float, centre: np.ndarray, right: np.ndarray, outwards: np.ndarray) -> list[Part]:
    """A wheel whose outer face is centred on `centre` and looks `outwards`; `right` is a direction in that face."""
    angle = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)
    up = np.cross(outwards, right)
    around = np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * up
    # (relative radius, depth in metres): the rim dips in, the tread is bevelled.
    rim = np.array([(0.0, 0.03), (0.66, 0.03), (0.72, 0.0), (0.93, 0.0)])
    tread = np.array([(0.93, 0.0), (1.0, 0.04), (1.0, 0.18), (0.93, 0.22), (0.0, 0.22)])

    def turn(outline: np.ndarray) -> np.ndarray:
        return centre + radius * outline[:, 0, None, None] * around - outline[:, 1, None, None] * outwards

    # From the rim inwards, then from the back to the front: so the triangles face outwards.
    face = loft.sweep(turn(rim[::-1]))
    offset = (face - centre) / radius
    uv = to_uv(REGIONS["rim"].to_pixels(np.stack([offset @ right, offset @ up], -1) * 0.5))
    return [(face, uv), swatch_part(loft.sweep(turn(tread[::-1])), "tyre")]


def small_parts(shape: CarShape) -> list[Part]:
    """Bumpers, mirrors, and what some cars have on roof and boot."""
    end, half = 0.5 * shape.length, 0.5 * shape.width
    bumper = shape.clearance + 0.16
    boxes: list[Box] = [
        ("bumper", (end - 0.13, 0.0, bumper), (0.17, 0.93 * half, 0.075)),
        ("bumper", (-end + 0.13, 0.0, bumper), (0.17, 0.93 * half, 0.075)),
    ]
    mirror_x = shape.cowl - 0.12 * (shape.cowl - shape.rear_foot)
    boxes += [("mirror", (mirror_x, side * (half + 0.06), shape.belt + 0.09), (0.06, 0.1, 0.07)) for side in (-1, 1)]
    boxes += extra_boxes(shape)
    return [swatch_part(loft.rounded_box(np.array(c), np.array(h), steps=5), name) for name, c, h in boxes]


def extra_boxes(shape: CarShape) -> list[Box]:
    middle = 0.5 * (shape.roof_front + shape.roof_rear)
    half_roof = 0.5 * (shape.roof_front - shape.roof_rear)
    roof = shape.height
    boxes: list[Box] = []
    if "spoiler" in shape.extras:
        hatch = shape.style == "hatchback"
        x, z = (shape.roof_rear - 0.05, roof - 0.01) if hatch else (-0.5 * shape.length + 0.14, shape.deck + 0.17)
        boxes.append(("spoiler", (x, 0.0, z), (0.13, 0.42 * shape.width * (0.85 if hatch else 1.0), 0.025)))
        if not hatch:
            boxes += [("spoiler", (x, s * 0.3 * shape.width, z - 0.09), (0.05, 0.025, 0.12)) for s in (-1, 1)]
    if "rails" in shape.extras:
        y = 0.82 * shape.roof_half_width
        boxes += [("trim", (middle, s * y, roof + 0.03), (0.85 * half_roof, 0.025, 0.03)) for s in (-1, 1)]
        boxes += [("trim", (middle + k * half_roof * 0.5, 0.0, roof + 0.05), (0.03, y, 0.015)) for k in (-1, 1)]
    if "sign" in shape.extras:
        boxes.append(("sign", (middle, 0.0, roof + 0.08), (0.10, 0.30, 0.09)))
    if "light_bar" in shape.extras:
        x = shape.roof_front - 0.2
        boxes += [
            ("lamp_left", (x, 0.32, roof + 0.06), (0.09, 0.22, 0.065)),
            ("lamp_right", (x, -0.32, roof + 0.06), (0.09, 0.22, 0.065)),
            ("trim", (x, 0.0, roof + 0.04), (0.08, 0.14, 0.05)),
        ]
    return boxes


def split_by_region(triangles: Float[np.ndarray, "faces 3 3"], names: np.ndarray) -> list[Part]:
    """Gives each triangle the texture coordinates of the picture, by its name, that it is painted from."""
    parts = []
    for name in np.unique(names).tolist():
        chosen = triangles[names == name]
        if name in SWATCHES:
            parts.append(swatch_part(chosen, name))
        else:
            parts.append((chosen, to_uv(REGIONS[name].to_pixels(chosen[..., REGIONS[name].axes]))))
    return parts


def swatch_part(triangles: Float[np.ndarray, "faces 3 3"], name: str) -> Part:
    return triangles, np.broadcast_to(to_uv(np.array(car_paint.swatch_centre(name))), (*triangles.shape[:2], 2))


def to_uv(pixels: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
    """Atlas pixels, y down, to texture coordinates, v up."""
    uv = pixels / np.array(ATLAS_PIXELS, dtype=float)
    return np.stack([uv[..., 0], 1.0 - uv[..., 1]], -1)
