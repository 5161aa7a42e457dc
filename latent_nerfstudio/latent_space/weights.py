"""Weights of autoencoders: read only from safetensors, and compared with the config before memory is taken."""

import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Tuple

import torch
from torch import nn

from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.hub import PICKLED
from latent_nerfstudio.files.reading import check_header
from latent_nerfstudio.latent_space.checks import AGAIN

MOST_NUMBERS = 1 << 31
"""Numbers of an autoencoder at most, eight gigabytes in float32."""

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Layers of the attention as diffusers before 0.18 named them, and as it names them now."""

Shapes = Dict[str, Tuple[int, ...]]
"""Shapes of tensors by name."""


def current_name(name: str) -> str:
    """A parameter's name as diffusers has it since 0.18."""
    pattern = rf"(\.attentions\.\d+)\.({'|'.join(OLD_ATTENTION)})\."
    return re.sub(pattern, lambda found: f"{found[1]}.{OLD_ATTENTION[found[2]]}.", name)


def weight_files(folder: Path, where: object) -> List[Path]:
    """The weight files of an autoencoder in diffusers format, whole or in shards; the variant `fp16` if there is no
    other."""
    names = sorted(path.name for path in folder.iterdir())
    for variant in ("", r"\.fp16"):
        for shard in ("", r"-\d+-of-\d+"):
            pattern = rf"diffusion_pytorch_model{variant}{shard}\.safetensors"
            if found := [folder / name for name in names if re.fullmatch(pattern, name)]:
                return found
    pickled = [name for name in names if name.endswith(PICKLED)]
    if pickled:
        got = f"{pickled[0]}, which may run code when it is read, and so is refused"
        do = "load it where you trust it and save it with save_pretrained(..., safe_serialization=True)"
        raise ValueError(problem(where, "weights as safetensors", got, do))
    raise ValueError(problem(where, "weights (diffusion_pytorch_model.safetensors)", "none", AGAIN))


def stored_shapes(files: List[Path]) -> Shapes:
    """Shapes of the tensors in files of weights, by today's names; no tensor is read."""
    from safetensors import safe_open

    shapes: Shapes = {}
    for path in files:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                shapes[current_name(name)] = tuple(file.get_slice(name).get_shape())
    return shapes


def build(make: Callable[[Any], Any], settings: Mapping[str, Any], where: object) -> nn.Module:
    """The autoencoder of a config on the meta device, which takes no memory; refuses too many numbers."""
    try:
        with torch.device("meta"):
            vae = make(dict(settings))
    except Exception as error:  # whatever diffusers makes of settings of other types
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        do = f"{AGAIN}; --norm-num-groups gives the groups of its normalisations"
        raise ValueError(problem(where, "a config.json that an autoencoder can be built by", got, do)) from error
    numbers = sum(value.numel() for value in vae.state_dict().values())
    if numbers > MOST_NUMBERS:
        raise ValueError(problem(where, f"{MOST_NUMBERS:,} numbers at most", f"{numbers:,}", "take a smaller one"))
    return vae


def check_fit(vae: nn.Module, given: Shapes, where: object, all_known: bool = False) -> None:
    """Refuses weights, given by their shapes, if some are missing, of another shape or, with `all_known`, unknown to
    the autoencoder."""
    expected: Shapes = {name: tuple(value.shape) for name, value in vae.state_dict().items()}
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unknown": sorted(given.keys() - expected.keys()) if all_known else [],
        "of another shape": sorted(n for n in expected.keys() & given.keys() if expected[n] != given[n]),
    }
    found = "; ".join(f"{len(names)} {what} ({few_of(names)})" for what, names in problems.items() if names)
    if found:
        do = f"{AGAIN}, or name the config.json that it came with"
        raise ValueError(problem(where, f"weights that fit its config.json, {len(expected)} tensors", found, do))


def load_vae(make: Callable[[Any], Any], settings: Mapping[str, Any], folder: Path, where: object) -> nn.Module:
    """An autoencoder of diffusers with the weights of a folder, in float32; `make` makes one of its config."""
    from safetensors.torch import load_file

    files = weight_files(folder, where)
    try:
        shapes = stored_shapes(files)
    except Exception as error:  # safetensors' own, and ours of what is no plain file
        raise ValueError(problem(where, "weights that fit its config.json", str(error), AGAIN)) from error
    check_fit(build(make, settings, where), shapes, where)
    vae = make(dict(settings))
    for path in files:
        vae.load_state_dict({current_name(name): value for name, value in load_file(path).items()}, strict=False)
    return vae.eval()


def kind_of(name: str, classes: Mapping[str, str], where: object) -> Any:
    """A class of diffusers by its name, out of some classes and where they are."""
    import importlib

    if name not in classes:
        expected, do = f"_class_name {' or '.join(classes)} in config.json", "convert it to one of these"
        raise ValueError(problem(where, expected, name, f"{do}, or name another folder"))
    try:
        return getattr(importlib.import_module(classes[name]), name)
    except (ImportError, AttributeError) as error:
        got = "a release without it"
        raise ValueError(problem(where, f"diffusers with {name}", got, "pip install -U diffusers")) from error
