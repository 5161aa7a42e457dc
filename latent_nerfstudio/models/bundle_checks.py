"""What is checked of a shared bundle from a stranger: its settings before anything of their size is built, its tensors
before they are copied into a model. A hash only tells that files were not damaged: a stranger's is right as well."""

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.checks import are_numbers, check_priors, is_finite
from latent_nerfstudio.latent_space.latent_space import BACKGROUND_SIDE

MOST_FEATURES = 1 << 12
"""Features of a plane, base planes, channels and widths at most."""

MOST_SIDE = 1 << 13
"""Texels along a plane's side at most."""

MOST_NUMBERS = 1 << 28
"""Numbers of a scene's planes at most, a gigabyte; base planes may be as many more."""

LARGEST = 1e12
"""Magnitude of a number at most."""

AGAIN = "copy the bundle again, or have its run write it again"

Check = Callable[[Any], bool]

Checks = Mapping[str, Tuple[Check, str]]
"""What settings must be, by their names: in code and in words."""


def is_whole_in(low: int, high: int, step: int = 1) -> Check:
    """Whether a value is a whole number in a range, and a multiple of `step`."""
    return lambda value: type(value) is int and low <= value <= high and value % step == 0


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return are_numbers([value], 1, LARGEST)


def is_one_of(*known: str) -> Check:
    """Whether a value is one of some words."""
    return lambda value: isinstance(value, str) and value in known


def is_a(kind: type) -> Check:
    return lambda value: isinstance(value, kind)


def is_color(value: Any) -> bool:
    """Whether a value is three numbers in [0, 1]."""
    return are_numbers(value, 3, 1.0) and min(value) >= 0


def is_box(value: Any) -> bool:
    """Whether a value is a lower and an upper corner."""
    is_pair = isinstance(value, list) and len(value) == 2 and all(are_numbers(corner, 3, LARGEST) for corner in value)
    return is_pair and all(a < b for a, b in zip(*value, strict=True))


def is_facts(value: Any) -> bool:
    """Whether a value is an object, whose `seconds`, where there are some, are a number."""
    return isinstance(value, dict) and is_number(value.get("seconds", 0.0))


SETTINGS: Checks = {
    "normalizer": (is_one_of("mean-std", "tanh", "none"), "mean-std, tanh or none"),
    "background_color": (is_color, "three numbers in [0, 1]"),
    "field": (is_a(dict), "an object"),
    "scene_contraction": (is_a(bool), "true or false"),
    "aabb": (is_box, "two corners, the lower one first"),
    "autoencoder": (is_a(dict), "an object"),
    "num_scenes": (is_whole_in(0, 1 << 40), "a count"),
    "step": (is_whole_in(0, 1 << 40), "a count"),
    "facts": (is_facts, "an object, its seconds a number"),
}
"""Settings of a bundle.json: what they must be, in code and in words; all are there."""

AUTOENCODER: Checks = {
    "is_identity": (is_a(bool), "true or false"),
    "downscale_factor": (is_whole_in(1, 1 << 10), "a whole number from 1 to 1024"),
    "channels": (is_whole_in(1, MOST_FEATURES), f"a whole number from 1 to {MOST_FEATURES}"),
    "encoder_hash": (is_a(str), "a text"),
}
"""Likewise, of its autoencoder."""

SCENE_ENCODER: Checks = {
    "grid": (is_whole_in(4, 64, step=2), "an even number from 4 to 64"),
    **dict.fromkeys(("photo_width", "point_width"), (is_whole_in(4, 512, step=4), "a multiple of 4 from 4 to 512")),
    **dict.fromkeys(("fine_width", "width", "inner_width"), (is_whole_in(8, 512, step=8), "a multiple of 8 up to 512")),
    "inner_blocks": (is_whole_in(1, 32), "a whole number from 1 to 32"),
}
"""Likewise, of its scene encoder, where it has one."""

MORE_SCENE_ENCODER: Checks = {
    "knows_box": (is_a(bool), "true or false"),
    "looks": (is_whole_in(0, 16), "a whole number up to 16"),
    **dict.fromkeys(("look_width", "look_inner_width"), (is_whole_in(8, 512, step=8), "a multiple of 8 up to 512")),
    "look_blocks": (is_whole_in(1, 32), "a whole number from 1 to 32"),
}
"""Likewise, which older ones lack."""

COUNT = (is_whole_in(0, MOST_FEATURES), f"a whole number up to {MOST_FEATURES}")

FIELD: Checks = {
    "micro_features": COUNT,
    "macro_features": COUNT,
    "num_base_planes": COUNT,
    "resolution": (is_whole_in(1, MOST_SIDE), f"a whole number from 1 to {MOST_SIDE}"),
    "implementation": (is_one_of("torch", "tcnn"), "torch or tcnn"),
}
"""Likewise, of its tri-plane field."""

MORE_FIELD: Checks = {
    "aggregation": (is_one_of("sum", "product", "concat"), "sum, product or concat"),
    "eg3d_axes": (is_a(bool), "true or false"),
    "hidden_width": (is_whole_in(1, MOST_FEATURES), f"a whole number from 1 to {MOST_FEATURES}"),
    "hidden_layers": (is_whole_in(0, 64), "a whole number up to 64"),
    "density_scale": (is_number, "a number"),
}
"""Further ones, which older bundles may lack; unknown ones are refused by the model."""


