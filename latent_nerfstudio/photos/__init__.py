"""Photos without poses -> scenes on disk: structure from motion by COLMAP, undistortion, a box."""

from dataclasses import dataclass
from typing import Literal, Optional

Matching = Literal["exhaustive", "sequential"]
Lens = Literal["radial", "simple", "fisheye"]


@dataclass(kw_only=True)
class PhotoOptions:
    """How photos become a scene: flags of `lns process-photos`."""

    matching: Matching = "exhaustive"
    """Pairs that are compared: every pair, or neighbours by name, for frames of a film."""
    lens: Lens = "radial"
    """Distortion: radial and tangential (OpenCV), one number alone, or that of a fisheye."""
    longest_side: int = 1600
    """Longest side of the pictures, pixels; larger photos are made smaller."""
    background: Optional[str] = None
    """Background of one colour that is cut out: `auto` for that of the borders, a colour's name, or #rrggbb."""
    tolerance: float = 24.0
    """Tolerance: how far a channel may be from the background's colour, 0 to 255."""
