"""Numbers that are no numbers, found before they are stepped with or saved."""

from typing import Mapping

import torch
from torch import Tensor

from latent_nerfstudio.data.validation import problem


def check_finite(values: Mapping[str, Tensor], step: int, kind: str) -> None:
    """Refuses tensors that hold NaN or infinity.

    Args:
        values: tensors by name; those of integers are left alone.
        step: for the message.
        kind: what they are, for the message.

    Raises:
        FloatingPointError: one of them is not finite.
    """
    tensors = {name: value.detach() for name, value in values.items() if value.is_floating_point()}
    if not tensors or bool(torch.stack([value.sum() for value in tensors.values()]).isfinite().all()):
        return
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            number = value[~value.isfinite()].flatten()[0].item()
            do = "lower the learning rates or this term's weight and resume from the last checkpoint, which is kept"
            raise FloatingPointError(problem(f"{kind} {name} at step {step}", "finite numbers", number, do))