def check_settings(settings: Mapping[str, Any], where: object) -> None:
    """Refuses a setting of a bundle.json that is absent, unknown, of another type or out of its range."""
    unknown = sorted(set(settings) - set(SETTINGS) - {"format", "hash", "scene_encoder"})
    if unknown:
        raise ValueError(problem(where, "the settings of a bundle", f"{unknown[0]!r:.40} as well", AGAIN))
    check_each(settings, SETTINGS, where)
    check_each(settings["autoencoder"], AUTOENCODER, f"{where}, autoencoder")
    field = settings["field"]
    check_each(field, FIELD, f"{where}, field", MORE_FIELD)
    features = field["micro_features"] + field["macro_features"]
    numbers = 3 * features * field["resolution"] ** 2
    if not 0 < numbers <= MOST_NUMBERS:
        got = f"{features} features of {field['resolution']} x {field['resolution']}"
        raise ValueError(problem(f"{where}, field", f"planes of 1 to {MOST_NUMBERS} numbers", got, AGAIN))
    if settings.get("scene_encoder") is not None:
        check_encoder(settings["scene_encoder"], features, field["resolution"], f"{where}, scene_encoder")


def check_encoder(settings: Any, features: int, resolution: int, where: object) -> None:
    """Refuses settings that are no scene encoder's, or that ask for more memory than `MOST_NUMBERS` numbers."""
    every = {**SCENE_ENCODER, **MORE_SCENE_ENCODER}
    if not isinstance(settings, dict) or set(settings) - set(every):
        raise ValueError(problem(where, f"an object with {', '.join(every)}", f"{settings!r:.60}", AGAIN))
    check_each(settings, SCENE_ENCODER, where, MORE_SCENE_ENCODER)
    grid, wide, narrow, fine, width, inner = (settings[name] for name in ENCODER_SIZES)
    weights = 36 * wide**2 + 3 * narrow * grid * width + 40 * (width**2 + fine**2) + 4 * width * (2 * inner + fine)
    weights += 20 * settings["inner_blocks"] * inner**2
    look, below, blocks = (settings.get(name, 8) for name in ("look_width", "look_inner_width", "look_blocks"))
    weights += 40 * look**2 + 9 * look * (fine + 2 * features) + 8 * look * below + 20 * blocks * below**2
    # 8 photos at a time; planes and their branch
    work = max(8 * 2 * wide * grid**3, 3 * 2 * max(fine, look) * resolution**2)
    if max(8 * weights, work) > MOST_NUMBERS:
        got = f"{weights:,} of weights and {work:,} at once"
        raise ValueError(problem(where, f"a network of up to {MOST_NUMBERS // 8:,} and {MOST_NUMBERS:,}", got, AGAIN))


ENCODER_SIZES = ("grid", "photo_width", "point_width", "fine_width", "width", "inner_width")


def check_each(values: Mapping[str, Any], checks: Checks, where: object, more: Optional[Checks] = None) -> None:
    """Refuses the first value that is not as it should be, or lacking; those of `more` may lack."""
    for name, (is_good, words) in {**checks, **(more or {})}.items():
        is_there = name in values
        if (is_there and not is_good(values[name])) or (not is_there and name in checks):
            got = f"{values[name]!r:.60}" if is_there else "none"
            raise ValueError(problem(f"{where}, {name}", words, got, AGAIN))


def check_tensors(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], where: object) -> None:
    """Refuses tensors of shared.safetensors that do not fit settings, which were checked, or are not finite."""
    for name, value in tensors.items():
        if not is_finite(value):
            raise ValueError(problem(f"{where}, {name}", "finite numbers", "others", AGAIN))
    for name, shape in tensor_shapes(tensors, settings).items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape:
            got = "none" if found is None else str(list(found))
            raise ValueError(problem(f"{where}, {name}", "nothing" if shape is None else str(list(shape)), got, AGAIN))
    priors = {name: tensors[f"normalizer.{name}"].tolist() for name in ("mean", "std")}
    check_priors(priors, settings["autoencoder"]["channels"], f"{where}, normalizer")


def tensor_shapes(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Dict[str, Optional[Tuple[int, ...]]]:
    """Shapes of a bundle's tensors but for the MLP's and the decoder's, which are checked where they are loaded; None
    for those that it must not have."""
    field, channels = settings["field"], settings["autoencoder"]["channels"]
    count, side = field["num_base_planes"], field["resolution"]
    is_shared = count > 0 and field["macro_features"] > 0
    base = (count, 3, field["macro_features"], side, side) if is_shared else None
    return {
        "field.base_planes": base,
        "mean_scene_weights": (count,) if is_shared else None,
        "normalizer.mean": (channels,),
        "normalizer.std": (channels,),
        "background": (BACKGROUND_SIDE, BACKGROUND_SIDE, channels),
        "preview_weight": (channels, 3),
        "preview_bias": (3,),
    }
