"""Which numbers of a run's config make sense: what is beyond would fail late, or train something else in silence."""

import dataclasses
import math
from typing import Any, Dict, Iterator, Tuple, Union

from latent_nerfstudio.errors import problem

LEAST: Dict[str, Union[int, float]] = {
    **dict.fromkeys(("max_num_iterations", "crop", "max_render_height"), 1),
    **dict.fromkeys(("eval_num_rays_per_chunk", "real_images_per_batch"), 1),
    "camera_res_scale_factor": 1e-3,
    **dict.fromkeys(("joint_training_start", "whole_pictures_start", "fit_scene_weights"), 0),
    **{f"steps_per_{what}": 0 for what in ("save", "eval_batch", "eval_image", "eval_all_images", "pictures")},
}
"""Least values of settings, by name, wherever they are in a config; None is left out."""

ENDINGS = ("_weight", "_mult", "lr", "floor", "alignment_factor", "max_norm")
"""How weights and rates are called, which are finite and not below 0."""


def check_ranges(config: Any) -> None:
    """Refuses numbers of a config, and of those within it, that are out of their range."""
    for path, value in numbers_of(config):
        least = least_of(path.rpartition(".")[2])
        if least is not None and not least <= value < math.inf:
            do = f"correct or leave out --{path.replace('_', '-')}"
            raise ValueError(problem(path, f"a finite number of at least {least}", value, do))


def least_of(name: str) -> Union[int, float, None]:
    """The least value that a setting may have; None where any is right."""
    return LEAST.get(name, 0 if name.endswith(ENDINGS) else None)


def numbers_of(config: Any, path: str = "") -> Iterator[Tuple[str, Union[int, float]]]:
    """The numbers in a config of dataclasses and dictionaries, with the names that lead to each."""
    is_config = dataclasses.is_dataclass(config)
    names = [one.name for one in dataclasses.fields(config)] if is_config else list(config)
    for name in names:
        value = getattr(config, name) if is_config else config[name]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield path + name, value
        elif isinstance(value, dict) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
            yield from numbers_of(value, f"{path}{name}.")
