"""A family of cars: one structure (body, cabin, wheels, lights, windows), thousands of individuals.

`car(seed)` is all that other rooms need. Lengths are metres until the mesh is normalised; x points forwards, y to the
left, z up, the ground is z = 0.
"""

from dataclasses import dataclass, field

import numpy as np
import trimesh
from jaxtyping import Float

from latent_nerfstudio.meshes import car_paint, loft
from latent_nerfstudio.meshes.car_paint import ATLAS_PIXELS, REGIONS, SWATCHES

Range = tuple[float, float]


@dataclass(frozen=True)
class BodyStyle:
    """Ranges that the cars of one body style are drawn from; positions are fractions of the length from the front."""

    name: str
    weight: float
    length: Range
    height: Range
    belt: Range
    """Height of the lower edge of the windows, as a fraction of the height."""
    nose: Range
    """Height of the front edge of the bonnet, as a fraction of the belt."""
    deck: Range
    """Height of the rear edge of the boot, as a fraction of the belt."""
    cowl: Range
    """Foot of the windscreen."""
    roof_front: Range
    roof_rear: Range
    rear_foot: Range
    """Foot of the rear window."""
    windows: tuple[int, ...]
    """Numbers of side windows to choose from."""
    clearance: Range = (0.16, 0.22)
    wheel_radius: Range = (0.30, 0.36)


