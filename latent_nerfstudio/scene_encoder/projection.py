"""Points of space in posed photos: where they are seen, and what is seen there. Pure functions.

Axes: `scenes`, `photos` of a scene, `points`, `channels`, `rows cols` of a latent picture.
"""

from typing import NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latent_nerfstudio.latent_space.cameras import pinhole_directions


class Photos(NamedTuple):
    """Posed photos of one size, as many of each scene; in what order does not matter."""

    latents: Float[Tensor, "scenes photos channels rows cols"]
    poses: Float[Tensor, "scenes photos 3 4"]
    """Camera to world: x to the right, y up, looking along -z."""
    intrinsics: Float[Tensor, "scenes photos 4"]
    """fx, fy, cx, cy in latent pixels."""
    masks: Optional[Bool[Tensor, "scenes photos rows cols"]] = None
    """True where a latent pixel may be used; None for everywhere."""


def spread_views(positions: Float[Tensor, "views 3"], count: int = 16) -> Int[Tensor, "chosen"]:
    """Which views to take of many, of which more than 16 do not help, in rising order: always the one farthest from
    those taken, at first from the middle. So they are the same in whatever order views come."""
    distance, chosen = (positions - positions.mean(dim=0)).norm(dim=1), []
    for _ in range(min(count, len(positions))):
        latest = int(distance.argmax())
        from_latest = (positions - positions[latest]).norm(dim=1)
        distance = torch.minimum(distance, from_latest) if chosen else from_latest
        chosen.append(latest)
        distance[chosen] = -1
    return torch.tensor(sorted(chosen), dtype=torch.long, device=positions.device)


def grid_points(side: int) -> Float[Tensor, "points 3"]:
    """side^3 points that fill [-1, 1]^3, border to border; the last coordinate varies fastest."""
    line = torch.linspace(-1, 1, side)
    return torch.cartesian_prod(line, line, line)


def project(
    points: Float[Tensor, "scenes points 3"],
    poses: Float[Tensor, "scenes photos 3 4"],
    intrinsics: Float[Tensor, "scenes photos 4"],
) -> Tuple[Float[Tensor, "scenes photos points 2"], Float[Tensor, "scenes photos points"]]:
    """Column and row of points in pictures, and their depth along the optical axis; column 0.5 is the first pixel's
    centre. Those behind a camera have a negative depth, and a place that means nothing.

    x_c = R^T (x - t), depth d = -z_c, column = f_x x_c / d + c_x, row = -f_y y_c / d + c_y.
    """
    local = torch.einsum("skpi,skij->skpj", points[:, None] - poses[:, :, None, :, 3], poses[..., :3])
    depth = -local[..., 2]
    scale = depth.where(depth.abs() > 1e-6, torch.full_like(depth, 1e-6))[..., None]
    focal, center = intrinsics[:, :, None, :2], intrinsics[:, :, None, 2:]
    return focal * local[..., :2] * local.new_tensor([1.0, -1.0]) / scale + center, depth


def visible(
    places: Float[Tensor, "scenes photos points 2"], depth: Float[Tensor, "scenes photos points"], rows: int, cols: int
) -> Bool[Tensor, "scenes photos points"]:
    inside = (places >= 0) & (places <= places.new_tensor([cols, rows]))
    return inside.all(dim=-1) & (depth > 0)


def sample_pictures(
    pictures: Float[Tensor, "scenes photos channels rows cols"], places: Float[Tensor, "scenes photos points 2"]
) -> Float[Tensor, "scenes photos points channels"]:
    """Bilinear values at columns and rows as `project` gives them; beyond the centres of border pixels, theirs."""
    rows, cols = pictures.shape[-2:]
    grid = (places * places.new_tensor([2 / cols, 2 / rows]) - 1).clamp(-2, 2).flatten(0, 1).unsqueeze(2)
    sampled = F.grid_sample(pictures.flatten(0, 1), grid.to(pictures), padding_mode="border", align_corners=False)
    return sampled[..., 0].mT.unflatten(0, places.shape[:2])


def pixel_directions(
    poses: Float[Tensor, "scenes photos 3 4"], intrinsics: Float[Tensor, "scenes photos 4"], rows: int, cols: int
) -> Float[Tensor, "scenes photos 3 rows cols"]:
    """Where the centres of pixels look, unit vectors in world axes."""
    local = F.normalize(pinhole_directions(intrinsics, rows, cols), dim=-1)
    return torch.einsum("skij,skrcj->skirc", poses[..., :3], local)
