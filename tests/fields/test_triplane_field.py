"""The tri-plane field: its values, what its scenes share, configs that make no field, and which kernel is taken."""

import pytest
import torch
import torch.nn.functional as F
from tiny import SHARED

from latent_nerfstudio.fields import triplane_field
from latent_nerfstudio.fields.planes import sample_planes
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig, kernel_of
from latent_nerfstudio.kernels import triplane_torch

MICRO = {"micro_features": 4}
BOTH = {"micro_features": 4, **SHARED}


def field_of(num_scenes=3, **settings):
    config = TriplaneFieldConfig(resolution=6, hidden_width=16, implementation="torch", **settings)
    return config.setup(num_scenes=num_scenes, num_channels=4)


def evaluate(field, scenes, positions, slots):
    return field(positions, slots, field.scene_planes(scenes))


@pytest.mark.parametrize(("raw", "density"), [(0.0, 7.8315), (1.0, 17.3287), (5.0, 100.4537)])
def test_density_and_channels_by_hand(raw, density):
    """An MLP that only has its last bias: 25 ln(1 + exp(raw - 1)) a unit of length, and channels as they are."""
    field = field_of(**MICRO)
    for parameter in field.mlp.parameters():
        parameter.data.zero_()
    bias = list(field.mlp.parameters())[-1]
    bias.data.copy_(torch.tensor([raw, 0.25, -3.0, 7.0, 0.0]))
    found, channels = evaluate(field, torch.tensor([0]), torch.rand(2, 3, 3), torch.zeros(2, 3, dtype=torch.long))
    torch.testing.assert_close(found, torch.full((2, 3), density), atol=1e-3, rtol=0)
    assert channels[1, 2].tolist() == [0.25, -3.0, 7.0, 0.0]


def test_a_scene_trains_its_own_planes_only():
    field = field_of(**BOTH)
    assert (field.micro_planes.shape, field.base_planes.shape) == ((3, 3, 4, 6, 6), (2, 3, 3, 6, 6))
    density, _ = evaluate(field, torch.tensor([1]), torch.rand(9, 3), torch.zeros(9, dtype=torch.long))
    density.sum().backward()
    assert field.micro_planes.grad.flatten(1).any(dim=1).tolist() == [False, True, False]
    assert field.scene_weights.grad.any(dim=1).tolist() == [False, True, False]
    assert bool(field.base_planes.grad.flatten(1).any(dim=1).all())


def test_macro_planes_start_at_the_scale_of_the_base_planes():
    config = TriplaneFieldConfig(micro_features=0, macro_features=4, num_base_planes=50, implementation="torch")
    field = config.setup(num_scenes=20, num_channels=1)
    assert float(field.scene_planes(torch.arange(20)).std()) == pytest.approx(float(field.base_planes.std()), rel=0.1)


def test_eg3d_axes_are_a_switch():
    positions, slots = torch.tensor([[0.1, 0.9, -0.5]]), torch.zeros(1, dtype=torch.long)
    torch.manual_seed(0)
    ours = evaluate(field_of(**MICRO), torch.tensor([0]), positions, slots)
    torch.manual_seed(0)
    theirs = evaluate(field_of(eg3d_axes=True, **MICRO), torch.tensor([0]), positions, slots)
    assert not torch.allclose(ours[1], theirs[1])


WITHOUT = [{"micro_features": 0, **more} for more in ({}, {"macro_features": 4}, {"num_base_planes": 4})]
WITHOUT += [{"micro_features": -1}, {"macro_features": -2, "num_base_planes": 4}, {"resolution": 1}]


@pytest.mark.parametrize("settings", WITHOUT)
def test_configs_without_planes(settings):
    with pytest.raises(ValueError, match="tri-plane field: expected micro_features > 0, or .* at least 2, got"):
        TriplaneFieldConfig(**settings).setup(num_scenes=1, num_channels=1)


@pytest.mark.parametrize(
    "settings", [{"aggregation": "product"}, {"hidden_layers": 2}, {"implementation": "tcnn"}], ids=str
)
def test_settings_of_older_versions_that_are_gone(settings):
    config = TriplaneFieldConfig()
    vars(config).update(aggregation="sum", hidden_layers=1, negligible_gradient=0.1)
    config.setup(num_scenes=1, num_channels=3)
    vars(config).update(settings)
    with pytest.raises(ValueError, match=f"{next(iter(settings))}: expected .*, got {next(iter(settings.values()))}; "):
        config.setup(num_scenes=1, num_channels=3)


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
