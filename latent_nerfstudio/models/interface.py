"""What a NeRF must offer to be wrapped by a LatentModel, checked where it is built and at what it renders."""

from typing import Any, Dict

from nerfstudio.models.base_model import Model, ModelConfig

from latent_nerfstudio.errors import problem

METHODS = ("get_outputs", "get_loss_dict", "get_regularization_dict", "get_param_groups")
"""What the NeRF's class must define, and not only inherit as Nerfstudio's empty ones."""

ADVICE = "put ChannelNeRF before the model's class, see docs/your_nerf.md"


def check_nerf(config: ModelConfig) -> None:
    """Refuses a NeRF of which methods are missing, before it is built."""
    missing = [name for name in METHODS if getattr(config._target, name, None) in (None, getattr(Model, name, None))]
    if missing:
        name = getattr(config._target, "__name__", str(config._target))
        expected = f"a NeRF of any number of channels, with {', '.join(METHODS)}"
        raise TypeError(problem(name, expected, f"none of its own for {', '.join(missing)}", ADVICE))


def check_outputs(name: str, outputs: Dict[str, Any], num_channels: int) -> None:
    """Refuses outputs that no latent picture can be made of."""
    for key, channels in (("latent", num_channels), ("accumulation", 1), ("depth", 1)):
        got = outputs[key].shape[-1] if key in outputs else None
        if got != channels:
            raise TypeError(problem(name, f"`{key}` with {channels} channels for each ray", got or "none", ADVICE))
