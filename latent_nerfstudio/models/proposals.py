"""What a checkpoint keeps of Nerfstudio's proposal sampler: when its networks were last trained."""

from typing import Any, Dict

import torch
from nerfstudio.model_components.ray_samplers import ProposalNetworkSampler
from torch import nn

CLOCK = "clock"
"""Steps since the networks were trained, and the last step."""


def keep_clocks(model: nn.Module) -> None:
    """Has checkpoints keep the clocks of proposal samplers, without which a resumed run trains them at other steps."""
    for module in model.modules():
        if isinstance(module, ProposalNetworkSampler):
            module.register_state_dict_post_hook(_keep)
            module.register_load_state_dict_pre_hook(_restore)


def _keep(sampler: Any, state: Dict[str, Any], prefix: str, metadata: Any) -> None:
    state[f"{prefix}{CLOCK}"] = torch.tensor([sampler._steps_since_update, sampler._step])


def _restore(sampler: Any, state: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints of older versions have none."""
    clock = state.pop(f"{prefix}{CLOCK}", None)
    if clock is not None:
        sampler._steps_since_update, sampler._step = clock.tolist()
