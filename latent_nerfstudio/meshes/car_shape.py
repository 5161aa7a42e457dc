"""The measures of cars: body styles, and one car drawn from them. Lengths are metres; x points forwards, y to the left,
z up, the ground is z = 0."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

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


class CarShape:
    """The measures of one car, drawn from those of its style, metres."""

    def __init__(self, rng: np.random.Generator) -> None:
        weights = np.array([style.weight for style in STYLES])
        style = STYLES[rng.choice(len(STYLES), p=weights / weights.sum())]
        names = ("length", "height", "belt", "nose", "deck", "cowl", "roof_front", "roof_rear", "rear_foot")
        draw = {name: rng.uniform(*getattr(style, name)) for name in names}
        self.style = style.name
        self.length, self.height = draw["length"], draw["height"]
        self.wheel_radius = rng.uniform(*style.wheel_radius)
        self.belt = max(draw["belt"] * self.height, 2.0 * self.wheel_radius + 0.12)
        self.width = np.clip(rng.uniform(0.36, 0.41) * self.length, 1.5, 1.98)
        self.clearance = rng.uniform(*style.clearance)
        self.nose = max(draw["nose"] * self.belt, 2.0 * self.wheel_radius + 0.02)
        self.deck = draw["deck"] * self.belt
        # Never before the end of the roof: a cabin that leans backwards over the bed looks broken.
        draw["rear_foot"] = max(draw["rear_foot"], draw["roof_rear"] + 0.01)
        self.cowl, self.roof_front, self.roof_rear, self.rear_foot = (
            self.length * (0.5 - draw[name]) for name in ("cowl", "roof_front", "roof_rear", "rear_foot")
        )
        narrow = (0.41, 0.45) if style.name == "van" else (0.34, 0.41)
        self.roof_half_width, self.foot_half_width = self.width * rng.uniform(*narrow), 0.47 * self.width
        self.wheel_front = self.length / 2 - self.wheel_radius - rng.uniform(0.10, 0.13) * self.length
        self.wheel_rear = -self.length / 2 + self.wheel_radius + rng.uniform(0.09, 0.13) * self.length
        self.lamp_height = self.clearance + 0.66 * (self.nose - self.clearance)
        self.tail_height = self.clearance + 0.70 * (self.deck - self.clearance)
        self.window_heights = (self.belt + 0.045, self.height - (0.12 if style.name == "coupe" else 0.15))
        self.roundness = rng.uniform(4.8, 9.5)  # exponent of the body's outlines: 4 is soft, 9 nearly a box
        self.windows = int(rng.choice(style.windows))
        front = self.wheel_front - 1.25 * self.wheel_radius
        rear = max(self.wheel_rear + 1.25 * self.wheel_radius, self.rear_foot + 0.1)
        self.doors = (max(rear, front - 1.35) if self.windows == 1 else rear, front)
        self.extras = draw_extras(style.name, rng)

    def cabin_ends(self, u: Float[np.ndarray, "rows"]) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
        """x of the cabin's rear and front at relative height `u` (0 at the belt, 1 at the roof)."""
        rear = self.rear_foot + (self.roof_rear - self.rear_foot) * u
        front = self.cowl + (self.roof_front - self.cowl) * u
        return rear, front


def draw_extras(style: str, rng: np.random.Generator) -> tuple[str, ...]:
    likely = {
        "spoiler": {"coupe": 0.5, "saloon": 0.2, "hatchback": 0.35}.get(style, 0.0),
        "rails": {"estate": 0.6, "suv": 0.6, "van": 0.2}.get(style, 0.05),
        "sign": {"saloon": 0.2, "estate": 0.1}.get(style, 0.03),
        "light_bar": {"van": 0.15, "pickup": 0.25, "suv": 0.15}.get(style, 0.03),
        "spare_wheel": {"suv": 0.35, "micro": 0.1}.get(style, 0.0),
    }
    chosen = tuple(name for name, chance in likely.items() if rng.random() < chance)
    return tuple(name for name in chosen if not (name == "light_bar" and "sign" in chosen))
