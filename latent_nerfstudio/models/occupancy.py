"""An occupancy grid that also works without CUDA, and compositing of the samples that it leaves.

nerfacc's grid is updated in plain torch, but marched through, and its samples weighted, in CUDA alone. The plain-torch
twins here march in the same steps: a ray's samples lie at fixed distances from its near plane, and those whose middle
is in an occupied cell are kept. Axes: `samples` of all rays in one row, one ray after the other; `rays`, and `steps`
for all steps of a ray, occupied or not."""

import math
from functools import partial
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import torch
from jaxtyping import Bool, Float, Int
from nerfacc import OccGridEstimator, accumulate_along_rays, render_weight_from_density
from torch import Tensor

from latent_nerfstudio.fields.boxes import intersect_box

MAX_CANDIDATES = 1 << 22
"""Steps that are looked up at once, so that large chunks of rays do not take gigabytes."""


class Samples(NamedTuple):
    """Steps of rays in occupied cells."""

    ray_indices: Int[Tensor, "samples"]
    starts: Float[Tensor, "samples"]
    ends: Float[Tensor, "samples"]


class OccupancyGrid(OccGridEstimator):
    """nerfacc's grid, with its state and its updates; `sampling` also runs without CUDA."""

    aabbs: Tensor
    binaries: Tensor
    occs: Tensor

    @torch.no_grad()
    def sampling(  # type: ignore[override]  # Nerfstudio's sampler gives no alpha_fn
        self,
        rays_o: Float[Tensor, "rays 3"],
        rays_d: Float[Tensor, "rays 3"],
        sigma_fn: Optional[Callable] = None,
        near_plane: float = 0.0,
        far_plane: float = 1e10,
        t_min: Optional[Float[Tensor, "rays"]] = None,
        t_max: Optional[Float[Tensor, "rays"]] = None,
        render_step_size: float = 1e-3,
        early_stop_eps: float = 1e-4,
        alpha_thre: float = 0.0,
        stratified: bool = False,
        cone_angle: float = 0.0,
    ) -> Samples:
        """Steps of rays in occupied cells, without those that are hidden or nearly empty, as nerfacc's own gives them.
        Stratified rays begin at a random part of their first step; a cone angle makes `render_step_size` the least."""
        density_fn = None if sigma_fn is None else partial(density_of, sigma_fn)
        if has_nerfacc_kernels(rays_o):
            bounds = near_plane, far_plane, t_min, t_max
            settings = render_step_size, early_stop_eps, alpha_thre, stratified, cone_angle
            return Samples(*super().sampling(rays_o, rays_d, density_fn, None, *bounds, *settings))
        near, far = torch.full_like(rays_o[:, 0], near_plane), torch.full_like(rays_o[:, 0], far_plane)
        near = near if t_min is None else torch.maximum(near, t_min)
        far = far if t_max is None else torch.minimum(far, t_max)
        if stratified:
            near = near + torch.rand_like(near) * render_step_size
        samples = march(rays_o, rays_d, self.binaries, self.aabbs, near, far, render_step_size, cone_angle)
        if density_fn is None:
            return samples
        density = density_fn(samples.starts, samples.ends, samples.ray_indices)
        seen = visible(samples, density, len(rays_o), early_stop_eps, min(alpha_thre, float(self.occs.mean())))
        return Samples(*(values[seen] for values in samples))


def has_nerfacc_kernels(tensor: Tensor) -> bool:
    """Whether nerfacc's kernels take a tensor: it is on a CUDA device, and they are compiled or could be, which is
    tried when this is first asked; without `nvcc` it has none, with an unfit one that fails."""
    if not tensor.is_cuda:
        return False
    try:
        from nerfacc.cuda import _backend
    except (ImportError, OSError, RuntimeError):
        return False
    return _backend._C is not None


def density_of(
    sigma_fn: Callable, starts: Float[Tensor, "samples"], ends: Float[Tensor, "samples"], rays: Int[Tensor, "samples"]
) -> Float[Tensor, "samples"]:
    """Density of samples, of which there may be none; Nerfstudio's fields refuse to evaluate none."""
    return sigma_fn(starts, ends, rays) if len(starts) else starts


