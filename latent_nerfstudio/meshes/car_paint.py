"""Paints the texture atlas of a car: five flat pictures, the rim, and a row of plain swatches. Each picture is drawn in
metres (y up) at twice the resolution of the atlas and averaged down, so lines are soft."""

import colorsys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from latent_nerfstudio.meshes.car_shape import CarShape

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

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
    """Atlas pixel in the middle of a swatch."""
    return (SWATCHES.index(name) + 0.5) * SWATCH_PIXELS, SWATCH_ROW + 0.5 * SWATCH_PIXELS


class Picture:
    """One picture of the atlas while it is drawn; all coordinates are metres, y up."""

    def __init__(self, region: Region, background: Colour) -> None:
        self.region = region
        size = (region.width * SUPERSAMPLING, region.height * SUPERSAMPLING)
        self.image = Image.new("RGB", size, background)
        self.draw = ImageDraw.Draw(self.image)

    def _pixels(self, points: Points) -> Points:
        corner = np.array([self.region.left, self.region.top])
        pixels = (self.region.to_pixels(np.array(points, float)) - corner) * SUPERSAMPLING
        return [(float(x), float(y)) for x, y in pixels]

    def polygon(self, points: Points, colour: Colour) -> None:
        self.draw.polygon(self._pixels(points), fill=colour)

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour) -> None:
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour, aspect: float = 1.0) -> None:
        """Fills an ellipse of half width `radius * aspect` and half height `radius`."""
        angle = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
        outline = np.stack([centre[0] + radius * aspect * np.cos(angle), centre[1] + radius * np.sin(angle)], -1)
        self.polygon([(float(a), float(b)) for a, b in outline], colour)

    def line(self, points: Points, colour: Colour, width: float = 0.022) -> None:
        """Draws a line of a width in metres."""
        pixels = max(1, round(width * self.region.scale * SUPERSAMPLING))
        self.draw.line(self._pixels(points), fill=colour, width=pixels, joint="curve")

    def finished(self) -> Image.Image:
        """The picture at the resolution of the atlas."""
        return self.image.reduce(SUPERSAMPLING)


@dataclass(frozen=True)
class Livery:
    """Colours and patterns of one car."""

    body: Colour
    second: Colour
    accent: Colour
    glass: Colour
    bumper: Colour
    rim: Colour
    plate: Colour
    lamp: Colour
    patterns: tuple[str, ...]
    stripe: tuple[float, float]
    """Offset and half width of the stripes, metres."""
    split: float
    """Height of the line between two tones, as a fraction from clearance to belt."""
    spokes: int
    round_lamps: bool
    lamp_size: float
    """Half height of the headlights, metres."""
    marks: tuple[float, ...]
    """Widths of the marks on the number plates, relative."""


CLASSIC = (
    (196, 30, 34), (24, 62, 140), (235, 236, 232), (28, 30, 34), (150, 156, 162), (240, 190, 30), (22, 92, 58),
    (228, 104, 24), (96, 170, 214), (120, 24, 44), (216, 204, 172), (70, 76, 84), (60, 150, 90), (160, 205, 190),
)  # fmt: skip


def draw_livery(rng: np.random.Generator) -> Livery:
    body = draw_colour(rng)
    second, accent = draw_unlike(body, 110.0, rng), draw_unlike(body, 130.0, rng)
    grey = int(rng.integers(26, 60))
    rims: list[Colour] = [(196, 200, 206), (120, 124, 130), (60, 62, 66), (214, 178, 96), body]
    plates: list[Colour] = [(240, 240, 236), (246, 208, 60), (190, 214, 240)]
    lamps: list[Colour] = [(250, 246, 222), (230, 240, 252), (252, 232, 170)]
    return Livery(
        body=body,
        second=second,
        accent=accent,
        glass=shaded((52, 66, 84), rng.uniform(0.6, 1.35)),
        bumper=(grey, grey, grey + 3) if rng.random() < 0.55 else shaded(body, 0.8),
        rim=rims[rng.choice(5, p=[0.5, 0.2, 0.12, 0.08, 0.1])],
        plate=plates[rng.choice(3, p=[0.6, 0.25, 0.15])],
        lamp=lamps[rng.integers(3)],
        patterns=draw_patterns(rng),
        stripe=(rng.uniform(0.12, 0.22), rng.uniform(0.05, 0.11)),
        split=rng.uniform(0.35, 0.62),
        spokes=int(rng.integers(4, 11)),
        round_lamps=bool(rng.random() < 0.4),
        lamp_size=rng.uniform(0.07, 0.12),
        marks=tuple(rng.uniform(0.4, 1.0, size=7)),
    )


