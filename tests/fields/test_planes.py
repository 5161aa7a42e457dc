"""Planes: composition, rows of scenes, and sampling against loops, total variation against hand values."""

import itertools

import pytest
import torch
from torch import nn

from latent_nerfstudio.fields.planes import (
    EG3D_AXES,
    PLANE_AXES,
    compose_planes,
    gather_rows,
    sample_planes,
)


def test_macro_planes_are_weighted_sums_of_base_planes():
    micro, base, weights = torch.randn(4, 3, 2, 5, 5), torch.randn(6, 3, 3, 5, 5), torch.randn(4, 6)
    planes = compose_planes(micro, base, weights)
    assert planes.shape == (4, 3, 5, 5, 5)
    for scene in range(4):
        assert torch.equal(planes[scene, :, :2], micro[scene])
        macro = sum(float(weights[scene, i]) * base[i] for i in range(6))
        torch.testing.assert_close(planes[scene, :, 2:], macro, atol=1e-5, rtol=1e-5)
    assert torch.equal(compose_planes(micro, None, None), micro)
    torch.testing.assert_close(compose_planes(None, base, weights), planes[:, :, 2:])


def bilinear(plane, x, y):
    """Features at (x, y) in [-1, 1]^2 of a plane [features, rows, cols], by hand: columns run along x."""
    rows, cols = plane.shape[1:]
    column = min(max((x + 1) / 2 * (cols - 1), 0), cols - 1)
    row = min(max((y + 1) / 2 * (rows - 1), 0), rows - 1)
    left, top = min(int(column), cols - 2), min(int(row), rows - 2)
    right_share, bottom_share = column - left, row - top
    upper = plane[:, top, left] * (1 - right_share) + plane[:, top, left + 1] * right_share
    lower = plane[:, top + 1, left] * (1 - right_share) + plane[:, top + 1, left + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


@pytest.mark.parametrize("axes", [PLANE_AXES, EG3D_AXES])
def test_sampling_against_a_loop(axes):
    planes = torch.randn(2, 3, 4, 5, 7, dtype=torch.float64)
    positions = torch.rand(2, 20, 3, dtype=torch.float64) * 2.4 - 1.2
    sampled = sample_planes(planes, positions, axes)
    assert sampled.shape == (2, 3, 20, 4)
    for scene, plane, point in itertools.product(range(2), range(3), range(20)):
        x, y = (float(positions[scene, point, axis]) for axis in axes[plane])
        expected = bilinear(planes[scene, plane], x, y)
        torch.testing.assert_close(sampled[scene, plane, point], expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("axes", "third"), [(PLANE_AXES, (2, 3)), (EG3D_AXES, (3, 1))])
def test_axes_of_the_planes(axes, third):
    """Planes that hold their own coordinates give back those of the point (1, 2, 3) / 4."""
    ramp = torch.linspace(-1, 1, 5)
    coordinates = torch.stack([ramp.expand(5, 5), ramp[:, None].expand(5, 5)])
    sampled = sample_planes(coordinates.expand(1, 3, 2, 5, 5), torch.tensor([[[0.25, 0.5, 0.75]]]), axes)
    torch.testing.assert_close(sampled[0, :, 0] * 4, torch.tensor([[1.0, 2.0], [1.0, 3.0], list(third)]))


INDEX = torch.tensor([1, 4, 1])


@pytest.mark.parametrize("shape", [(6,), (6, 3, 2, 4, 4)])
@pytest.mark.parametrize("sparse", [True, False])
def test_rows_and_their_gradient_are_those_of_indexing(shape, sparse):
    table = nn.Parameter(torch.randn(shape))
    plain = nn.Parameter(table.detach().clone())
    factors = torch.randn(3, *shape[1:])
    for one, rows in ((table, gather_rows(table, INDEX, sparse)), (plain, plain[INDEX])):
        assert torch.equal(rows, one.detach()[INDEX])
        (rows.square() * factors).sum().backward()
    assert table.grad.is_sparse == sparse
    assert torch.equal(table.grad.to_dense() if sparse else table.grad, plain.grad)
    if sparse:
        assert table.grad.coalesce().indices().tolist() == [[1, 4]]


def test_gradients_of_several_gathers_add_up():
    table = nn.Parameter(torch.randn(6, 3))

    def rows(*index):
        return gather_rows(table, torch.tensor(index), sparse=True).sum()

    rows(1, 4).backward()
    assert table.grad.is_coalesced()
    table.grad = None
    (rows(0, 2) + rows(2, 5)).backward()
    rows(5).backward()
    assert table.grad.is_sparse
    assert table.grad.to_dense()[:, 0].tolist() == [1, 0, 2, 0, 0, 2]
