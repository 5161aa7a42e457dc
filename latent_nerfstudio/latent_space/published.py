"""Autoencoders of the published IG-AE code, turned into folders in diffusers format.

A published checkpoint is a torch file `{"vae": ..., "nerfs": ..., "renderer": ...}` whose `vae` is the state dict of
diffusers' AutoencoderKL and nothing more: what it was built with is inferred from the tensors' names and shapes.
"""

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import torch
from torch import Tensor, nn

from latent_nerfstudio.files.replacing import replacing_folder

FIRST_LAYER = "encoder.conv_in.weight"
"""Name that tells where in a state dict an autoencoder is."""

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Layers of the attention as diffusers before 0.18 named them, and as it names them now."""

SCALING_FACTORS = {4: 0.18215, 16: 0.2614}
"""Published scaling factors by the number of channels: Stable Diffusion's, and that of ostris/vae-kl-f8-d16."""

DEFAULT_SCALING_FACTOR = 0.18215
"""Of other numbers of channels, as in diffusers; the normaliser is fitted to the data anyway."""

NAMES_SHOWN = 5
"""Names that an error lists at most."""

State = Dict[str, Tensor]
"""A state dict."""


def read_checkpoint(path: Path) -> Any:
    """What a torch file holds, on the host; tensors and containers of them only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no torch file, or one that would have to run code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a checkpoint, got nothing there; check the path")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler's, zipfile's and the system's errors differ
        reason = next(
            (line for line in str(error).splitlines() if re.search("unsupported (global|class)", line, re.I)), None
        )
        if reason is not None:
            raise ValueError(
                f"{path}: expected tensors alone, got objects that need pickle, which may run any code "
                f"({reason.strip()}); save the state dict of the autoencoder alone, where you trust the file"
            ) from error
        raise ValueError(
            f"{path}: expected a checkpoint of torch.save, got a file that torch cannot read "
            f"({type(error).__name__}); download it again, or name another file"
        ) from error


def autoencoder_state(content: Any, where: object) -> State:
    """The state dict of the AutoencoderKL in a checkpoint, by today's names.

    Args:
        content: a state dict, or a dictionary with one as `vae`; all names may have a prefix (`module.`, `vae.`).
        where: the file, for the message.

    Raises:
        ValueError: there is no autoencoder in it, or several.
    """
    nested = content.get("vae") if isinstance(content, Mapping) else None
    state = nested if isinstance(nested, Mapping) else content
    names = [str(name) for name, value in state.items() if isinstance(value, Tensor)] if state_like(state) else []
    prefixes = [name[: -len(FIRST_LAYER)] for name in names if name.endswith(FIRST_LAYER)]
    if len(prefixes) != 1:
        found = f"{len(prefixes)} of them" if prefixes else f"none, but {shown(list(content) if names else [])}"
        raise ValueError(
            f"{where}: expected the state dict of one AutoencoderKL, with {FIRST_LAYER}, alone or as 'vae', got "
            f"{found}; name a checkpoint of the published code"
        )
    start = len(prefixes[0])
    return {current_name(name[start:]): state[name] for name in names if name.startswith(prefixes[0])}


def state_like(value: Any) -> bool:
    """Whether a value is a dictionary by names."""
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def current_name(name: str) -> str:
    """A parameter's name as diffusers has it since 0.18."""
    return re.sub(
        rf"(\.attentions\.\d+)\.({'|'.join(OLD_ATTENTION)})\.",
        lambda found: f"{found[1]}.{OLD_ATTENTION[found[2]]}.",
        name,
    )


