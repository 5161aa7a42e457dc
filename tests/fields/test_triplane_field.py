"""The tri-plane field: its values, what its scenes share, and configs that make no field."""

import pytest
import torch
from tiny import SHARED

from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig

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
