"""What a NeRF must offer to be wrapped by a LatentModel, checked where it is built and at what it renders."""

from typing import Any, Dict, List

from nerfstudio.models.base_model import Model, ModelConfig

METHODS = ("get_outputs", "get_loss_dict", "get_regularization_dict", "get_param_groups")
"""What the NeRF's class must define."""

ADVICE = "put ChannelNeRF before the model's class, see docs/your_nerf.md"


def check_nerf(config: ModelConfig) -> None:
    """Refuses a NeRF of which methods are missing, before it is built.

    Raises:
        TypeError: its class lacks a method.
    """
    missing = missing_methods(config._target)
    if missing:
        name = getattr(config._target, "__name__", str(config._target))
        raise TypeError(
            f"{name}: expected a NeRF of any number of channels, with {', '.join(METHODS)}, got none of its own for "
            f"{', '.join(missing)}; {ADVICE}"
        )


def missing_methods(target: Any) -> List[str]:
    """Those of `METHODS` that a class does not define, or only inherits as Nerfstudio's empty ones."""
    return [name for name in METHODS if getattr(target, name, None) in (None, getattr(Model, name, None))]


def check_outputs(name: str, outputs: Dict[str, Any], num_channels: int) -> None:
    """Refuses outputs that no latent picture can be made of.

    Raises:
        TypeError: an output is missing or has other channels.
    """
    for key, channels in (("rgb", num_channels), ("accumulation", 1), ("depth", 1)):
        got = outputs[key].shape[-1] if key in outputs else None
        if got != channels:
            found = got or "none"
            raise TypeError(f"{name}: expected `{key}` with {channels} channels for each ray, got {found}; {ADVICE}")
