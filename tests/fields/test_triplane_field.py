"""The tri-plane field: its parts for each config, ranges, gradients, and configs that make no field."""

import pytest
import torch
from tiny import gradients

from latent_nerfstudio.fields.heads import bound
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig

MICRO = {"micro_features": 4}
MACRO = {"micro_features": 0, "macro_features": 3, "num_base_planes": 2}
BOTH = {"micro_features": 4, "macro_features": 3, "num_base_planes": 2}
SINGLE = {"micro_features": 0, "macro_features": 3, "num_base_planes": 1}
KINDS = pytest.mark.parametrize("kind", [MICRO, MACRO, BOTH, SINGLE], ids=["micro", "macro", "both", "one base plane"])


def field_of(num_scenes=3, num_channels=4, value_range=None, **settings):
    config = TriplaneFieldConfig(resolution=6, hidden_width=16, implementation="torch", **settings)
    options = {} if value_range is None else {"value_range": value_range}
    return config.setup(num_scenes=num_scenes, num_channels=num_channels, **options)


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


@KINDS
def test_every_parameter_gets_a_gradient(kind):
    field = field_of(**kind)
    density, channels = evaluate(field, torch.arange(3), torch.rand(60, 3) * 2 - 1, torch.arange(60) % 3)
    (density.sum() + channels.square().sum()).backward()
    assert all(gradients(*field.parameters()))
    groups = field.plane_parameters() + field.shared_plane_parameters() + list(field.mlp.parameters())
    assert {id(p) for p in groups} == {id(p) for p in field.parameters()}


def test_a_scene_trains_its_own_planes_only():
    field = field_of(**BOTH)
    density, _ = evaluate(field, torch.tensor([1]), torch.rand(9, 3), torch.zeros(9, dtype=torch.long))
    density.sum().backward()
    assert field.micro_planes.grad.flatten(1).any(dim=1).tolist() == [False, True, False]
    assert field.scene_weights.grad.any(dim=1).tolist() == [False, True, False]
    assert bool(field.base_planes.grad.flatten(1).any(dim=1).all())


@KINDS
def test_scenes_differ_and_do_not_depend_on_their_company(kind):
    field, positions = field_of(**kind), torch.rand(8, 3)
    alone = [evaluate(field, torch.tensor([s]), positions, torch.zeros(8, dtype=torch.long))[1] for s in range(3)]
    assert not torch.allclose(alone[0], alone[2])
    _, together = evaluate(field, torch.tensor([2, 0]), positions.repeat(2, 1), torch.arange(16) // 8)
    torch.testing.assert_close(together, torch.cat([alone[2], alone[0]]), atol=1e-6, rtol=1e-5)


def test_macro_planes_start_at_the_scale_of_the_base_planes():
    config = TriplaneFieldConfig(micro_features=0, macro_features=4, num_base_planes=50, implementation="torch")
    field = config.setup(num_scenes=20, num_channels=1)
    assert float(field.scene_planes(torch.arange(20)).std()) == pytest.approx(float(field.base_planes.std()), rel=0.1)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0)])
def test_channels_stay_in_their_range_and_reach_its_ends(limits):
    low, high = limits
    values = bound(torch.tensor([[-100.0], [0.0], [100.0]]), limits)[:, 0]
    assert values[0] < low and values[2] > high and float(values[1]) == pytest.approx((low + high) / 2, abs=1e-6)
    assert float(low - values[0]) == pytest.approx(0.001 * (high - low), rel=1e-3)
    field = field_of(value_range=limits, **MICRO)
    _, channels = evaluate(field, torch.tensor([0]), torch.rand(50, 3), torch.zeros(50, dtype=torch.long))
    assert bool(((channels > low - 0.01) & (channels < high + 0.01)).all())


def test_infinite_ranges_leave_values_alone():
    values = torch.randn(5, 3)
    assert torch.equal(bound(values, (-float("inf"), float("inf"))), values)


def test_bytes_of_a_scene():
    assert field_of(**BOTH).scene_bytes() == 4 * (3 * 4 * 6 * 6 + 2)
    assert field_of(num_scenes=1, **MACRO).scene_bytes() == 4 * 2


def test_eg3d_axes_are_a_switch():
    positions, slots = torch.tensor([[0.1, 0.9, -0.5]]), torch.zeros(1, dtype=torch.long)
    torch.manual_seed(0)
    ours = evaluate(field_of(**MICRO), torch.tensor([0]), positions, slots)
    torch.manual_seed(0)
    theirs = evaluate(field_of(eg3d_axes=True, **MICRO), torch.tensor([0]), positions, slots)
    assert not torch.allclose(ours[1], theirs[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"micro_features": 0},
        {"micro_features": 0, "macro_features": 4},
        {"micro_features": 0, "num_base_planes": 4},
        {"micro_features": -1},
        {"macro_features": -2, "num_base_planes": 4},
    ],
)
def test_configs_without_features(settings):
    with pytest.raises(ValueError, match="tri-plane field: expected micro_features > 0, or macro_features > 0 and"):
        field_of(**settings)


def test_a_resolution_of_one():
    with pytest.raises(ValueError, match="resolution of at least 2, got .*resolution=1"):
        TriplaneFieldConfig(resolution=1).setup(num_scenes=1, num_channels=1)


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
