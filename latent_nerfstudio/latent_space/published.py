"""Autoencoders of the published IG-AE code, turned into folders in diffusers format. A published checkpoint is a torch
file `{"vae": ..., "nerfs": ..., "renderer": ...}` whose `vae` is the state dict of diffusers' AutoencoderKL and nothing
more: what it was built with is inferred from the tensors' names and shapes."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from torch import Tensor, nn

from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.files.torch_files import damage, load_torch
from latent_nerfstudio.latent_space.checks import check_config
from latent_nerfstudio.latent_space.weights import build, check_fit, current_name

FIRST_LAYER = "encoder.conv_in.weight"
"""Name that tells where in a state dict an autoencoder is."""

State = Dict[str, Tensor]


def read_checkpoint(path: Path) -> Any:
    """What a torch file holds, on the host: tensors and containers of them. Refuses files that would have to run code,
    and those that unfold beyond their own size."""
    reason = damage(path, records=False)
    if reason:
        do = "download it again, or name another file"
        raise ValueError(problem(path, "a checkpoint of torch.save", reason, do))
    return load_torch(path, "tensors alone", "save the state dict of the autoencoder alone, where you trust the file")


def autoencoder_state(content: Any, where: object) -> State:
    """The state dict of the one AutoencoderKL in a checkpoint, by today's names. The content is a state dict, or a
    dictionary with one as `vae`; all names may have a prefix (`module.`, `vae.`)."""
    nested = content.get("vae") if isinstance(content, Mapping) else None
    state = nested if isinstance(nested, Mapping) else content
    is_state = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    names = [name for name, value in state.items() if isinstance(value, Tensor)] if is_state else []
    prefixes = [name[: -len(FIRST_LAYER)] for name in names if name.endswith(FIRST_LAYER)]
    if len(prefixes) != 1:
        there = few_of(list(content)) if names else "nothing with names"
        got = f"{len(prefixes)} of them" if prefixes else f"none, but {there}"
        expected = f"the state dict of one AutoencoderKL, with {FIRST_LAYER}, alone or as 'vae'"
        raise ValueError(problem(where, expected, got, "name a checkpoint of the published code"))
    start = len(prefixes[0])
    return {current_name(name[start:]): state[name] for name in names if name.startswith(prefixes[0])}


def check_held(state: State, path: Path) -> None:
    """Refuses tensors with more numbers than their file has bytes, as views of a few numbers have."""
    numbers, size = sum(value.numel() for value in state.values()), path.stat().st_size
    if numbers > size:
        got = f"{numbers:,} numbers in {size:,} bytes"
        raise ValueError(problem(path, "tensors that the file holds", got, "name another file"))


def infer_config(
    state: Mapping[str, Tensor], norm_num_groups: int = 32, scaling_factor: Optional[float] = None
) -> Dict[str, Any]:
    """The arguments of AutoencoderKL that give a state dict of these names, today's, and shapes; no values are looked
    at. Groups of normalisations leave no trace in shapes; the scaling factor is 1 / std of raw latents, by default the
    published one for the number of channels."""
    levels = max(1, count_blocks(state, "encoder.down_blocks"))
    widths = [shape(state, f"encoder.down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(levels)]
    channels = shape(state, "decoder.conv_in.weight")[1]
    published = 0.2614 if channels == 16 else 0.18215  # ostris/vae-kl-f8-d16's, and Stable Diffusion's, the usual one
    return {
        "in_channels": shape(state, FIRST_LAYER)[1],
        "out_channels": shape(state, "decoder.conv_out.weight")[0],
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": count_blocks(state, "encoder.down_blocks.0.resnets"),
        "latent_channels": channels,
        "norm_num_groups": norm_num_groups,
        "scaling_factor": scaling_factor or published,
        "use_quant_conv": "quant_conv.weight" in state,
        "use_post_quant_conv": "post_quant_conv.weight" in state,
        "mid_block_add_attention": count_blocks(state, "encoder.mid_block.attentions") > 0,
    }


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    start = f"{prefix}."
    return len({name[len(start) :].split(".")[0] for name in state if name.startswith(start)})


def shape(state: Mapping[str, Tensor], name: str) -> List[int]:
    """The shape of a convolution's weight, which must be there."""
    sizes = list(state[name].shape) if name in state else None
    if sizes is None or len(sizes) != 4:
        expected = f"the weight {name} of a convolution, as every AutoencoderKL has"
        got, do = sizes and f"a shape of {sizes}", "name a checkpoint that holds a whole AutoencoderKL of diffusers"
        raise ValueError(problem("autoencoder", expected, got or "none", do))
    return sizes


def read_config(folder: Path) -> Dict[str, Any]:
    """The config.json of an AutoencoderKL, as `infer_config` gives it."""
    path, do = folder / "config.json", "name another folder, or leave out --config"
    settings = read_json(path, do)
    kind = settings.get("_class_name")
    if kind != "AutoencoderKL":
        raise ValueError(problem(path, "a config of an AutoencoderKL", f"one of {kind}", do))
    return settings


def build_autoencoder(config: Mapping[str, Any], state: State) -> nn.Module:
    """An AutoencoderKL with the given weights, in float32, nothing left out and nothing left over."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    make: Any = AutoencoderKL.from_config
    check_config({"_class_name": "AutoencoderKL", **config}, "autoencoder")
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    check_fit(build(make, config, "autoencoder"), shapes, "autoencoder", all_known=True)
    vae = make(dict(config))
    vae.load_state_dict(state)
    return vae.eval()