def draw_patterns(rng: np.random.Generator) -> tuple[str, ...]:
    """Draws which patterns a car wears; nearly half of the cars are plain."""
    likely = {
        "two_tone": 0.18, "second_roof": 0.22, "centre_stripes": 0.16, "side_stripe": 0.18, "second_bonnet": 0.06,
        "checks": 0.07, "roundel": 0.10, "sunroof": 0.25, "doors": 0.06,
    }  # fmt: skip
    return tuple(name for name, chance in likely.items() if rng.random() < chance)


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
    livery = draw_livery(rng)
    pictures = {
        "side": paint_side(shape, livery),
        "top": paint_top(shape, livery),
        "roof": paint_roof(shape, livery),
        "front": paint_end(shape, livery, front=True),
        "rear": paint_end(shape, livery, front=False),
        "rim": paint_rim(livery),
    }
    atlas = Image.new("RGB", ATLAS_PIXELS, livery.body)
    for name, picture in pictures.items():
        atlas.paste(picture.finished(), (REGIONS[name].left, REGIONS[name].top))
    for index, colour in enumerate(swatch_colours(livery, rng)):
        left = index * SWATCH_PIXELS
        atlas.paste(colour, (left, SWATCH_ROW, left + SWATCH_PIXELS, SWATCH_ROW + SWATCH_PIXELS))
    return atlas


def swatch_colours(livery: Livery, rng: np.random.Generator) -> list[Colour]:
    """The plain colours, in the order of `SWATCHES`."""
    lamps: list[Colour] = [(40, 90, 235), (240, 150, 20), (225, 30, 30)]
    left, right = lamps[rng.integers(3)], lamps[rng.integers(3)]
    mirror = livery.second if rng.random() < 0.3 else livery.body
    spoiler = livery.accent if rng.random() < 0.4 else livery.body
    trim = (58, 58, 62) if rng.random() < 0.6 else (176, 180, 184)
    return [(26, 26, 28), (34, 34, 36), livery.bumper, mirror, spoiler, trim, (248, 214, 60), left, right]


def split_height(shape: CarShape, livery: Livery) -> float:
    """Height of the line between the two tones, metres."""
    return shape.clearance + livery.split * (shape.belt - shape.clearance)


def cabin_colour(livery: Livery) -> Colour:
    """Colour of pillars and roof."""
    return livery.second if "second_roof" in livery.patterns else livery.body


def gap_colour(livery: Livery) -> Colour:
    """Colour of gaps and handles: darker than the body, or grey on a body that is nearly black."""
    return shaded(livery.body, 0.48) if sum(livery.body) > 150 else (96, 98, 104)


def paint_side(shape: CarShape, livery: Livery) -> Picture:
    """The side, for both flanks."""
    picture = Picture(REGIONS["side"], livery.body)
    end = 0.5 * shape.length
    picture.box(-2.8, shape.belt + 0.01, 2.8, 2.4, cabin_colour(livery))
    paint_side_patterns(picture, shape, livery)
    paint_side_windows(picture, shape, livery)
    paint_doors(picture, shape, livery)
    picture.box(-2.8, -0.1, 2.8, shape.clearance + 0.07, shaded(livery.bumper, 0.9))
    z = lamp_height(shape)
    picture.box(end - 0.24, z - livery.lamp_size * 0.8, end, z + livery.lamp_size * 0.8, livery.lamp)
    z = tail_height(shape)
    picture.box(-end, z - 0.11, -end + 0.17, z + 0.11, (190, 22, 26))
    for x in (shape.wheel_front, shape.wheel_rear):
        picture.disc((x, shape.wheel_radius), 1.17 * shape.wheel_radius, (22, 22, 24))
    return picture


