"""The plain-torch kernel against plane sampling and an MLP by autograd, texels by hand, and what it leaves out."""

import pytest
import torch
from torch import nn

from latent_nerfstudio.fields.planes import EG3D_AXES, PLANE_AXES, sample_planes
from latent_nerfstudio.kernels.triplane_torch import (
    TinyMLP,
    kept_points,
    spread,
    spread_on_host,
    spread_sorted,
    texels_of,
    triplane_mlp,
)

SLOTS = torch.tensor([1, 0, 2, 2, 0, 1, 1])


def tensors_of(scenes=3, rows=5, cols=7, features=4, hidden=6, outputs=3, points=7):
    """Planes, positions (some of them outside the box), and the MLP's weights, in double precision."""
    shapes = [(scenes, 3, rows, cols, features), (hidden, features), (hidden,), (outputs, hidden), (outputs,)]
    planes, *weights = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    return planes, torch.rand(points, 3, dtype=torch.float64) * 2.4 - 1.2, weights


def by_autograd(planes, positions, slots, mlp, axes):
    own, each = planes[slots].permute(0, 1, 4, 2, 3), positions[:, None]
    features = sample_planes(own, each, axes).sum(dim=1)[:, 0]
    return nn.functional.linear(nn.functional.linear(features, mlp[0], mlp[1]).relu(), mlp[2], mlp[3])


@pytest.mark.parametrize("axes", [PLANE_AXES, EG3D_AXES])
@pytest.mark.parametrize("frozen", [False, True])
def test_values_and_gradients_are_those_of_autograd(axes, frozen):
    planes, positions, weights = tensors_of()
    for weight in weights:
        weight.requires_grad_(not frozen)
    wanted = by_autograd(planes, positions, SLOTS, weights, axes)
    outputs = triplane_mlp(planes, positions, SLOTS, TinyMLP(*weights), axes)
    torch.testing.assert_close(outputs, wanted)
    leaves = [planes] if frozen else [planes, *weights]
    gradient = torch.randn_like(wanted)
    torch.testing.assert_close(*(torch.autograd.grad(made, leaves, gradient) for made in (outputs, wanted)))


def test_gradients_by_finite_differences():
    planes, positions, weights = tensors_of()
    assert torch.autograd.gradcheck(
        lambda planes, *weights: triplane_mlp(planes, positions, SLOTS, TinyMLP(*weights), PLANE_AXES),
        (planes, *weights),
    )


def test_texels_by_hand():
    """3 rows and 5 columns a plane: x = 0.25 lies halfway between columns 2 and 3, y = -0.5 between rows 0 and 1."""
    index, weight = texels_of(torch.tensor([[0.25, -0.5, 1.0]]), torch.tensor([2]), 3, 5, PLANE_AXES)
    assert index[0, :4].tolist() == [2 * 45 + place for place in (2, 3, 7, 8)]
    assert weight[0, :4].tolist() == [0.25] * 4
    assert index[0, 4:8].tolist() == [2 * 45 + 15 + place for place in (7, 8, 12, 13)]
    assert weight[0, 4:8].tolist() == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize("spread", [spread, spread_on_host, spread_sorted])
@pytest.mark.parametrize("points", [40, 0])
def test_spread_is_the_transpose_of_the_lookup(spread, points):
    """<A x, y> = <x, A^T y> for every x and y."""
    index, weight = texels_of(torch.rand(points, 3) * 2 - 1, torch.arange(points) % 2, 4, 4, PLANE_AXES)
    table, gradient = torch.randn(96, 5), torch.randn(points, 5)
    features = (table[index.long()] * weight[..., None]).sum(dim=1)
    torch.testing.assert_close((features * gradient).sum(), (table * spread(gradient, index, weight, 96)).sum())


def test_points_that_move_little_are_left_out():
    gradient = torch.tensor([[0.0, 8.0], [-1.0, 0.5], [0.1, -0.1], [0.0, 0.0]])
    assert kept_points(gradient, 0.0) is None
    assert kept_points(gradient, 0.2).tolist() == [0, 1]
    assert kept_points(gradient, 1.0).tolist() == [0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_stay_so(value):
    """Whoever looks at the gradients, a GradScaler for one, must see them."""
    planes, positions, weights = tensors_of()
    gradient = torch.ones(7, 3, dtype=torch.float64)
    gradient[3, 1] = value
    outputs = triplane_mlp(planes, positions, SLOTS, TinyMLP(*weights), PLANE_AXES, 0.03)
    for result in torch.autograd.grad(outputs, [planes, *weights], gradient):
        assert not bool(torch.isfinite(result).all())


@pytest.mark.parametrize("negligible", [0.5, 100.0])
def test_what_is_left_out_has_no_gradient_and_the_rest_all_of_it(negligible):
    planes, positions, weights = tensors_of()
    gradient = torch.randn(7, 3, dtype=torch.float64) * torch.tensor([1, 1e-3, 1, 1e-3, 1, 1e-3, 0])[:, None]
    kept = torch.zeros_like(gradient)
    if negligible == 0.5:
        kept[[0, 2, 4]] = gradient[[0, 2, 4]]
    outputs = triplane_mlp(planes, positions, SLOTS, TinyMLP(*weights), PLANE_AXES, negligible)
    wanted = triplane_mlp(planes, positions, SLOTS, TinyMLP(*weights), PLANE_AXES)
    assert torch.equal(outputs, wanted)
    leaves = [planes, *weights]
    expected = torch.autograd.grad(wanted, leaves, kept)
    torch.testing.assert_close(torch.autograd.grad(outputs, leaves, gradient), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_planes_in_half_precision(dtype):
    planes, positions, weights = tensors_of()
    positions, weights = positions.float(), [w.detach().float() for w in weights]
    half = planes.detach().to(dtype).requires_grad_()
    outputs = triplane_mlp(half, positions, SLOTS, TinyMLP(*weights), PLANE_AXES)
    torch.testing.assert_close(outputs, triplane_mlp(half.float(), positions, SLOTS, TinyMLP(*weights), PLANE_AXES))
    outputs.sum().backward()
    assert half.grad.dtype == dtype and bool(half.grad.any())
