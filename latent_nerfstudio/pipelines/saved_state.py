"""What a checkpoint holds beside weights: seconds of training, scenes that failed, and a seal by which damage is known:
the CRC-32 of all tensors. ns-eval, ns-viewer and ns-render load a checkpoint by torch, which looks at the archive's
directory and not at the CRC-32 of its records; the pipeline's hook is all that a plugin has there."""

import zlib
from typing import Any, Dict, Mapping, Optional

import torch
from torch import Tensor

from latent_nerfstudio.errors import problem

SEAL = "seal"
"""Name of the seal among the weights."""

SECONDS = "training_seconds"
"""Name of the seconds of training among the weights; older checkpoints do not have it."""

FAILED = "failed_at"
"""Name of the steps at which scenes failed, -1 for the others; only in checkpoints of runs in which one has."""

OLD_PREFIX = "scene_progress."
"""Of what version 0.1 kept of each scene."""


def crc_of(state: Mapping[str, Any]) -> int:
    """CRC-32 of tensors, their names and types, in the order of their names; what is no tensor is left out."""
    value = 0
    for name in sorted(state):
        if torch.is_tensor(state[name]):
            flat = state[name].detach().cpu().contiguous().flatten()
            value = zlib.crc32(f"{name} {flat.dtype}".encode(), value)
            value = zlib.crc32(flat.view(torch.uint8).numpy(), value)
    return value


def seal(state: Dict[str, Any]) -> None:
    state[SEAL] = torch.tensor(crc_of(state))


def unsealed(state: Mapping[str, Any], where: object) -> Dict[str, Any]:
    """The weights of a checkpoint without their seal; as they are where they have none, as those of older versions."""
    rest = {name: value for name, value in state.items() if name != SEAL}
    if SEAL in state and int(state[SEAL]) != crc_of(rest):
        do = "remove this checkpoint, so that the one before it is taken, or go on from an older one"
        raise ValueError(problem(where, "the weights that were saved", "others, of a damaged file", do))
    return rest


def take_failed(state: Dict[str, Any]) -> Optional[Tensor]:
    """Takes out of a checkpoint's weights the step at which each scene failed, -1 for the others; None if none did."""
    old = {name[len(OLD_PREFIX) :]: state.pop(name) for name in list(state) if name.startswith(OLD_PREFIX)}
    if old:  # in which 3 stood for failed
        return torch.where(old["state"] == 3, old["ended_at"], -1)
    return state.pop(FAILED, None)
