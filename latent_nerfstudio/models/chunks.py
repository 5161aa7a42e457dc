"""Rays rendered chunk by chunk, in smaller chunks where memory lacks."""

from typing import Callable, Dict, List

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from latent_nerfstudio.errors import problem

SMALLEST = 64
"""Rays of a chunk that is not halved any more."""


def in_chunks(render: Callable[[RayBundle], Dict[str, Tensor]], rays: RayBundle, size: int) -> List[Dict[str, Tensor]]:
    """Outputs of rays by chunks of `size`; where the GPU's memory lacks, of half as many, down to `SMALLEST` rays."""
    chunks, start = [], 0
    while start < len(rays):
        reason = ""
        try:
            chunks.append(render(rays[start : start + size]))
        except torch.cuda.OutOfMemoryError as error:
            reason = str(error).splitlines()[0]
        if not reason:
            start += size
            continue
        # Here the error is gone, and with it the memory that its frames held.
        if size <= SMALLEST:
            do = "render fewer pixels (a lower resolution), or on a GPU with more memory"
            raise MemoryError(problem(f"rendering {size} rays", "room on the GPU", reason, do))
        size = max(SMALLEST, size // 2)
        torch.cuda.empty_cache()
        CONSOLE.print(f"rendering: not enough memory, {size} rays at once from now on", soft_wrap=True)
    return chunks
