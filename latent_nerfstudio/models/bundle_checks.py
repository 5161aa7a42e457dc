"""What is checked of a shared bundle from a stranger: its settings before anything of their size is built, its tensors
before they are copied into a model. A hash only tells that files were not damaged: a stranger's is right as well."""

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.checks import are_numbers, check_finite, check_priors, is_box
from latent_nerfstudio.latent_space.latent_space import BACKGROUND_SIDE

MOST_FEATURES = 1 << 12
"""Features of a plane, base planes, channels and widths at most."""

MOST_NUMBERS = 1 << 28
"""Numbers of a scene's planes at most, a gigabyte; base planes may be as many more."""

LARGEST = 1e12
"""Magnitude of a number at most."""

AGAIN = "copy the bundle again, or have its run write it again"

Check = Tuple[Callable[[Any], bool], str]
"""What a setting must be, in code and in words."""


def is_color(value: Any) -> bool:
    return are_numbers(value, 3, 1.0) and min(value) >= 0


def is_facts(value: Any) -> bool:
    """Whether a value is an object, whose `seconds`, where there are some, are a number."""
    return isinstance(value, dict) and are_numbers([value.get("seconds", 0.0)], 1, LARGEST)


def whole(low: int, high: int, step: int = 1) -> Check:
    words = f"a {'whole number' if step == 1 else f'multiple of {step}'} {f'from {low} to' if low else 'up to'} {high}"
    return lambda value: type(value) is int and low <= value <= high and value % step == 0, words


def one_of(*known: str) -> Check:
    return lambda value: isinstance(value, str) and value in known, f"{', '.join(known[:-1])} or {known[-1]}"


FLAG: Check = (lambda value: isinstance(value, bool), "true or false")
OBJECT: Check = (lambda value: isinstance(value, dict), "an object")
COUNT: Check = (lambda value: type(value) is int and 0 <= value <= 1 << 40, "a count")

SETTINGS = {
    "normalizer": one_of("mean-std", "tanh", "none"),
    "background_color": (is_color, "three numbers in [0, 1]"),
    "field": OBJECT,
    "scene_contraction": FLAG,
    "aabb": (lambda value: is_box(value, LARGEST), "two corners, the lower one first"),
    "autoencoder": OBJECT,
    "num_scenes": COUNT,
    "step": COUNT,
    "facts": (is_facts, "an object, its seconds a number"),
}
"""Settings of a bundle.json; all are there."""

AUTOENCODER = {
    "is_identity": FLAG,
    "downscale_factor": whole(1, 1 << 10),
    "channels": whole(1, MOST_FEATURES),
    "encoder_hash": (lambda value: isinstance(value, str), "a text"),
}
"""Of its autoencoder."""

SCENE_ENCODER = {
    "grid": whole(4, 64, step=2),
    **dict.fromkeys(("photo_width", "point_width"), whole(4, 512, step=4)),
    **dict.fromkeys(("fine_width", "width", "inner_width"), whole(8, 512, step=8)),
    "inner_blocks": whole(1, 32),
}
"""Of its scene encoder, where it has one."""

LATER_SCENE_ENCODER = {
    "knows_box": FLAG,
    "looks": whole(0, 16),
    **dict.fromkeys(("look_width", "look_inner_width"), whole(8, 512, step=8)),
    "look_blocks": whole(1, 32),
}
"""Which older ones lack."""

FIELD = {
    **dict.fromkeys(("micro_features", "macro_features", "num_base_planes"), whole(0, MOST_FEATURES)),
    "resolution": whole(1, 1 << 13),
    "implementation": one_of("torch", "tcnn"),
}
"""Of its tri-plane field."""

LATER_FIELD = {
    "aggregation": one_of("sum", "product", "concat"),
    "eg3d_axes": FLAG,
    "hidden_width": whole(1, MOST_FEATURES),
    "hidden_layers": whole(0, 64),
    "density_scale": (lambda value: are_numbers([value], 1, LARGEST), "a number"),
}
"""Which older ones may lack; unknown ones are refused by the model."""


