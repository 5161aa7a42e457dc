"""Marching through the occupancy grid and compositing of packed samples, against loops and against nerfacc."""

import math

import nerfacc
import pytest
import torch

from latent_nerfstudio.models import occupancy
from latent_nerfstudio.models.occupancy import OccupancyGrid, Samples, composite_packed, march, packed_weights

BOX = (-1.0, -0.5, -1.0, 1.0, 0.5, 2.0)


def rays_at(count=30, seed=0):
    """Rays from around the box to places in it, some of which begin inside, and every fifth looks away."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.randn(count, 3, generator=generator) * 1.5
    aims = torch.rand(count, 3, generator=generator) - 0.5
    directions = torch.nn.functional.normalize(aims - origins, dim=-1)
    directions[::5] *= -1
    return origins, directions


def grid_of(levels=1, share=0.3, resolution=(6, 5, 7), box=BOX):
    grid = OccupancyGrid(list(box), list(resolution), levels)
    generator = torch.Generator().manual_seed(1)
    grid.binaries = torch.rand(grid.binaries.shape, generator=generator) < share
    grid.occs = grid.binaries.float().flatten()
    return grid


def cell_holds(grid, point):
    """Whether a place is in an occupied cell, in plain Python."""
    for occupied, box in zip(grid.binaries, grid.aabbs.tolist(), strict=True):
        low, high = box[:3], box[3:]
        if all(lo <= p <= hi for p, lo, hi in zip(point, low, high, strict=True)):
            sides = zip(point, low, high, occupied.shape, strict=True)
            cell = [min(int((p - lo) / (hi - lo) * n), n - 1) for p, lo, hi, n in sides]
            return bool(occupied[tuple(cell)])
    return False


def march_by_hand(grid, origins, directions, nears, fars, step, cone_angle=0.0):
    """Every step of every ray from near to far, one after the other: start and end by ray and number of the step."""
    found, rays = {}, zip(*(values.tolist() for values in (origins, directions, nears, fars)), strict=True)
    for ray, (origin, direction, near, far) in enumerate(rays):
        start, number = near, 0
        while start < far:
            length = max(step, cone_angle * start)
            middle = start + length / 2
            if middle < far and cell_holds(grid, [o + middle * d for o, d in zip(origin, direction, strict=True)]):
                found[ray, number] = (start, start + length)
            start, number = start + length, number + 1
    return found


@pytest.mark.parametrize(("levels", "cone_angle"), [(1, 0.0), (3, 0.0), (1, 0.05), (3, 0.05)])
def test_marching_against_a_loop(levels, cone_angle, monkeypatch):
    grid, (origins, directions) = grid_of(levels), rays_at()
    near, far = 0.03 + torch.rand(30), 2 + 4 * torch.rand(30)
    samples = march(origins, directions, grid.binaries, grid.aabbs, near, far, 0.07, cone_angle)
    numbers = occupancy.step_at((samples.starts + samples.ends) / 2, near[samples.ray_indices], 0.07, cone_angle)
    keys = zip(samples.ray_indices.tolist(), numbers.tolist(), strict=True)
    found = dict(zip(keys, zip(samples.starts.tolist(), samples.ends.tolist(), strict=True), strict=True))
    expected = march_by_hand(grid, origins, directions, near, far, 0.07, cone_angle)
    assert len(expected) > 50
    assert len(found.keys() ^ expected.keys()) <= 2  # at the border of a cell, rounding decides
    for key in found.keys() & expected.keys():
        assert found[key] == pytest.approx(expected[key], abs=1e-4)
    ray = samples.ray_indices
    assert bool((ray.diff() > 0).logical_or((ray.diff() == 0) & (samples.starts[1:] >= samples.ends[:-1] - 1e-5)).all())
    monkeypatch.setattr(occupancy, "MAX_CANDIDATES", 100)
    in_parts = march(origins, directions, grid.binaries, grid.aabbs, near, far, 0.07, cone_angle)
    assert all(torch.equal(a, b) for a, b in zip(samples, in_parts, strict=True))


def test_nothing_to_march_through():
    grid, (origins, directions) = grid_of(share=-1.0), rays_at()
    bounds = torch.zeros(30), torch.full((30,), 9.0)
    assert [len(v) for v in march(origins, directions, grid.binaries, grid.aabbs, *bounds, 0.05)] == [0, 0, 0]
    away = march(origins + 50, directions, grid.binaries, grid.aabbs, *bounds, 0.05)
    assert [len(v) for v in away] == [0, 0, 0]
    nothing = Samples(torch.zeros(0, dtype=torch.long), torch.zeros(0), torch.zeros(0))
    result = composite_packed(nothing, packed_weights(nothing, torch.zeros(0), 2), torch.zeros(0, 4), torch.ones(2, 1))
    assert result["latent"].tolist() == [[0] * 4] * 2 and result["depth"].tolist() == [[1], [1]]


@pytest.mark.parametrize("cone_angle", [0.0, 0.01, 0.2])
def test_steps_are_the_recurrence(cone_angle):
    near, edges = torch.tensor([0.05, 1.0, 7.0]), []
    for start in near.tolist():
        edges.append([start])
        for _ in range(80):
            edges[-1].append(edges[-1][-1] + max(0.03, cone_angle * edges[-1][-1]))
    numbers = torch.arange(81).expand(3, 81)
    computed = occupancy.step_edges(numbers, near[:, None], 0.03, cone_angle)
    torch.testing.assert_close(computed, torch.tensor(edges), rtol=1e-3, atol=1e-4)
    middles = (computed[:, 1:] + computed[:, :-1]) / 2
    assert torch.equal(occupancy.step_at(middles, near[:, None].expand_as(middles), 0.03, cone_angle), numbers[:, :-1])


def test_occupied_cells_and_what_lies_outside():
    occupied = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    occupied[0, 1, 0, 1] = True
    boxes = torch.tensor([[0.0, 0, 0, 2, 2, 2]])
    places = torch.tensor([[1.5, 0.5, 1.5], [0.5, 0.5, 1.5], [2.0, 0.0, 2.0], [2.1, 0.5, 1.5], [1.5, -0.1, 1.5]])
    assert occupancy.is_occupied(places, occupied, boxes).tolist() == [True, False, True, False, False]


def sample(grid, density, **settings):
    origins, directions = rays_at()
    settings = {"render_step_size": 0.05, "far_plane": 9.0, **settings}
    return grid.sampling(origins, directions, lambda s, e, r: torch.full_like(s, density), **settings)


def test_hidden_samples_are_left_out():
    grid = grid_of(share=1.1)
    everything = sample(grid, 0.0)
    dense = sample(grid, 20.0, early_stop_eps=1e-2)
    # exp(-20 * 0.05 * k) >= 0.01 for k = 0 ... 4
    counts = [samples.ray_indices.bincount(minlength=30) for samples in (everything, dense)]
    assert torch.equal(counts[1], counts[0].clamp(max=5))


def test_thin_samples_are_left_out_above_a_threshold():
    """And bounds that each ray brings are kept as those of all."""
    grid, (near, far) = grid_of(share=1.1), (torch.full((30,), bound) for bound in (1.0, 2.0))
    own, same = sample(grid, 0.0, t_min=near, t_max=far), sample(grid, 0.0, near_plane=1.0, far_plane=2.0)
    assert all(torch.equal(*pair) for pair in zip(own, same, strict=True)) and len(own.starts) > 100
    assert len(sample(grid, 0.1, alpha_thre=0.01).starts) == 0
    assert len(sample(grid, 1.0, alpha_thre=0.01).starts) > 100
    grid.occs *= 1e-6
    assert len(sample(grid, 0.1, alpha_thre=0.01).starts) > 100


def test_stratified_steps_begin_within_the_first():
    grid = grid_of(share=1.1)
    starts = [sample(grid, 0.0, stratified=jitter).starts[:20] for jitter in (False, True)]
    torch.testing.assert_close(starts[0] / 0.05, (starts[0] / 0.05).round(), atol=1e-3, rtol=0)
    assert not torch.allclose(starts[1] / 0.05, (starts[1] / 0.05).round(), atol=1e-3, rtol=0)


def packed(dtype=torch.float64):
    """Three rays of 4, 0 and 3 samples."""
    rays = torch.tensor([0, 0, 0, 0, 2, 2, 2])
    starts = torch.tensor([0.5, 0.7, 1.1, 1.3, 0.2, 0.4, 0.9], dtype=dtype)
    return Samples(rays, starts, starts + torch.tensor([0.2, 0.2, 0.2, 0.3, 0.2, 0.3, 0.1], dtype=dtype))


def test_compositing_against_a_loop():
    samples, density = packed(), torch.rand(7, dtype=torch.float64) * 5
    channels, far = torch.randn(7, 5, dtype=torch.float64), torch.tensor([[9.0], [8.0], [7.0]], dtype=torch.float64)
    weights = packed_weights(samples, density, 3)
    result = composite_packed(samples, weights, channels, far)
    for ray in range(3):
        light, total, depth, value = 1.0, 0.0, 0.0, torch.zeros(5, dtype=torch.float64)
        for i in (samples.ray_indices == ray).nonzero()[:, 0].tolist():
            length = float(samples.ends[i] - samples.starts[i])
            weight = light * (1 - math.exp(-float(density[i]) * length))
            assert float(weights[i]) == pytest.approx(weight)
            light *= math.exp(-float(density[i]) * length)
            total, value = total + weight, value + weight * channels[i]
            depth += weight * float(samples.starts[i] + samples.ends[i]) / 2
        torch.testing.assert_close(result["latent"][ray], value)
        assert float(result["accumulation"][ray]) == pytest.approx(total)
        assert float(result["depth"][ray]) == pytest.approx(depth + (1 - total) * float(far[ray]))


def test_gradients_of_compositing():
    density = (torch.rand(7, dtype=torch.float64) * 3).requires_grad_()
    channels = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    far = torch.full((3, 1), 5.0, dtype=torch.float64)

    def render(density, channels):
        return tuple(composite_packed(packed(), packed_weights(packed(), density, 3), channels, far).values())

    assert torch.autograd.gradcheck(render, (density, channels))


def test_thin_samples_keep_their_digits_behind_dense_rays():
    values = torch.tensor([1e6, 1e6, 0.25, 1e7, 0.125])
    rays = torch.tensor([0, 0, 1, 1, 2])
    assert occupancy.sum_before(values, rays, 3).tolist() == [0, 1e6, 0, 0.25, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("levels", "cone_angle"), [(1, 0.0), (3, 0.0), (3, 0.02)])
def test_marching_and_weights_are_nerfaccs(levels, cone_angle):
    grid = grid_of(levels)
    origins, directions = rays_at(200)
    settings = {"render_step_size": 0.03, "near_plane": 0.03, "far_plane": 6.0, "cone_angle": cone_angle}
    ours = grid.sampling(origins, directions, **settings)
    grid = grid.cuda()
    theirs = nerfacc.OccGridEstimator.sampling(grid, origins.cuda(), directions.cuda(), **settings)
    counts = [rays.cpu().bincount(minlength=200) for rays in (ours.ray_indices, theirs[0])]
    assert float((counts[0] - counts[1]).abs().float().mean()) < 0.05  # rounding at the borders of cells
    density = torch.rand(len(ours.starts)) * 9
    rays, starts, ends = (values.cuda() for values in ours)
    kernels = nerfacc.render_weight_from_density(starts, ends, density.cuda(), ray_indices=rays, n_rays=200)[0]
    torch.testing.assert_close(kernels.cpu(), packed_weights(ours, density, 200), atol=1e-5, rtol=1e-4)