def infer_config(
    state: Mapping[str, Tensor], norm_num_groups: int = 32, scaling_factor: Optional[float] = None
) -> Dict[str, Any]:
    """The arguments of AutoencoderKL that give a state dict of these names and shapes; no values are looked at.

    Args:
        state: by today's names.
        norm_num_groups: groups of the normalisations, which leave no trace in shapes.
        scaling_factor: 1 / std of raw latents; by default the published one for the number of channels.

    Raises:
        ValueError: a layer that every AutoencoderKL has is missing.
    """
    levels = count_blocks(state, "encoder.down_blocks")
    resnets = count_blocks(state, "encoder.down_blocks.0.resnets")
    widths = [shape(state, f"encoder.down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(max(1, levels))]
    channels = shape(state, "decoder.conv_in.weight")[1]
    return {
        "in_channels": shape(state, FIRST_LAYER)[1],
        "out_channels": shape(state, "decoder.conv_out.weight")[0],
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": resnets,
        "latent_channels": channels,
        "norm_num_groups": norm_num_groups,
        "scaling_factor": scaling_factor or SCALING_FACTORS.get(channels, DEFAULT_SCALING_FACTOR),
        "use_quant_conv": "quant_conv.weight" in state,
        "use_post_quant_conv": "post_quant_conv.weight" in state,
        "mid_block_add_attention": count_blocks(state, "encoder.mid_block.attentions") > 0,
    }


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of the numbered blocks below a name."""
    start = f"{prefix}."
    return len({name[len(start) :].split(".")[0] for name in state if name.startswith(start)})


def shape(state: Mapping[str, Tensor], name: str) -> List[int]:
    """The shape of a convolution's weight.

    Raises:
        ValueError: it is not there, or is no convolution's.
    """
    if name not in state or state[name].ndim != 4:
        got = "none" if name not in state else f"a shape of {tuple(state[name].shape)}"
        raise ValueError(
            f"autoencoder: expected the weight {name} of a convolution, as every AutoencoderKL has, got {got}; "
            "name a checkpoint that holds a whole AutoencoderKL of diffusers"
        )
    return list(state[name].shape)


def read_config(folder: Path) -> Dict[str, Any]:
    """The config.json of an AutoencoderKL, as `infer_config` gives it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not one of an AutoencoderKL.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: expected a folder with a config.json, got none in it; check --config")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        kind = settings.get("_class_name")
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected a config of diffusers, got {error}; repair it, or leave out --config"
        ) from error
    if kind != "AutoencoderKL":
        raise ValueError(
            f"{path}: expected a config of an AutoencoderKL, got one of {kind}; "
            "name another folder, or leave out --config"
        )
    return settings


def build_autoencoder(config: Mapping[str, Any], state: State) -> nn.Module:
    """An AutoencoderKL with the given weights, in float32, nothing left out and nothing left over.

    Raises:
        ValueError: the weights do not fit the config.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    try:
        vae: Any = AutoencoderKL.from_config(dict(config))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"autoencoder: expected a config that AutoencoderKL can be built with, got {error}; give the number of "
            "groups of its normalisations with --norm-num-groups, or its config.json with --config"
        ) from error
    expected = {name: tuple(value.shape) for name, value in vae.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unknown": sorted(given.keys() - expected.keys()),
        "of another shape": sorted(n for n in expected.keys() & given.keys() if expected[n] != given[n]),
    }
    found = "; ".join(f"{len(names)} {what} ({shown(names)})" for what, names in problems.items() if names)
    if found:
        raise ValueError(
            f"autoencoder: expected the {len(expected)} tensors of an AutoencoderKL of widths "
            f"{list(vae.config.block_out_channels)}, got {found}; name a whole checkpoint, or "
            "its config.json with --config"
        )
    vae.load_state_dict(state)
    return vae.eval()


def shown(names: List[Any]) -> str:
    """The first names of a list, in words."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(str, names[:NAMES_SHOWN])) + more if names else "nothing with names"


def check_target(folder: Path, overwrite: bool) -> None:
    """Makes sure that a folder may be written.

    Raises:
        FileExistsError: it exists, and may not be replaced or holds something else.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"{folder}: expected nothing there, got something; pass --overwrite or name another folder"
        )
    if not (folder / "config.json").is_file():
        raise FileExistsError(
            f"{folder}: expected an autoencoder to overwrite, got something without config.json; name another folder"
        )


def save_autoencoder(vae: Any, folder: Path, overwrite: bool = False) -> None:
    """Writes an autoencoder in diffusers format: it is whole or absent.

    Raises:
        FileExistsError: see `check_target`.
    """
    check_target(folder, overwrite)
    with replacing_folder(folder) as writing:
        vae.save_pretrained(writing)
