"""What is checked of an autoencoder from a stranger: its JSON before anything is built by it, then its numbers."""

import math
from typing import Any, Dict, Iterator, Mapping, Tuple

from torch import Tensor

from latent_nerfstudio.errors import problem

MOST = 1 << 16
"""Largest whole number in a config.json: widths, channels, sides of pictures."""

MOST_LAYERS = 256
"""Largest one where names speak of layers, blocks or groups, which are built one at a time."""

MOST_LEVELS = 11
"""Resolutions of an autoencoder at most: it makes pictures 1024 times smaller then."""

AGAIN = "save it again with save_pretrained"


def check_config(settings: Any, where: object) -> Dict[str, Any]:
    """A config.json to build an autoencoder by; refuses numbers by which the file could take memory or time."""
    if not isinstance(settings, dict) or not isinstance(settings.get("_class_name"), str):
        raise ValueError(problem(where, "a JSON object with a _class_name", f"{settings!r:.60}", AGAIN))
    for name, value in numbers_in(settings):
        is_repeated = any(word in name for word in ("layers", "blocks", "groups", "heads")) and "channels" not in name
        most = MOST_LAYERS if is_repeated else MOST
        if not math.isfinite(value) or (isinstance(value, int) and not -1 <= value <= most):
            raise ValueError(problem(f"{where}, {name}", f"a number up to {most}", f"{value!r:.40}", AGAIN))
    check_layers(settings, where)
    for name in ("in_channels", "out_channels"):
        if settings.get(name, 3) != 3:
            expected, do = "3, as pictures have here", "take one for colours"
            raise ValueError(problem(f"{where}, {name}", expected, settings[name], do))
    for name in ("scaling_factor", "shift_factor"):
        value = settings.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(problem(f"{where}, {name}", "a number", f"{value!r:.40}", AGAIN))
    return settings


def check_layers(settings: Dict[str, Any], where: object) -> None:
    """Refuses more layers than an autoencoder has: they take time to build, however small they are."""
    widths = [value for name, value in settings.items() if name.endswith("block_out_channels")]
    levels = max((len(value) for value in widths if isinstance(value, list)), default=1)
    if levels > MOST_LEVELS:
        raise ValueError(problem(f"{where}, block_out_channels", f"{MOST_LEVELS} widths at most", levels, AGAIN))
    for name, value in settings.items():
        if any(word in name for word in ("layers", "blocks")):
            each = value if isinstance(value, list) else [value] * levels
            count = sum(number for number in each if type(number) is int)
            if count > MOST_LAYERS:
                raise ValueError(problem(f"{where}, {name}", f"{MOST_LAYERS} in all at most", count, AGAIN))


def numbers_in(value: Any, name: str = "config.json") -> Iterator[Tuple[str, float]]:
    """The numbers of a JSON value with the name that they stand under; lists are counted as well."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_in(inner, str(key))
    elif isinstance(value, list):
        if len(value) > 64 and not name.startswith("latents_"):  # which are numbers of each channel
            yield f"length of {name}", MOST + 1
            return
        for inner in value:
            yield from numbers_in(inner, name)


def are_numbers(value: Any, count: int, most: float) -> bool:
    """Whether a JSON value is a list of so many numbers, of magnitudes up to `most`."""
    numbers = value if isinstance(value, list) else []
    return len(numbers) == count and all(type(n) in (int, float) and abs(n) <= most for n in numbers)


def is_box(value: Any, most: float) -> bool:
    """Whether a JSON value is the lower and the upper corner of a box, of numbers up to `most`."""
    is_pair = isinstance(value, list) and len(value) == 2 and all(are_numbers(corner, 3, most) for corner in value)
    return is_pair and all(a < b for a, b in zip(*value, strict=True))


def check_finite(tensors: Mapping[str, Tensor], where: object, do: str) -> None:
    """Refuses tensors that are of no float type, or not finite; the message names the first."""
    for name, value in tensors.items():
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise ValueError(problem(f"{where}, {name}", "finite numbers", "others", do))


def check_priors(stated: Dict[str, Any], channels: int, where: object) -> None:
    """Refuses a `mean` or `std` of raw latents that is none: one number, or one for each channel."""
    for name in ("mean", "std"):
        value = stated.get(name, 1.0)
        values = value if isinstance(value, list) else [value]
        good = all(type(v) in (int, float) and abs(v) < 1e30 and (name == "mean" or v > 1e-30) for v in values)
        if not good or (isinstance(value, list) and len(value) not in (1, channels)):
            sign = " positive" if name == "std" else ""
            expected = f"one{sign} finite number or {channels}, one for each channel"
            raise ValueError(problem(f"{where}, {name}", expected, f"{value!r:.60}", "remove or repair it"))