def march(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    occupied: Bool[Tensor, "levels x y z"],
    boxes: Float[Tensor, "levels 6"],
    near: Float[Tensor, "rays"],
    far: Float[Tensor, "rays"],
    step: float,
    cone_angle: float = 0.0,
) -> Samples:
    """Steps of rays, of unit directions, whose middle lies in an occupied cell, between near, where the first begins,
    and far. A place belongs to the first level whose box it is in. With a cone angle, the length of a step is in
    proportion to the distance at which it begins, and `step` the least one."""
    entry, leave, hit = intersect_box(origins, directions, boxes[-1].view(2, 3))
    first = (step_at(torch.maximum(entry, near), near, step, cone_angle) - 1).clamp(min=0)
    last = step_at(torch.minimum(leave, far).maximum(near), near, step, cone_angle) + 1
    rays = (hit & (leave > near) & (far > entry)).nonzero()[:, 0]
    longest = int((last - first)[rays].max()) if len(rays) else 0
    parts = []
    for chunk in rays.split(max(1, MAX_CANDIDATES // max(1, longest))):
        numbers = first[chunk, None] + torch.arange(longest + 1, device=origins.device)
        edges = step_edges(numbers, near[chunk, None], step, cone_angle)
        middle = (edges[:, 1:] + edges[:, :-1]) / 2
        positions = origins[chunk, None] + directions[chunk, None] * middle[..., None]
        kept = (middle >= near[chunk, None]) & (middle < far[chunk, None]) & is_occupied(positions, occupied, boxes)
        place = kept.nonzero()
        index = place[:, 0], place[:, 1]
        parts.append(Samples(chunk[place[:, 0]], edges[:, :-1][index], edges[:, 1:][index]))
    if not parts:
        return Samples(rays, near[:0], near[:0])
    return Samples(*(torch.cat(values) for values in zip(*parts, strict=True)))


def step_at(
    distance: Float[Tensor, "*batch"], near: Float[Tensor, "*batch"], step: float, cone_angle: float
) -> Int[Tensor, "*batch"]:
    """Number of the step in which a distance lies; the inverse of `step_edges`."""
    if cone_angle == 0:
        return ((distance - near) / step).long()
    even, turn = even_steps(near, step, cone_angle)
    grown = even + torch.log((distance / turn).clamp(min=1)) / math.log1p(cone_angle)
    return torch.where(distance < turn, (distance - near) / step, grown).long()


def step_edges(
    numbers: Int[Tensor, "*batch"], near: Float[Tensor, "*#batch"], step: float, cone_angle: float
) -> Float[Tensor, "*batch"]:
    """Distance at which steps begin: t_0 = near, t_{k+1} = t_k + max(step, cone_angle t_k), in closed form."""
    if cone_angle == 0:
        return near + numbers * step
    even, turn = even_steps(near, step, cone_angle)
    grown = turn * torch.exp((numbers - even).clamp(min=0) * math.log1p(cone_angle))
    return torch.where(numbers <= even, near + numbers * step, grown)


def even_steps(
    near: Float[Tensor, "*batch"], step: float, cone_angle: float
) -> Tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """How many steps have the least length, and where the first longer one begins."""
    even = torch.ceil((step / cone_angle - near) / step).clamp(min=0)
    return even, near + even * step


def is_occupied(
    positions: Float[Tensor, "*batch 3"], occupied: Bool[Tensor, "levels x y z"], boxes: Float[Tensor, "levels 6"]
) -> Bool[Tensor, "*batch"]:
    """Whether places lie in an occupied cell of the first level whose box holds them; outside of all, none does."""
    sides = torch.tensor(occupied.shape[1:], device=positions.device)
    result = torch.zeros(positions.shape[:-1], dtype=torch.bool, device=positions.device)
    for cells, box in zip(reversed(occupied.unbind()), reversed(boxes.unbind()), strict=True):
        low, high = box[:3], box[3:]
        inside = ((positions >= low) & (positions <= high)).all(dim=-1)
        cell = ((positions - low) * (sides / (high - low))).long()
        cell = torch.minimum(cell.clamp(min=0), sides - 1)
        flat = (cell[..., 0] * sides[1] + cell[..., 1]) * sides[2] + cell[..., 2]
        result = torch.where(inside, cells.flatten()[flat], result)
    return result


def visible(
    samples: Samples, density: Float[Tensor, "samples"], num_rays: int, least_light: float, least_opacity: float
) -> Bool[Tensor, "samples"]:
    """Samples that enough light gets to and that are not nearly empty (nerfacc: `render_visibility_from_density`)."""
    light, opacity = light_and_opacity(samples, density, num_rays)
    return (light >= least_light) & (opacity >= least_opacity)


def packed_weights(samples: Samples, density: Float[Tensor, "samples"], num_rays: int) -> Float[Tensor, "samples"]:
    """Weights T_i (1 - exp(-sigma_i delta_i)) of samples in one row (NeRF, eq. 3)."""
    if has_nerfacc_kernels(density):
        rays, starts, ends = samples
        return render_weight_from_density(starts, ends, density, ray_indices=rays, n_rays=num_rays)[0]
    light, opacity = light_and_opacity(samples, density, num_rays)
    return light * opacity


def light_and_opacity(
    samples: Samples, density: Float[Tensor, "samples"], num_rays: int
) -> Tuple[Float[Tensor, "samples"], Float[Tensor, "samples"]]:
    """Share of the light T_i that gets to samples, and how much 1 - exp(-sigma_i delta_i) of it they keep."""
    optical = density * (samples.ends - samples.starts)
    return torch.exp(-sum_before(optical, samples.ray_indices, num_rays)), -torch.expm1(-optical)


def sum_before(
    values: Float[Tensor, "samples"], ray_indices: Int[Tensor, "samples"], num_rays: int
) -> Float[Tensor, "samples"]:
    """Sum over the samples of the same ray before each one, by a table of rays x longest ray: a running sum over all
    rays minus that at the ray's start would lose the digits of thin samples behind dense ones."""
    if not len(values):
        return values
    counts = torch.bincount(ray_indices, minlength=num_rays)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(values), device=values.device) - starts[ray_indices]
    longest = int(counts.max())
    place = ray_indices * (longest + 1) + rank
    table = values.new_zeros(num_rays * (longest + 1)).index_copy(0, place + 1, values)
    return table.view(num_rays, -1).cumsum(dim=1).flatten().index_select(0, place)


def composite_packed(
    samples: Samples,
    weights: Float[Tensor, "samples"],
    channels: Float[Tensor, "samples channels"],
    far: Float[Tensor, "rays 1"],
) -> Dict[str, Float[Tensor, "rays _"]]:
    """See `rendering.composite`; `far` is the distance of what lies behind each ray, for its depth."""
    count, rays = len(far), samples.ray_indices

    def along(values: Optional[Tensor]) -> Tensor:
        return accumulate_along_rays(weights, values, rays, count)

    accumulation = along(None)
    depth = along((samples.starts + samples.ends)[:, None] / 2) + (1 - accumulation) * far
    return {"latent": along(channels), "accumulation": accumulation, "depth": depth}
