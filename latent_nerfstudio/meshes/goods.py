"""A family of things that an inventory may hold: bottles, mugs, tins, packages, vases, chairs and lamps. Lengths are of
no unit, z is up, and everything stands on z = 0. Profiles are (radius, height) points, up on the outside."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from latent_nerfstudio.meshes import loft
from latent_nerfstudio.meshes.surface import WHITE, Colour, Surface, area_vectors, has_area, join, plain

Image = UInt8[np.ndarray, "height width 3"]
Points = Float[np.ndarray, "points 2"]
Random = np.random.Generator

COLUMNS = 48
"""Corners around a solid of revolution."""
WOODS = ((0.55, 0.36, 0.2), (0.72, 0.53, 0.34), (0.36, 0.22, 0.14), (0.8, 0.68, 0.5))
STEEL = (0.75, 0.76, 0.78)


def thing(seed: int) -> Surface:
    """The thing number `seed`, an integer >= 0; the same seed gives the same thing."""
    return join(KINDS[kind_of(seed)](generator(seed, 1)))


def kind_of(seed: int) -> str:
    """The kind of the thing number `seed`, one of `KINDS`."""
    return list(KINDS)[int(generator(seed, 0).integers(len(KINDS)))]


def generator(seed: int, stream: int) -> Random:
    """The randomness of a thing; that of its kind is the stream 0."""
    return np.random.default_rng([seed, 0x600D5, stream])


def bottle(rng: Random) -> list[Surface]:
    """Body with a label around it, shoulder, neck and cap."""
    body, neck = rng.uniform(0.9, 1.8), rng.uniform(0.3, 0.8)
    thin, cap = rng.uniform(0.12, 0.25), rng.uniform(0.12, 0.3)
    glass, low, high = colour(rng), 0.15 * body, rng.uniform(0.6, 0.95) * body
    shoulder = arc((0.5, body), (thin, body + neck), rng.uniform(0.6, 2.0))
    outline = np.concatenate([[(0.0, 0.0), (0.47, 0.0), (0.5, 0.03), (0.5, body)], shoulder])
    top = body + neck
    lid = np.array([(0.0, top), (1.15 * thin, top), (1.15 * thin, top + cap), (0.9 * thin, top + cap), (0, top + cap)])
    paper = np.array([(0.505, low), (0.505, high)])
    return [turned(outline, glass), turned(paper, label(rng)), turned(lid, colour(rng))]


def mug(rng: Random) -> list[Surface]:
    """A patterned wall, an inside of another colour, and a handle."""
    height, foot, rim = rng.uniform(0.8, 1.3), rng.uniform(0.32, 0.5), 0.5
    wall = np.array([(foot, 0.0), (0.5 * (foot + rim), 0.4 * height), (rim, height)])
    inside = np.array([(rim, height), (rim - 0.05, height), (foot - 0.05, 0.06), (0.0, 0.06)])
    bottom = np.array([(0.0, 0.0), (foot, 0.0)])
    pattern = label(rng) if rng.random() < 0.6 else bands(rng)
    grip = handle(0.5 * (foot + rim) - 0.02, 0.5 * height, 0.3 * height, rng.uniform(0.05, 0.08))
    inner = colour(rng)
    return [turned(wall, pattern), turned(inside, inner), turned(bottom, inner), plain(grip, inner)]


def tin(rng: Random) -> list[Surface]:
    """A label between two steel rims."""
    height = rng.uniform(0.5, 1.6)
    paper = np.array([(0.5, 0.05), (0.5, height - 0.05)])
    lower = np.array([(0.0, 0.02), (0.46, 0.02), (0.47, 0.0), (0.515, 0.0), (0.515, 0.05), (0.5, 0.05)])
    upper = np.array([(0.5, -0.05), (0.515, -0.05), (0.515, 0.0), (0.47, 0.0), (0.46, -0.03), (0.0, -0.03)])
    return [turned(paper, label(rng)), turned(lower, STEEL), turned(upper + [0.0, height], STEEL)]


def package(rng: Random) -> list[Surface]:
    """A carton, printed on all sides."""
    half = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.8)])
    triangles = loft.rounded_box(np.array([0.0, 0.0, half[2]]), half, exponent=20.0, steps=6)
    return [printed(triangles, label(rng), scale=float(1 / (2 * half).max()))]


def vase(rng: Random) -> list[Surface]:
    """A smooth outline with coloured bands, open at the top."""
    heights = np.linspace(0.0, rng.uniform(1.0, 2.2), 5)
    radii = rng.uniform(0.15, 0.5, 5)
    t = np.linspace(0, 4, 33)
    radius = np.interp(t, np.arange(5), radii)
    radius = np.convolve(np.pad(radius, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    outside = np.stack([radius, np.interp(t, np.arange(5), heights)], -1)
    inside = outside[::-1] - [0.03, 0.0]
    inside[:, 0] = inside[:, 0].clip(min=0.02)
    foot = np.array([(0.0, 0.0), (radius[0], 0.0)])
    glaze = colour(rng)
    return [turned(foot, glaze), turned(outside, bands(rng)), turned(inside, glaze)]


def chair(rng: Random) -> list[Surface]:
    """Seat, legs and slats of wood, some with a cushion."""
    wood, width, seat = grain(rng), rng.uniform(0.4, 0.55), rng.uniform(0.7, 1.0)
    leg, back = rng.uniform(0.03, 0.06), rng.uniform(0.6, 1.1)
    boxes = [((0.0, 0.0, seat), (width, width, 0.04))]
    for x in (-1, 1):
        boxes.append(((x * (width - leg), width - leg, 0.5 * seat), (leg, leg, 0.5 * seat)))
        boxes.append(((x * (width - leg), leg - width, 0.5 * (seat + back)), (leg, leg, 0.5 * (seat + back))))
    for height in np.linspace(0.35, 0.95, int(rng.integers(1, 4))):
        boxes.append(((0.0, leg - width, seat + back * height), (width - leg, 0.7 * leg, rng.uniform(0.05, 0.1))))
    parts = [printed(loft.rounded_box(np.array(c), np.array(h), exponent=12.0), wood) for c, h in boxes]
    if rng.random() < 0.5:
        cushion = loft.rounded_box(np.array([0, 0.05, seat + 0.09]), np.array([0.85 * width, 0.8 * width, 0.06]), 4.0)
        parts.append(printed(cushion, checks(rng), scale=1.5))
    return parts


def lamp(rng: Random) -> list[Surface]:
    """Foot, stem and a shade with a pattern."""
    height, wide, narrow = rng.uniform(1.0, 1.6), rng.uniform(0.4, 0.6), rng.uniform(0.2, 0.4)
    metal, low = colour(rng), height - rng.uniform(0.35, 0.6)
    foot = np.array([(0.0, 0.0), (0.35, 0.0), (0.33, 0.06), (0.04, 0.1), (0.035, height - 0.05), (0.0, height - 0.05)])
    shade = np.array([(wide, low), (narrow, height)])
    inside = shade[::-1] - [0.02, 0.0]
    return [turned(foot, metal), turned(shade, checks(rng)), turned(inside, (0.95, 0.92, 0.85))]


KINDS: dict[str, Callable[[Random], list[Surface]]] = {
    make.__name__: make for make in (bottle, mug, tin, package, vase, chair, lamp)
}
"""What there is, by the names of the scenes."""


def turned(profile: Points, paint: Colour | Image) -> Surface:
    """A solid of revolution; an image goes once around it, upright, from the bottom to the top of the profile."""
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    radius, height = profile[:, 0, None, None], np.broadcast_to(profile[:, 1, None, None], (len(profile), COLUMNS, 1))
    triangles = loft.sweep(np.concatenate([radius * around[None], height], -1))
    triangles = triangles[has_area(triangles)]
    if isinstance(paint, tuple):
        return plain(triangles, paint)
    u = np.arctan2(triangles[..., 1], triangles[..., 0]) / (2 * np.pi)
    u = np.where(u.max(1, keepdims=True) - u > 0.5, u + 1, u)  # the texture repeats, so that the seam is none
    low, high = profile[:, 1].min(), profile[:, 1].max()
    return plain(triangles, WHITE, np.stack([u, (triangles[..., 2] - low) / (high - low)], -1), paint)


def handle(x: float, z: float, radius: float, thickness: float) -> Float[np.ndarray, "faces 3 3"]:
    """Half a ring that stands out along x from (x, 0, z)."""
    along, ring = np.linspace(-np.pi / 2, np.pi / 2, 17), 2 * np.pi * np.arange(12) / 12
    out = radius + thickness * np.cos(ring)[None]
    centre = np.cos(along)[:, None] * out, np.sin(along)[:, None] * out
    side = np.broadcast_to(thickness * np.sin(ring)[None], centre[0].shape)
    return loft.sweep(np.stack([x + centre[0], side, z + centre[1]], -1))


def printed(triangles: Float[np.ndarray, "faces 3 3"], image: Image, scale: float = 1.0) -> Surface:
    """Faces that show an image, projected along the axis that each looks along."""
    triangles = triangles[has_area(triangles)]
    axes = np.array([[1, 2], [0, 2], [0, 1]])[np.abs(area_vectors(triangles)).argmax(-1)]
    uv = scale * np.take_along_axis(triangles, axes[:, None, :].repeat(3, axis=1), 2)
    return plain(triangles, WHITE, uv, image)


def colour(rng: Random) -> Colour:
    """A colour that is neither black nor white."""
    red, green, blue = rng.uniform(0.15, 0.95, 3).tolist()
    return red, green, blue


def image_of(rgb: Float[np.ndarray, "height width 3"]) -> Image:
    return np.round(255 * rgb.clip(0, 1)).astype(np.uint8)


def label(rng: Random) -> Image:
    """Printed paper: a ground, bands, a round mark and lines of dark strokes that look like writing."""
    rgb = np.ones((128, 256, 3)) * colour(rng)
    for _ in range(int(rng.integers(1, 4))):
        top = int(rng.integers(0, 110))
        rgb[top : top + int(rng.integers(4, 30))] = colour(rng)
    rows, columns = np.mgrid[:128, :256]
    for left in (0, 128):  # two faces, so that every view sees one
        centre, radius = rng.uniform([40, left + 40], [80, left + 90]), rng.uniform(12, 30)
        rgb[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2] = colour(rng)
        ink = colour(rng) if rng.random() < 0.5 else (0.08, 0.08, 0.1)
        for line in range(int(rng.integers(2, 6))):
            start = left + 14
            while start < left + 104:
                width = int(rng.integers(3, 9))
                rgb[14 + 18 * line : 14 + 18 * line + int(rng.integers(6, 12)), start : start + width] = ink
                start += width + int(rng.integers(2, 7))
    return image_of(rgb)


def bands(rng: Random) -> Image:
    """Rings of some colours, with a wavy edge."""
    colours = np.array([colour(rng) for _ in range(int(rng.integers(3, 7)))])
    wave = rng.uniform(0, 0.4) * np.sin(2 * np.pi * int(rng.integers(1, 7)) * np.arange(256) / 256)
    place = np.linspace(0, len(colours) - 1e-3, 128)[:, None] + wave[None]
    return image_of(colours[place.clip(0, len(colours) - 1e-3).astype(int)])


def checks(rng: Random) -> Image:
    """Cloth: crossing stripes on a ground."""
    rgb = np.ones((128, 256, 3)) * colour(rng)
    for axis in (0, 1):
        stripe = np.arange(rgb.shape[axis]) % int(rng.integers(16, 48)) < int(rng.integers(4, 12))
        lines = np.moveaxis(rgb, axis, 0)
        lines[stripe] = 0.5 * lines[stripe] + 0.5 * np.array(colour(rng))
    return image_of(rgb)


def grain(rng: Random) -> Image:
    """Wood: fibres of slightly different brightness along one axis."""
    fibres = np.convolve(rng.normal(size=128 + 4), np.ones(5) / 5, mode="valid")[:, None, None]
    knots = 0.06 * np.sin(np.linspace(0, 6 * np.pi, 256) + rng.uniform(0, 6))[None, :, None]
    return image_of(np.array(WOODS[int(rng.integers(len(WOODS)))]) * (1 + 0.25 * fibres + knots))


def arc(start: tuple[float, float], end: tuple[float, float], power: float) -> Points:
    """A shoulder from one point of a profile to another, steeper at its end the larger the power."""
    t = np.linspace(0, 1, 9)[1:, None]
    return np.array(start) + (np.array(end) - np.array(start)) * np.concatenate([t ** (1 / power), t**power], -1)
