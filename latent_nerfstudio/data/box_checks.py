"""Whether boxes hold what photos show: one that is wrong is believed, and costs the run without a word."""

from typing import Dict, Iterable, Mapping, Tuple

import torch
from jaxtyping import Bool
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup

WRITE_BOX = 'write the box of what they look at into the camera file, as "aabb": [[x, y, z], [x, y, z]]'

LOOKED_AT = 8
"""Pictures of a scene that are looked at for what its box leaves out, about as many and evenly chosen."""

LEFT_OUT = 0.1
"""Share of the object beyond a scene's box from which on there is a warning."""

FILLED = 0.95
"""Share of pictures that an object takes at most; of what fills more there is no telling what is background."""


def share_left_out(pictures: Iterable[Tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]]]) -> float:
    """Share of a scene's object that its box leaves out, from pairs of flags of its pictures' latent pixels: which show
    the object, and which meet the box. Zero if there is no plain background to tell an object from."""
    shown, missed = zip(*((shown.flatten(), (shown & ~meets).flatten()) for shown, meets in pictures), strict=True)
    every = torch.cat(shown)
    is_plain = bool(every.any()) and float(every.float().mean()) <= FILLED
    return int(torch.cat(missed).sum()) / int(every.sum()) if is_plain else 0.0


def warn_of_boxes(left_out: Mapping[str, float]) -> Dict[str, str]:
    """Warns once of boxes that leave out much of what their photos show; returns the scenes and what is wrong."""
    wrong = {
        name: f"its box leaves out {share:.0%} of what its photos show, which is not learned"
        for name, share in left_out.items()
        if share > LEFT_OUT
    }
    if wrong:
        worst = max(wrong, key=lambda name: left_out[name])
        where = f"boxes of {len(wrong)} of {len(left_out)} scenes"
        text = problem(where, "all that their photos show", f"less: of '{worst}', {wrong[worst]}", WRITE_BOX)
        CONSOLE.print(f"[yellow]{for_markup(text)}", soft_wrap=True)
    return wrong
