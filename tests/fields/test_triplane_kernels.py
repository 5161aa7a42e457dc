"""The tri-plane field through its kernels: the long way's values and gradients, and which kernel is taken."""

import pytest
import torch
import torch.nn.functional as F
from test_triplane_field import BOTH, MICRO, evaluate, field_of

from latent_nerfstudio.fields import triplane_field
from latent_nerfstudio.fields.planes import sample_planes
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig, kernel_of
from latent_nerfstudio.kernels import triplane_torch


def made_by(field, positions):
    """Density and channels, and the gradients of all parameters."""
    field.zero_grad()
    density, channels = evaluate(field, torch.arange(3), positions, torch.arange(60) % 3)
    (density.square().sum() + channels.square().sum()).backward()
    return [density.detach(), channels.detach(), *(dense(p.grad).clone() for p in field.parameters())]


def dense(gradient):
    return gradient.to_dense() if gradient.is_sparse else gradient


def the_long_way(planes, positions, slots, mlp, axes, negligible):
    """What kernels compute, by grid_sample and autograd, scene by scene."""
    features = torch.zeros(len(positions), planes.shape[-1])
    for slot in range(len(planes)):
        own = sample_planes(planes[slot : slot + 1].permute(0, 1, 4, 2, 3), positions[None], axes).sum(dim=1)[0]
        features = torch.where((slots == slot)[:, None], own, features)
    return F.linear(F.linear(features, *mlp[:2]).relu(), *mlp[2:])


@pytest.mark.parametrize("kind", [MICRO, BOTH], ids=["micro", "both"])
def test_kernels_go_the_long_way_shorter(kind, monkeypatch):
    monkeypatch.setattr(triplane_field, "NEGLIGIBLE_GRADIENT", 0.0)
    field, positions = field_of(**kind), torch.rand(60, 3) * 2.2 - 1.1
    short = made_by(field, positions)
    monkeypatch.setattr(triplane_field, "kernel_of", lambda *_: the_long_way)
    torch.testing.assert_close(short, made_by(field, positions), atol=1e-5, rtol=1e-4)


def test_points_with_negligible_gradients_are_left_out_of_the_backward_pass_alone(monkeypatch):
    monkeypatch.setattr(triplane_field, "NEGLIGIBLE_GRADIENT", 1.0)
    field, positions = field_of(**MICRO), torch.rand(60, 3) * 2 - 1
    some = made_by(field, positions)
    monkeypatch.setattr(triplane_field, "NEGLIGIBLE_GRADIENT", 0.0)
    every = made_by(field, positions)
    assert torch.equal(some[0], every[0]) and torch.equal(some[1], every[1])
    assert not torch.allclose(some[2], every[2])
    assert float(torch.nn.functional.cosine_similarity(some[2].flatten(), every[2].flatten(), dim=0)) > 0.8


def test_half_precision_around_it_changes_nothing():
    field, positions, slots = field_of(**MICRO), torch.rand(60, 3), torch.arange(60) % 3
    plain = evaluate(field, torch.arange(3), positions, slots)
    with torch.autocast("cpu", torch.bfloat16):
        around = evaluate(field, torch.arange(3), positions, slots)
    assert torch.equal(plain[0], around[0]) and torch.equal(plain[1], around[1])


def test_what_auto_means():
    def mlp(hidden):
        return triplane_torch.TinyMLP(*map(torch.zeros, ((hidden, 32), (hidden,), (17, hidden), (17,))))

    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert kernel_of("auto", cpu, mlp(64)) is kernel_of("torch", gpu, mlp(64)) is triplane_torch.triplane_mlp
    assert kernel_of("auto", gpu, mlp(256)) is triplane_torch.triplane_mlp  # which does not fit the shared memory
    triplane_triton = pytest.importorskip("latent_nerfstudio.kernels.triplane_triton")
    assert kernel_of("auto", gpu, mlp(64)) is kernel_of("triton", cpu, mlp(64)) is triplane_triton.triplane_mlp


def test_triton_needs_a_gpu():
    pytest.importorskip("triton")
    field = TriplaneFieldConfig(implementation="triton", resolution=4).setup(num_scenes=1, num_channels=3)
    with pytest.raises(ValueError, match="Triton kernel: expected tensors on a CUDA device, got cpu"):
        evaluate(field, torch.tensor([0]), torch.rand(5, 3), torch.zeros(5, dtype=torch.long))