def check_settings(settings: Mapping[str, Any], where: object) -> None:
    """Refuses a setting of a bundle.json that is absent, unknown, of another type or out of its range."""
    unknown = sorted(set(settings) - set(SETTINGS) - {"format", "hash", "scene_encoder"})
    if unknown:
        raise ValueError(problem(where, "the settings of a bundle", f"{unknown[0]!r:.40} as well", AGAIN))
    check_each(settings, SETTINGS, where)
    check_each(settings["autoencoder"], AUTOENCODER, f"{where}, autoencoder")
    field = settings["field"]
    check_each(field, FIELD, f"{where}, field", LATER_FIELD)
    features, side = field["micro_features"] + field["macro_features"], field["resolution"]
    if not 0 < 3 * features * side**2 <= MOST_NUMBERS:
        got = f"{features} features of {side} x {side}"
        raise ValueError(problem(f"{where}, field", f"planes of 1 to {MOST_NUMBERS} numbers", got, AGAIN))
    if settings.get("scene_encoder") is not None:
        check_encoder(settings["scene_encoder"], features, side, f"{where}, scene_encoder")


def check_encoder(settings: Any, features: int, resolution: int, where: object) -> None:
    """Refuses settings that are no scene encoder's, or that ask for more memory than `MOST_NUMBERS` numbers."""
    every = {**SCENE_ENCODER, **LATER_SCENE_ENCODER}
    if not isinstance(settings, dict) or set(settings) - set(every):
        raise ValueError(problem(where, f"an object with {', '.join(every)}", f"{settings!r:.60}", AGAIN))
    check_each(settings, SCENE_ENCODER, where, LATER_SCENE_ENCODER)
    sizes = ("grid", "photo_width", "point_width", "fine_width", "width", "inner_width")
    grid, wide, narrow, fine, width, inner = (settings[name] for name in sizes)
    weights = 36 * wide**2 + 3 * narrow * grid * width + 40 * (width**2 + fine**2) + 4 * width * (2 * inner + fine)
    weights += 20 * settings["inner_blocks"] * inner**2
    look, below, blocks = (settings.get(name, 8) for name in ("look_width", "look_inner_width", "look_blocks"))
    weights += 40 * look**2 + 9 * look * (fine + 2 * features) + 8 * look * below + 20 * blocks * below**2
    # 8 photos at a time; planes and their branch
    work = max(8 * 2 * wide * grid**3, 3 * 2 * max(fine, look) * resolution**2)
    if max(8 * weights, work) > MOST_NUMBERS:
        got = f"{weights:,} of weights and {work:,} at once"
        raise ValueError(problem(where, f"a network of up to {MOST_NUMBERS // 8:,} and {MOST_NUMBERS:,}", got, AGAIN))


def check_each(
    values: Mapping[str, Any], checks: Mapping[str, Check], where: object, later: Optional[Mapping[str, Check]] = None
) -> None:
    """Refuses the first value that is not as it should be, or lacking; those of `later` may lack."""
    for name, (is_good, words) in {**checks, **(later or {})}.items():
        if not is_good(values[name]) if name in values else name in checks:
            got = f"{values[name]!r:.60}" if name in values else "none"
            raise ValueError(problem(f"{where}, {name}", words, got, AGAIN))


def check_tensors(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], where: object) -> None:
    """Refuses tensors of shared.safetensors that do not fit settings, which were checked, or are not finite."""
    check_finite(tensors, where, AGAIN)
    for name, shape in tensor_shapes(settings).items():
        found = list(tensors[name].shape) if name in tensors else None
        if found != shape:
            expected, got = ("none" if of is None else str(of) for of in (shape, found))
            raise ValueError(problem(f"{where}, {name}", expected, got, AGAIN))
    priors = {name: tensors[f"normalizer.{name}"].tolist() for name in ("mean", "std")}
    check_priors(priors, settings["autoencoder"]["channels"], f"{where}, normalizer")


def tensor_shapes(settings: Mapping[str, Any]) -> Dict[str, Optional[list[int]]]:
    """Shapes of a bundle's tensors but for the MLP's and the decoder's, which are checked where they are loaded; None
    for those that it must not have."""
    field, channels = settings["field"], settings["autoencoder"]["channels"]
    count, side = field["num_base_planes"], field["resolution"]
    is_shared = count > 0 and field["macro_features"] > 0
    return {
        "field.base_planes": [count, 3, field["macro_features"], side, side] if is_shared else None,
        "mean_scene_weights": [count] if is_shared else None,
        "normalizer.mean": [channels],
        "normalizer.std": [channels],
        "background": [BACKGROUND_SIDE, BACKGROUND_SIDE, channels],
        "preview_weight": [channels, 3],
        "preview_bias": [3],
    }
