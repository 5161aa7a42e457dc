"""Numbers that are no numbers, found before they are stepped with or saved."""

from typing import Mapping, Optional

import torch
from torch import Tensor

from latent_nerfstudio.errors import problem


def check_finite(values: Mapping[str, Tensor], step: int, kind: str) -> None:
    """Refuses tensors that hold NaN or infinity, by name, step and kind; those of integers are left alone."""
    name = not_finite(values)
    if name is not None:
        value = values[name].detach()
        number = value[~value.isfinite()].flatten()[0].item()
        do = "lower the learning rates or this term's weight and resume from the last checkpoint, which is kept"
        raise FloatingPointError(problem(f"{kind} {name} at step {step}", "finite numbers", number, do))


def not_finite(values: Mapping[str, Tensor]) -> Optional[str]:
    """Name of the first tensor with NaN or infinity; None if there is none. The sums of all tensors are tested together
    first, so that a device is waited for once if all is well."""
    tensors = {name: value.detach() for name, value in values.items() if value.is_floating_point()}
    if not tensors or bool(torch.stack([value.sum() for value in tensors.values()]).isfinite().all()):
        return None
    return next((name for name, value in tensors.items() if not bool(value.isfinite().all())), None)