def paint_side_patterns(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """What a livery adds to the flanks below the windows."""
    z = split_height(shape, livery)
    if "two_tone" in livery.patterns:
        picture.box(-2.8, -0.1, 2.8, z, livery.second)
    if "doors" in livery.patterns:
        rear, front = door_span(shape)
        picture.box(rear, shape.clearance, front, shape.belt, livery.second)
    if "side_stripe" in livery.patterns:
        picture.box(-2.8, z - 0.045, 2.8, z + 0.045, livery.accent)
    if "checks" in livery.patterns:
        size = 0.11
        for index in range(-26, 26):
            low = shape.belt - 0.16 - (index % 2) * size
            picture.box(index * size, low, (index + 1) * size, low + size, livery.accent)
    if "roundel" in livery.patterns:
        rear, front = door_span(shape)
        centre = (0.5 * (rear + front), 0.5 * (shape.clearance + shape.belt) + 0.03)
        picture.disc(centre, 0.23, (244, 244, 240))
        for offset in (-0.09, 0.05):
            left, low = centre[0] + offset, centre[1] - 0.12
            picture.box(left, low, left + 0.045, low + 0.24, (24, 24, 26))


def door_span(shape: CarShape) -> tuple[float, float]:
    """x of the rear and front edge of the doors."""
    front = shape.wheel_front - 1.25 * shape.wheel_radius
    rear = max(shape.wheel_rear + 1.25 * shape.wheel_radius, shape.rear_foot + 0.1)
    if shape.windows == 1:
        rear = max(rear, front - 1.35)
    return rear, front


def paint_doors(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Door gaps and handles."""
    rear, front = door_span(shape)
    dark = gap_colour(livery)
    low, high = shape.clearance + 0.1, shape.belt + 0.01
    count = 2 if shape.windows >= 2 and front - rear > 1.5 else 1
    edges = np.linspace(rear, front, count + 1)
    for x in edges:
        picture.line([(float(x), low), (float(x), high)], dark, 0.025)
    picture.line([(rear, low), (front, low)], dark, 0.025)
    for x in edges[:-1]:
        picture.box(x + 0.06, high - 0.17, x + 0.24, high - 0.125, dark)


def paint_side_windows(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Side windows: a band of glass that follows the cabin, cut by pillars."""
    low, high = window_heights(shape)
    foot = shape.belt - 0.06
    rear, front = shape.cabin_ends((np.array([low, high]) - foot) / (shape.height - foot))
    (rear_low, rear_high), (front_low, front_high) = (rear + 0.15).tolist(), (front - 0.15).tolist()
    if shape.style == "van" and shape.windows == 1:
        rear_low = rear_high = front_high - 1.0
    cuts = np.linspace(0.0, 1.0, shape.windows + 1)
    for a, b in zip(cuts[:-1], cuts[1:], strict=True):
        gap = 0.035 / max(front_low - rear_low, 0.3)
        a, b = a + (gap if a > 0 else 0.0), b - (gap if b < 1 else 0.0)
        corners = [
            (rear_low + a * (front_low - rear_low), low),
            (rear_low + b * (front_low - rear_low), low),
            (rear_high + b * (front_high - rear_high), high),
            (rear_high + a * (front_high - rear_high), high),
        ]
        paint_glass(picture, corners, livery.glass)


def window_heights(shape: CarShape) -> tuple[float, float]:
    """Lower and upper edge of all windows, metres."""
    return shape.belt + 0.045, shape.height - (0.12 if shape.style == "coupe" else 0.15)


def paint_glass(picture: Picture, corners: Points, glass: Colour) -> None:
    """A pane (lower left, lower right, upper right, upper left) that is lighter towards its top, as under a sky."""
    lower, upper = np.array([corners[0], corners[1]]), np.array([corners[3], corners[2]])
    steps = 8
    for index in range(steps):
        a, b = (lower + (upper - lower) * place / steps for place in (index, index + 1))
        ring = [tuple(a[0]), tuple(a[1]), tuple(b[1]), tuple(b[0])]
        picture.polygon(ring, shaded(glass, 0.75 + 0.8 * (index / steps) ** 1.5))


def paint_top(shape: CarShape, livery: Livery) -> Picture:
    """Bonnet and boot, seen from above."""
    picture = Picture(REGIONS["top"], livery.body)
    if "second_bonnet" in livery.patterns:
        picture.box(shape.cowl - 0.1, -1.05, 2.8, 1.05, livery.second)
    paint_centre_stripes(picture, livery)
    dark = gap_colour(livery)
    half, end = 0.41 * shape.width, 0.5 * shape.length
    picture.line([(shape.cowl, half), (end - 0.1, 0.9 * half)], dark)
    picture.line([(shape.cowl, -half), (end - 0.1, -0.9 * half)], dark)
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
    picture = Picture(REGIONS["roof"], cabin_colour(livery))
    paint_centre_stripes(picture, livery)
    middle = 0.5 * (shape.roof_front + shape.roof_rear)
    if "sunroof" in livery.patterns and "sign" not in shape.extras:
        half = 0.62 * shape.roof_half_width
        front = shape.roof_front - 0.25
        picture.box(max(middle - 0.3, front - 0.8), -half, front, half, shaded(livery.glass, 0.8))
    if shape.style == "van":
        half, groove = 0.8 * shape.roof_half_width, shaded(cabin_colour(livery), 0.8)
        for x in np.arange(shape.roof_rear + 0.25, shape.roof_front - 0.2, 0.38):
            picture.box(x, -half, x + 0.05, half, groove)
    if "roundel" in livery.patterns and "sunroof" not in livery.patterns:
        # No wider than the roof: what lies on the bend to the windows would be seen as a ragged edge.
        radius = min(0.34, 0.72 * shape.roof_half_width, 0.4 * (shape.roof_front - shape.roof_rear))
        picture.disc((middle, 0.0), radius, (244, 244, 240))
        picture.box(middle - 0.16, -0.12, middle + 0.16, -0.05, (24, 24, 26))
        picture.box(middle - 0.16, 0.06, middle + 0.16, 0.13, (24, 24, 26))
    return picture


def paint_centre_stripes(picture: Picture, livery: Livery, upright: bool = False) -> None:
    """Two stripes along the middle of the car, seen from above or, upright, from an end."""
    if "centre_stripes" in livery.patterns:
        offset, half = livery.stripe
        for y in (-offset, offset):
            edges = (y - half, -0.1, y + half, 2.4) if upright else (-2.8, y - half, 2.8, y + half)
            picture.box(*edges, livery.accent)


def lamp_height(shape: CarShape) -> float:
    return shape.clearance + 0.66 * (shape.nose - shape.clearance)


def tail_height(shape: CarShape) -> float:
    return shape.clearance + 0.70 * (shape.deck - shape.clearance)


def paint_end(shape: CarShape, livery: Livery, front: bool) -> Picture:
    picture = Picture(REGIONS["front" if front else "rear"], livery.body)
    if front and "second_bonnet" in livery.patterns:
        picture.box(-1.05, lamp_height(shape), 1.05, shape.belt, livery.second)
    picture.box(-1.05, shape.belt + 0.01, 1.05, 2.4, cabin_colour(livery))
    if "two_tone" in livery.patterns:
        picture.box(-1.05, -0.1, 1.05, split_height(shape, livery), livery.second)
    paint_centre_stripes(picture, livery, upright=True)
    paint_end_window(picture, shape, livery, front)
    picture.box(-1.05, -0.1, 1.05, shape.clearance + 0.07, shaded(livery.bumper, 0.9))
    if front:
        paint_face(picture, shape, livery)
    else:
        paint_tail(picture, shape, livery)
    return picture


def paint_end_window(picture: Picture, shape: CarShape, livery: Livery, front: bool) -> None:
    low, high = window_heights(shape)
    high += 0.05
    wide = shape.foot_half_width - (0.14 if front else 0.18)
    narrow = shape.roof_half_width - (0.08 if front else 0.14)
    if not front and shape.style == "van" and shape.windows == 1:
        for left, right in ((-0.75 * narrow, -0.1 * narrow), (0.1 * narrow, 0.75 * narrow)):
            paint_glass(picture, [(left, low + 0.1), (right, low + 0.1), (right, high), (left, high)], livery.glass)
        return
    paint_glass(picture, [(-wide, low), (wide, low), (narrow, high), (-narrow, high)], livery.glass)


def paint_face(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Headlights, grille, badge, front plate."""
    z, size = lamp_height(shape), livery.lamp_size
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
            edge = sorted((side * (y - 0.16), side * (y + 0.30)))
            picture.box(edge[0], z - size, edge[1], z + size, (60, 62, 66))
            picture.box(edge[0] + 0.02, z - 0.8 * size, edge[1] - 0.02, z + 0.8 * size, livery.lamp)
        picture.disc((side * y, shape.clearance + 0.33), 0.045, (244, 200, 120), aspect=1.8)
    paint_plate(picture, livery, shape.clearance + 0.3)


def paint_tail(picture: Picture, shape: CarShape, livery: Livery) -> None:
    """Tail lights, rear plate, handle."""
    z, half = tail_height(shape), 0.5 * shape.width
    for side in (-1.0, 1.0):
        inner, outer = sorted((side * (half - 0.34), side * half))
        picture.box(inner, z - 0.11, outer, z + 0.11, (190, 22, 26))
        split = sorted((side * (half - 0.34), side * (half - 0.22)))
        picture.box(split[0], z - 0.04, split[1], z + 0.04, (248, 170, 60))
    dark = gap_colour(livery)
    picture.line([(-half + 0.36, z + 0.14), (half - 0.36, z + 0.14)], dark)
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
    picture = Picture(REGIONS["rim"], (34, 34, 36))
    picture.disc((0.0, 0.0), 0.36, livery.rim)
    picture.disc((0.0, 0.0), 0.31, shaded(livery.rim, 0.35))
    for index in range(livery.spokes):
        angle = 2.0 * np.pi * index / livery.spokes
        tip = (0.33 * float(np.cos(angle)), 0.33 * float(np.sin(angle)))
        picture.line([(0.0, 0.0), tip], livery.rim, min(0.09, 0.55 / livery.spokes))
    picture.disc((0.0, 0.0), 0.09, livery.rim)
    picture.disc((0.0, 0.0), 0.05, livery.accent)
    return picture
