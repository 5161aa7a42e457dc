"""Paints the texture atlas of a car: five flat pictures, the rim, and a row of plain swatches. Each picture is drawn in
metres (y up) at twice the resolution of the atlas and averaged down, so lines are soft."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from latent_nerfstudio.meshes.car_shape import CarShape

Colour = tuple[int, int, int]
Points = Sequence[Any] | np.ndarray

PIXELS_PER_METRE = 91
SUPERSAMPLING = 2
ATLAS_PIXELS = (512, 864)
"""Width and height of the atlas."""
SWATCHES = ("dark", "tyre", "bumper", "mirror", "spoiler", "trim", "sign", "lamp_left", "lamp_right")
SWATCH_PIXELS = 32
SWATCH_ROW = 832


@dataclass(frozen=True)
class Region:
    """One picture of the atlas: where it lies, and what part of the car it shows."""

    left: int
    top: int
    width: int
    height: int
    centre: tuple[float, float]
    """The point, in metres, in the middle of the picture."""
    axes: tuple[int, int]
    """Which of the car's axes run to the right and up in the picture."""
    scale: float = PIXELS_PER_METRE

    def to_pixels(self, metres: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Atlas pixels, y down, of points in the picture."""
        offset = (metres - np.array(self.centre)) * np.array([self.scale, -self.scale])
        return offset + np.array([self.left + 0.5 * self.width, self.top + 0.5 * self.height])


REGIONS = {
    "side": Region(0, 0, 512, 224, (0.0, 1.15), (0, 2)),
    "top": Region(0, 224, 512, 192, (0.0, 0.0), (0, 1)),
    "roof": Region(0, 416, 512, 192, (0.0, 0.0), (0, 1)),
    "front": Region(0, 608, 192, 224, (0.0, 1.15), (1, 2)),
    "rear": Region(192, 608, 192, 224, (0.0, 1.15), (1, 2)),
    "rim": Region(384, 608, 128, 128, (0.0, 0.0), (0, 1), 124.0),
}


def swatch_centre(name: str) -> tuple[float, float]:
    return (SWATCHES.index(name) + 0.5) * SWATCH_PIXELS, SWATCH_ROW + 0.5 * SWATCH_PIXELS


class Picture:
    """One picture of the atlas while it is drawn; all coordinates are metres, y up."""

    def __init__(self, region: str, background: Colour) -> None:
        self.region = REGIONS[region]
        size = (self.region.width * SUPERSAMPLING, self.region.height * SUPERSAMPLING)
        self.image = Image.new("RGB", size, background)
        self.draw = ImageDraw.Draw(self.image)

    def pixels(self, points: Points) -> list[float]:
        """x and y of points in turn."""
        corner = np.array([self.region.left, self.region.top])
        return ((self.region.to_pixels(np.array(points, float)) - corner) * SUPERSAMPLING).ravel().tolist()

    def polygon(self, points: Points, colour: Colour) -> None:
        self.draw.polygon(self.pixels(points), fill=colour)

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour) -> None:
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour, aspect: float = 1.0) -> None:
        """Fills an ellipse of half width `radius * aspect` and half height `radius`."""
        angle = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
        outline = np.stack([centre[0] + radius * aspect * np.cos(angle), centre[1] + radius * np.sin(angle)], -1)
        self.polygon(outline, colour)

    def line(self, points: Points, colour: Colour, width: float = 0.022) -> None:
        """Draws a line of a width in metres."""
        pixels = max(1, round(width * self.region.scale * SUPERSAMPLING))
        self.draw.line(self.pixels(points), fill=colour, width=pixels, joint="curve")


CLASSIC = (
    (196, 30, 34), (24, 62, 140), (235, 236, 232), (28, 30, 34), (150, 156, 162), (240, 190, 30), (22, 92, 58),
    (228, 104, 24), (96, 170, 214), (120, 24, 44), (216, 204, 172), (70, 76, 84), (60, 150, 90), (160, 205, 190),
)  # fmt: skip
RIMS = ((196, 200, 206), (120, 124, 130), (60, 62, 66), (214, 178, 96))
PLATES = ((240, 240, 236), (246, 208, 60), (190, 214, 240))
LAMPS = ((250, 246, 222), (230, 240, 252), (252, 232, 170))
LIGHTS = ((40, 90, 235), (240, 150, 20), (225, 30, 30))
TAIL_LIGHT, WHITE, BLACK = (190, 22, 26), (244, 244, 240), (24, 24, 26)
PATTERNS = {
    "two_tone": 0.18, "second_roof": 0.22, "centre_stripes": 0.16, "side_stripe": 0.18, "second_bonnet": 0.06,
    "checks": 0.07, "roundel": 0.10, "sunroof": 0.25, "doors": 0.06,
}  # fmt: skip
"""How likely each pattern is; nearly half of the cars are plain."""


class Livery:
    """Colours and patterns of one car, drawn at random."""

    def __init__(self, shape: CarShape, rng: np.random.Generator) -> None:
        self.body = draw_colour(rng)
        self.second, self.accent = draw_unlike(self.body, 110.0, rng), draw_unlike(self.body, 130.0, rng)
        grey = int(rng.integers(26, 60))
        self.glass = shaded((52, 66, 84), rng.uniform(0.6, 1.35))
        self.bumper = (grey, grey, grey + 3) if rng.random() < 0.55 else shaded(self.body, 0.8)
        self.rim = (*RIMS, self.body)[rng.choice(5, p=[0.5, 0.2, 0.12, 0.08, 0.1])]
        self.plate = PLATES[rng.choice(3, p=[0.6, 0.25, 0.15])]
        self.lamp = LAMPS[rng.integers(3)]
        self.patterns = {name for name, chance in PATTERNS.items() if rng.random() < chance}
        self.stripe = (rng.uniform(0.12, 0.22), rng.uniform(0.05, 0.11))  # offset and half width, metres
        # Height of the line between two tones, metres.
        self.split = shape.clearance + rng.uniform(0.35, 0.62) * (shape.belt - shape.clearance)
        self.spokes = int(rng.integers(4, 11))
        self.round_lamps = bool(rng.random() < 0.4)
        self.lamp_size = rng.uniform(0.07, 0.12)  # half height of the headlights, metres
        self.marks = rng.uniform(0.4, 1.0, size=7)  # widths of the marks on the number plates, relative
        self.cabin = self.second if "second_roof" in self.patterns else self.body  # of pillars and roof
        # Gaps and handles are darker than the body, or grey on a body that is nearly black.
        self.gap = shaded(self.body, 0.48) if sum(self.body) > 150 else (96, 98, 104)
        left, right = LIGHTS[rng.integers(3)], LIGHTS[rng.integers(3)]
        mirror = self.second if rng.random() < 0.3 else self.body
        spoiler = self.accent if rng.random() < 0.4 else self.body
        trim = (58, 58, 62) if rng.random() < 0.6 else (176, 180, 184)
        # In the order of `SWATCHES`.
        self.plain = [(26, 26, 28), (34, 34, 36), self.bumper, mirror, spoiler, trim, (248, 214, 60), left, right]


def draw_colour(rng: np.random.Generator) -> Colour:
    """A car colour: a classic one slightly changed, or any hue."""
    if rng.random() < 0.5:
        base = np.array(CLASSIC[rng.integers(len(CLASSIC))]) + rng.normal(0.0, 8.0, 3)
    else:
        base = 255.0 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.35, 0.9), rng.uniform(0.4, 0.95)))
    r, g, b = np.clip(np.round(base), 12, 245).astype(int).tolist()
    return r, g, b


def draw_unlike(body: Colour, distance: float, rng: np.random.Generator) -> Colour:
    """Draws a car colour so far from that of the body in RGB, in which black and white are 442 apart."""
    colour = draw_colour(rng)
    while np.linalg.norm(np.subtract(body, colour)) < distance:
        colour = draw_colour(rng)
    return colour


def shaded(colour: Colour, factor: float) -> Colour:
    """A colour made darker (factor < 1) or lighter (factor > 1)."""
    r, g, b = (int(np.clip(round(c * factor), 0, 255)) for c in colour)
    return r, g, b


def paint(shape: CarShape, rng: np.random.Generator) -> Image.Image:
    """Draws a livery and paints the atlas of a car with it, an RGB image of `ATLAS_PIXELS`."""
    livery = Livery(shape, rng)
    pictures = [part(shape, livery) for part in (paint_side, paint_top, paint_roof)]
    pictures += [paint_end(shape, livery, front) for front in (True, False)] + [paint_rim(livery)]
    atlas = Image.new("RGB", ATLAS_PIXELS, livery.body)
    for picture in pictures:
        atlas.paste(picture.image.reduce(SUPERSAMPLING), (picture.region.left, picture.region.top))
    for index, colour in enumerate(livery.plain):
        left = index * SWATCH_PIXELS
        atlas.paste(colour, (left, SWATCH_ROW, left + SWATCH_PIXELS, SWATCH_ROW + SWATCH_PIXELS))
    return atlas


def paint_side(shape: CarShape, livery: Livery) -> Picture:
    """The side, for both flanks."""
    picture = Picture("side", livery.body)
    end = 0.5 * shape.length
    picture.box(-2.8, shape.belt + 0.01, 2.8, 2.4, livery.cabin)
    paint_side_patterns(picture, shape, livery)
    paint_side_windows(picture, shape, livery)
    paint_doors(picture, shape, livery)
    picture.box(-2.8, -0.1, 2.8, shape.clearance + 0.07, shaded(livery.bumper, 0.9))
    z = shape.lamp_height
    picture.box(end - 0.24, z - livery.lamp_size * 0.8, end, z + livery.lamp_size * 0.8, livery.lamp)
    z = shape.tail_height
    picture.box(-end, z - 0.11, -end + 0.17, z + 0.11, TAIL_LIGHT)
    for x in (shape.wheel_front, shape.wheel_rear):
        picture.disc((x, shape.wheel_radius), 1.17 * shape.wheel_radius, (22, 22, 24))
    return picture


def paint_side_patterns(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """What a livery adds to the flanks below the windows."""
    z = livery.split
    if "two_tone" in livery.patterns:
        picture.box(-2.8, -0.1, 2.8, z, livery.second)
    if "doors" in livery.patterns:
        rear, front = shape.doors
        picture.box(rear, shape.clearance, front, shape.belt, livery.second)
    if "side_stripe" in livery.patterns:
        picture.box(-2.8, z - 0.045, 2.8, z + 0.045, livery.accent)
    if "checks" in livery.patterns:
        size = 0.11
        for index in range(-26, 26):
            low = shape.belt - 0.16 - (index % 2) * size
            picture.box(index * size, low, (index + 1) * size, low + size, livery.accent)
    if "roundel" in livery.patterns:
        rear, front = shape.doors
        centre = (0.5 * (rear + front), 0.5 * (shape.clearance + shape.belt) + 0.03)
        picture.disc(centre, 0.23, WHITE)
        for offset in (-0.09, 0.05):
            left, low = centre[0] + offset, centre[1] - 0.12
            picture.box(left, low, left + 0.045, low + 0.24, BLACK)


def paint_doors(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Door gaps and handles."""
    rear, front = shape.doors
    dark = livery.gap
    low, high = shape.clearance + 0.1, shape.belt + 0.01
    count = 2 if shape.windows >= 2 and front - rear > 1.5 else 1
    edges = np.linspace(rear, front, count + 1)
    for x in edges:
        picture.line([(x, low), (x, high)], dark, 0.025)
    picture.line([(rear, low), (front, low)], dark, 0.025)
    for x in edges[:-1]:
        picture.box(x + 0.06, high - 0.17, x + 0.24, high - 0.125, dark)


def paint_side_windows(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Side windows: a band of glass that follows the cabin, cut by pillars."""
    heights = shape.window_heights
    foot = shape.belt - 0.06
    rear, front = shape.cabin_ends((np.array(heights) - foot) / (shape.height - foot))
    rear, front = rear + 0.15, front - 0.15
    if shape.style == "van" and shape.windows == 1:
        rear = np.full(2, front[1] - 1.0)
    gap = 0.035 / max(front[0] - rear[0], 0.3)
    cuts = np.linspace(0.0, 1.0, shape.windows + 1)
    for a, b in zip(cuts[:-1], cuts[1:], strict=True):
        a, b = a + (gap if a > 0 else 0.0), b - (gap if b < 1 else 0.0)
        paint_glass(picture, rear + a * (front - rear), rear + b * (front - rear), heights, livery.glass)


def paint_glass(picture: Picture, left: Points, right: Points, heights: Points, glass: Colour) -> None:
    """A pane, lighter towards its top, as under a sky; its edges at its lower and its upper height."""
    steps = 8
    bottom, top = np.array([[left, heights], [right, heights]]).transpose(2, 0, 1)
    for index in range(steps):
        lower, upper = (bottom + (top - bottom) * place / steps for place in (index, index + 1))
        picture.polygon([*lower, *upper[::-1]], shaded(glass, 0.75 + 0.8 * (index / steps) ** 1.5))


def paint_top(shape: CarShape, livery: Livery) -> Picture:
    """Bonnet and boot, seen from above."""
    picture = Picture("top", livery.body)
    if "second_bonnet" in livery.patterns:
        picture.box(shape.cowl - 0.1, -1.05, 2.8, 1.05, livery.second)
    paint_centre_stripes(picture, livery)
    dark = livery.gap
    half, end = 0.41 * shape.width, 0.5 * shape.length
    for y in (half, -half):
        picture.line([(shape.cowl, y), (end - 0.1, 0.9 * y)], dark)
    picture.box(shape.cowl - 0.06, -half, shape.cowl + 0.07, half, (30, 30, 33))
    if shape.style == "pickup":
        paint_bed(picture, shape, livery)
    elif shape.rear_foot + end > 0.3:
        x = shape.rear_foot - 0.08
        picture.line([(-end, half), (x, half), (x, -half), (-end, -half)], dark)
    return picture


def paint_bed(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """The open bed of a pickup, with its ribs."""
    half = 0.40 * shape.width
    rear, front = -0.5 * shape.length + 0.14, shape.rear_foot - 0.1
    picture.box(rear, -half, front, half, (38, 38, 42))
    for y in np.linspace(-half, half, 8)[1:-1]:
        picture.box(rear, y - 0.03, front, y + 0.03, (62, 62, 68))
    if "checks" in livery.patterns or "doors" in livery.patterns:
        picture.box(rear + 0.2, -0.45 * half, front - 0.35, 0.55 * half, livery.accent)


def paint_roof(shape: CarShape, livery: Livery) -> Picture:
    """The roof, seen from above."""
    picture = Picture("roof", livery.cabin)
    paint_centre_stripes(picture, livery)
    middle = 0.5 * (shape.roof_front + shape.roof_rear)
    if "sunroof" in livery.patterns and "sign" not in shape.extras:
        half = 0.62 * shape.roof_half_width
        front = shape.roof_front - 0.25
        picture.box(max(middle - 0.3, front - 0.8), -half, front, half, shaded(livery.glass, 0.8))
    if shape.style == "van":
        half, groove = 0.8 * shape.roof_half_width, shaded(livery.cabin, 0.8)
        for x in np.arange(shape.roof_rear + 0.25, shape.roof_front - 0.2, 0.38):
            picture.box(x, -half, x + 0.05, half, groove)
    if "roundel" in livery.patterns and "sunroof" not in livery.patterns:
        # No wider than the roof: what lies on the bend to the windows would be seen as a ragged edge.
        radius = min(0.34, 0.72 * shape.roof_half_width, 0.4 * (shape.roof_front - shape.roof_rear))
        picture.disc((middle, 0.0), radius, WHITE)
        for low in (-0.12, 0.06):
            picture.box(middle - 0.16, low, middle + 0.16, low + 0.07, BLACK)
    return picture


def paint_centre_stripes(picture: Picture, livery: Livery, upright: bool = False) -> None:
    """Two stripes along the middle of the car, seen from above or, upright, from an end."""
    if "centre_stripes" in livery.patterns:
        offset, half = livery.stripe
        for y in (-offset, offset):
            edges = (y - half, -0.1, y + half, 2.4) if upright else (-2.8, y - half, 2.8, y + half)
            picture.box(*edges, livery.accent)


def paint_end(shape: CarShape, livery: Livery, front: bool) -> Picture:
    picture = Picture("front" if front else "rear", livery.body)
    if front and "second_bonnet" in livery.patterns:
        picture.box(-1.05, shape.lamp_height, 1.05, shape.belt, livery.second)
    picture.box(-1.05, shape.belt + 0.01, 1.05, 2.4, livery.cabin)
    if "two_tone" in livery.patterns:
        picture.box(-1.05, -0.1, 1.05, livery.split, livery.second)
    paint_centre_stripes(picture, livery, upright=True)
    paint_end_window(picture, shape, livery, front)
    picture.box(-1.05, -0.1, 1.05, shape.clearance + 0.07, shaded(livery.bumper, 0.9))
    if front:
        paint_face(picture, shape, livery)
    else:
        paint_tail(picture, shape, livery)
    return picture


def paint_end_window(picture: Picture, shape: CarShape, livery: Livery, front: bool) -> None:
    low, high = shape.window_heights
    high += 0.05
    wide = shape.foot_half_width - (0.14 if front else 0.18)
    narrow = shape.roof_half_width - (0.08 if front else 0.14)
    if front or shape.style != "van" or shape.windows > 1:
        paint_glass(picture, (-wide, -narrow), (wide, narrow), (low, high), livery.glass)
        return
    for left, right in ((-0.75 * narrow, -0.1 * narrow), (0.1 * narrow, 0.75 * narrow)):
        paint_glass(picture, (left, left), (right, right), (low + 0.1, high), livery.glass)


def paint_face(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Headlights, grille, badge, front plate."""
    z, size = shape.lamp_height, livery.lamp_size
    y = 0.36 * shape.width
    picture.box(-0.24 * shape.width, z - 0.9 * size, 0.24 * shape.width, z + 0.9 * size, (34, 34, 38))
    for bar in (-0.35, 0.35):
        picture.box(-0.23 * shape.width, z + (bar - 0.1) * size, 0.23 * shape.width, z + (bar + 0.1) * size, livery.rim)
    picture.disc((0.0, z), 0.06, livery.accent)
    for side in (-1.0, 1.0):
        if livery.round_lamps:
            picture.disc((side * y, z), 1.45 * size, (60, 62, 66))
            picture.disc((side * y, z), 1.15 * size, livery.lamp)
        else:
            picture.box(side * (y - 0.16), z - size, side * (y + 0.30), z + size, (60, 62, 66))
            inner, outer = side * (y - 0.16 + 0.02), side * (y + 0.30 - 0.02)
            picture.box(inner, z - 0.8 * size, outer, z + 0.8 * size, livery.lamp)
        picture.disc((side * y, shape.clearance + 0.33), 0.045, (244, 200, 120), aspect=1.8)
    paint_plate(picture, livery, shape.clearance + 0.3)


def paint_tail(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Tail lights, rear plate, handle."""
    z, half = shape.tail_height, 0.5 * shape.width
    for side in (-1.0, 1.0):
        picture.box(side * (half - 0.34), z - 0.11, side * half, z + 0.11, TAIL_LIGHT)
        picture.box(side * (half - 0.34), z - 0.04, side * (half - 0.22), z + 0.04, (248, 170, 60))
    picture.line([(-half + 0.36, z + 0.14), (half - 0.36, z + 0.14)], livery.gap)
    paint_plate(picture, livery, max(shape.clearance + 0.36, z - 0.12))


def paint_plate(picture: Picture, livery: Livery, z: float) -> None:
    """A number plate with dark marks for letters."""
    picture.box(-0.29, z - 0.085, 0.29, z + 0.085, (40, 40, 42))
    picture.box(-0.27, z - 0.07, 0.27, z + 0.07, livery.plate)
    pitch = 0.48 / len(livery.marks)
    for index, mark in enumerate(livery.marks):
        left = -0.24 + index * pitch
        picture.box(left, z - 0.04, left + 0.72 * pitch * mark, z + 0.04, (30, 32, 44))


def paint_rim(livery: Livery) -> Picture:
    """A wheel seen from its side, radius 0.5: tyre, rim, spokes, hub."""
    picture = Picture("rim", (34, 34, 36))
    picture.disc((0.0, 0.0), 0.36, livery.rim)
    picture.disc((0.0, 0.0), 0.31, shaded(livery.rim, 0.35))
    for index in range(livery.spokes):
        angle = 2.0 * np.pi * index / livery.spokes
        tip = (0.33 * np.cos(angle), 0.33 * np.sin(angle))
        picture.line([(0.0, 0.0), tip], livery.rim, min(0.09, 0.55 / livery.spokes))
    picture.disc((0.0, 0.0), 0.09, livery.rim)
    picture.disc((0.0, 0.0), 0.05, livery.accent)
    return picture