STYLES = (
    BodyStyle(
        "saloon", 1.0, (4.4, 5.1), (1.38, 1.50), (0.62, 0.66), (0.74, 0.84), (0.90, 1.0),
        (0.26, 0.32), (0.40, 0.45), (0.68, 0.75), (0.82, 0.89), (2, 3),
    ),
    BodyStyle(
        "hatchback", 1.0, (3.5, 4.3), (1.42, 1.58), (0.60, 0.65), (0.74, 0.84), (0.94, 1.0),
        (0.22, 0.29), (0.36, 0.42), (0.84, 0.91), (0.94, 0.98), (2, 2, 3),
    ),
    BodyStyle(
        "estate", 0.8, (4.5, 5.0), (1.42, 1.55), (0.60, 0.64), (0.74, 0.84), (0.96, 1.0),
        (0.25, 0.30), (0.37, 0.42), (0.86, 0.92), (0.95, 0.985), (3,),
    ),
    BodyStyle(
        "coupe", 0.9, (4.0, 4.6), (1.16, 1.32), (0.63, 0.68), (0.62, 0.78), (0.90, 1.05),
        (0.34, 0.41), (0.47, 0.53), (0.64, 0.72), (0.86, 0.95), (1, 2), (0.11, 0.16), (0.31, 0.36),
    ),
    BodyStyle(
        "suv", 0.9, (4.1, 4.9), (1.65, 1.90), (0.60, 0.65), (0.82, 0.92), (0.96, 1.0),
        (0.25, 0.30), (0.36, 0.41), (0.86, 0.91), (0.94, 0.985), (3,), (0.24, 0.34), (0.36, 0.43),
    ),
    BodyStyle(
        "van", 0.8, (4.5, 5.4), (1.85, 2.20), (0.52, 0.58), (0.78, 0.90), (0.98, 1.0),
        (0.11, 0.18), (0.22, 0.29), (0.95, 0.97), (0.975, 0.99), (1, 1, 3, 4), (0.18, 0.25), (0.31, 0.36),
    ),
    BodyStyle(
        "pickup", 0.7, (4.9, 5.5), (1.65, 1.85), (0.59, 0.63), (0.84, 0.94), (0.94, 0.99),
        (0.26, 0.30), (0.36, 0.40), (0.52, 0.62), (0.56, 0.655), (1, 2), (0.26, 0.36), (0.37, 0.43),
    ),
    BodyStyle(
        "micro", 0.6, (2.9, 3.4), (1.42, 1.56), (0.58, 0.63), (0.76, 0.90), (0.94, 1.0),
        (0.16, 0.23), (0.33, 0.42), (0.72, 0.88), (0.92, 0.98), (1, 2), (0.15, 0.2), (0.27, 0.31),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class CarShape:
    """The measures of one car, metres."""

    style: str
    length: float
    width: float
    height: float
    clearance: float
    belt: float
    nose: float
    deck: float
    cowl: float
    roof_front: float
    roof_rear: float
    rear_foot: float
    roof_half_width: float
    wheel_radius: float
    wheel_front: float
    wheel_rear: float
    roundness: float
    """Exponent of the body's outlines: 4 is soft, 9 nearly a box."""
    windows: int
    extras: tuple[str, ...] = field(default=())

    @property
    def foot_half_width(self) -> float:
        """Half the width of the cabin at the belt."""
        return 0.47 * self.width

    def cabin_ends(self, u: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x of the cabin's rear and front at relative height `u` (0 at the belt, 1 at the roof)."""
        rear = self.rear_foot + (self.roof_rear - self.rear_foot) * np.asarray(u)
        front = self.cowl + (self.roof_front - self.cowl) * np.asarray(u)
        return rear, front

    def cabin_half_width(self, u: float | np.ndarray) -> np.ndarray:
        """Half the width of the cabin at relative height `u`."""
        return self.foot_half_width + (self.roof_half_width - self.foot_half_width) * np.asarray(u)


def car(seed: int) -> trimesh.Trimesh:
    """The car number `seed`: a textured triangle mesh in metres, z up, x forwards, standing on z = 0.

    Args:
        seed: any integer >= 0; the same seed gives the same mesh.

    Returns:
        A mesh of some ten thousand triangles with one texture atlas of 512 pixels width.

    Raises:
        ValueError: `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}; choose another seed")
    rng = np.random.default_rng([seed, 0xCA25])
    shape = draw_shape(rng)
    atlas = car_paint.paint(shape, rng)
    parts = [*body_parts(shape), *cabin_parts(shape), *wheel_parts(shape), *small_parts(shape)]
    triangles = np.concatenate([part[0] for part in parts])
    uv = np.concatenate([part[1] for part in parts])
    mesh = trimesh.Trimesh(
        vertices=triangles.reshape(-1, 3),
        faces=np.arange(3 * len(triangles)).reshape(-1, 3),
        visual=trimesh.visual.TextureVisuals(
            uv=uv.reshape(-1, 2),
            material=trimesh.visual.material.PBRMaterial(
                baseColorTexture=atlas, metallicFactor=0.0, roughnessFactor=1.0
            ),
        ),
        process=False,
    )
    mesh.update_faces(mesh.nondegenerate_faces(height=1e-7))
    mesh.merge_vertices()
    return mesh


def draw_shape(rng: np.random.Generator) -> CarShape:
    """Draws the measures of one car."""
    weights = np.array([style.weight for style in STYLES])
    style = STYLES[rng.choice(len(STYLES), p=weights / weights.sum())]
    draw = {
        name: rng.uniform(*getattr(style, name))
        for name in ("length", "height", "belt", "nose", "deck", "cowl", "roof_front", "roof_rear", "rear_foot")
    }
    length, height = draw["length"], draw["height"]
    radius = rng.uniform(*style.wheel_radius)
    belt = max(draw["belt"] * height, 2.0 * radius + 0.12)
    width = np.clip(rng.uniform(0.36, 0.41) * length, 1.5, 1.98)

    def at(fraction: float) -> float:
        return length * (0.5 - fraction)

    return CarShape(
        style=style.name,
        length=length,
        width=width,
        height=height,
        clearance=rng.uniform(*style.clearance),
        belt=belt,
        nose=max(draw["nose"] * belt, 2.0 * radius + 0.02),
        deck=draw["deck"] * belt,
        cowl=at(draw["cowl"]),
        roof_front=at(draw["roof_front"]),
        roof_rear=at(draw["roof_rear"]),
        rear_foot=at(draw["rear_foot"]),
        roof_half_width=width * (rng.uniform(0.41, 0.45) if style.name == "van" else rng.uniform(0.34, 0.41)),
        wheel_radius=radius,
        wheel_front=length / 2 - radius - rng.uniform(0.10, 0.13) * length,
        wheel_rear=-length / 2 + radius + rng.uniform(0.09, 0.13) * length,
        roundness=rng.uniform(4.8, 9.5),
        windows=int(rng.choice(style.windows)),
        extras=draw_extras(style.name, rng),
    )


def draw_extras(style: str, rng: np.random.Generator) -> tuple[str, ...]:
    """Draws which of the optional parts a car has."""
    likely = {
        "spoiler": {"coupe": 0.5, "saloon": 0.2, "hatchback": 0.35}.get(style, 0.0),
        "rails": {"estate": 0.6, "suv": 0.6, "van": 0.2}.get(style, 0.05),
        "sign": {"saloon": 0.2, "estate": 0.1}.get(style, 0.03),
        "light_bar": {"van": 0.15, "pickup": 0.25, "suv": 0.15}.get(style, 0.03),
        "spare_wheel": {"suv": 0.35, "micro": 0.1}.get(style, 0.0),
    }
    chosen = tuple(name for name, chance in likely.items() if rng.random() < chance)
    return tuple(name for name in chosen if not (name == "light_bar" and "sign" in chosen))


Part = tuple[np.ndarray, np.ndarray]
"""Triangle corners, faces x 3 x 3, and their texture coordinates, faces x 3 x 2."""


def body_parts(shape: CarShape) -> list[Part]:
    """The lower body: bonnet, sides, boot."""
    profile = loft.half_profile(10, 61, shape.roundness)
    ring = loft.superellipse(8, 0.5 * shape.roundness + 2.0)
    t, s = profile[:, 0], profile[:, 1]
    x = 0.5 * shape.length * t
    half_width = 0.5 * shape.width * (1.0 - 0.07 * np.abs(t) ** 3) * s
    low, high = body_bottom(shape, x), body_top(shape, x)
    rows = np.stack(
        [
            np.broadcast_to(x[:, None], (len(x), len(ring))),
            half_width[:, None] * ring[None, :, 0],
            0.5 * (low + high)[:, None] + (0.5 * (high - low) * s)[:, None] * ring[None, :, 1],
        ],
        -1,
    )
    triangles = loft.sweep(rows)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return split_by_region(triangles, body_regions(normals))


def body_top(shape: CarShape, x: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    """Height of the bonnet, the belt and the boot along the car."""
    end = 0.5 * shape.length
    return np.interp(
        x, [-end, shape.rear_foot, shape.cowl, end], [shape.deck, shape.belt, shape.belt - 0.02, shape.nose]
    )


def body_bottom(shape: CarShape, x: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    """Height of the underbody, which rises behind and before the wheels."""
    beyond = np.abs(x) - 0.36 * shape.length
    return shape.clearance + 0.15 * np.maximum(beyond, 0.0)


def body_regions(normals: Float[np.ndarray, "faces 3"]) -> list[str]:
    """The picture that each face of the lower body is painted from, by where it looks."""
    x, y, z = normals.T
    ax, ay, az = np.abs(normals).T
    names = np.where(x > 0, "front", "rear")
    names = np.where(ay >= ax, "side", names)
    names = np.where((az > ax) & (az > ay), np.where(z > 0, "top", "dark"), names)
    return names.tolist()


def cabin_parts(shape: CarShape) -> list[Part]:
    """The cabin above the belt, with its windows."""
    profile = loft.dome_profile(10, 7, shape.roundness + 3.0)
    per_side = 10
    ring = loft.superellipse(per_side, shape.roundness + 2.0)
    s, u = profile.T
    rear, front = shape.cabin_ends(u)
    foot = shape.belt - 0.06
    rows = np.stack(
        [
            0.5 * (rear + front)[:, None] + (0.5 * (front - rear) * s)[:, None] * ring[None, :, 0],
            (shape.cabin_half_width(u) * s)[:, None] * ring[None, :, 1],
            np.broadcast_to((foot + (shape.height - foot) * u)[:, None], (len(u), len(ring))),
        ],
        -1,
    )
    triangles = loft.sweep(rows)
    around = np.array(["front", "side", "rear", "side"]).repeat(per_side)
    on_roof = 0.5 * (s[:-1] + s[1:]) < 0.97
    names = np.where(on_roof[:, None], "roof", around[None, :]).reshape(-1).repeat(2)
    return split_by_region(triangles, names.tolist())


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
    uv = region_pixels("rim", np.stack([offset @ right, offset @ up], -1) * 0.5)
    return [(face, uv), swatch_part(loft.sweep(turn(tread[::-1])), "tyre")]


def small_parts(shape: CarShape) -> list[Part]:
    """Bumpers, mirrors, and what some cars have on roof and boot."""
    end, half = 0.5 * shape.length, 0.5 * shape.width
    bumper = shape.clearance + 0.16
    boxes: list[tuple[str, tuple[float, float, float], tuple[float, float, float]]] = [
        ("bumper", (end - 0.13, 0.0, bumper), (0.17, 0.93 * half, 0.075)),
        ("bumper", (-end + 0.13, 0.0, bumper), (0.17, 0.93 * half, 0.075)),
    ]
    mirror_x = shape.cowl - 0.12 * (shape.cowl - shape.rear_foot)
    boxes += [("mirror", (mirror_x, side * (half + 0.06), shape.belt + 0.09), (0.06, 0.1, 0.07)) for side in (-1, 1)]
    boxes += extra_boxes(shape)
    return [swatch_part(loft.rounded_box(np.array(c), np.array(h), steps=5), name) for name, c, h in boxes]


def extra_boxes(shape: CarShape) -> list[tuple[str, tuple[float, float, float], tuple[float, float, float]]]:
    """(swatch, centre, half size) of the optional parts that are boxes."""
    middle = 0.5 * (shape.roof_front + shape.roof_rear)
    half_roof = 0.5 * (shape.roof_front - shape.roof_rear)
    roof = shape.height
    boxes: list[tuple[str, tuple[float, float, float], tuple[float, float, float]]] = []
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


def split_by_region(triangles: Float[np.ndarray, "faces 3 3"], names: list[str]) -> list[Part]:
    """Gives each triangle the texture coordinates of the picture that it is painted from."""
    labels = np.array(names)
    parts = []
    for name in sorted(set(names)):
        chosen = triangles[labels == name]
        if name in SWATCHES:
            parts.append(swatch_part(chosen, name))
        else:
            parts.append((chosen, region_pixels(name, chosen[..., REGIONS[name].axes])))
    return parts


def swatch_part(triangles: Float[np.ndarray, "faces 3 3"], name: str) -> Part:
    """Paints triangles in one plain colour of the atlas."""
    return triangles, np.broadcast_to(to_uv(np.array(car_paint.swatch_centre(name))), (*triangles.shape[:2], 2))


def region_pixels(name: str, metres: Float[np.ndarray, "faces 3 2"]) -> Float[np.ndarray, "faces 3 2"]:
    """Texture coordinates of points given in the metres of one picture."""
    return to_uv(REGIONS[name].to_pixels(metres))


def to_uv(pixels: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
    """Atlas pixels, y down, to texture coordinates, v up."""
    uv = pixels / np.array(ATLAS_PIXELS, dtype=float)
    return np.stack([uv[..., 0], 1.0 - uv[..., 1]], -1)


def car_seed(family: int, index: int) -> int:
    """The seed of car `index` of a family; cars of different families differ."""
    return int(np.random.SeedSequence([family, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
