"""The K-Planes field: features against a loop, shapes, gradients, and configs that make no field."""

import itertools

import pytest
import torch
from test_planes import bilinear
from tiny import gradients

from latent_nerfstudio.fields.kplanes_field import (
    KPlanesFieldConfig,
    fresh_planes,
    multiscale_features,
)
from latent_nerfstudio.fields.planes import PLANE_AXES


def field_of(**settings):
    settings = {"resolution": 4, "features": 3, "hidden_width": 8, "implementation": "torch", **settings}
    return KPlanesFieldConfig(**settings).setup(num_channels=4)


def points(count=9):
    return torch.rand(count, 3) * 2 - 1


def directions(count=9):
    return torch.nn.functional.normalize(torch.randn(count, 3), dim=-1)


def test_features_against_a_loop():
    """prod over planes of bilinear values, then the scales one after the other (K-Planes, eqs. 1 and 2)."""
    scales = [torch.randn(1, 3, 2, side, side, dtype=torch.float64) for side in (3, 6)]
    positions = points().double()
    features = multiscale_features(scales, positions)
    assert features.shape == (9, 4)
    for point, (index, planes), channel in itertools.product(range(9), enumerate(scales), range(2)):
        expected = 1.0
        for plane, (first, second) in zip(planes[0, :, channel], PLANE_AXES, strict=True):
            x, y = (float(positions[point, axis]) for axis in (first, second))
            expected *= float(bilinear(plane[None], x, y))
        assert float(features[point, 2 * index + channel]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scales", [(1,), (1, 2), (1, 2, 4)])
def test_planes_of_each_scale(scales):
    field = field_of(scales=scales)
    assert [tuple(p.shape) for p in field.planes] == [(1, 3, 3, 4 * s, 4 * s) for s in scales]
    density, channels = field(points())
    assert density.shape == (9,) and channels.shape == (9, 4)
    assert bool((density > 0).all()) and bool(torch.isfinite(channels).all())


def test_fresh_planes_are_uniform_between_a_tenth_and_a_half():
    (plane,) = fresh_planes(8, [32])
    assert 0.1 <= float(plane.min()) < 0.11 and 0.49 < float(plane.max()) <= 0.5
    assert float(plane.mean()) == pytest.approx(0.3, abs=0.01)
    assert [plane.shape for plane in fresh_planes(1, [2, 3])] == [(1, 3, 1, 2, 2), (1, 3, 1, 3, 3)]


@pytest.mark.parametrize("view_dependent", [False, True])
def test_every_parameter_gets_a_gradient(view_dependent):
    field = field_of(view_dependent=view_dependent)
    density, channels = field(points(40), directions(40))
    (density.sum() + channels.square().sum()).backward()
    assert all(gradients(*field.parameters()))
    groups = [*field.planes, *field.decoder_parameters()]
    assert {id(p) for p in groups} == {id(p) for p in field.parameters()}


def test_channels_depend_on_the_direction_only_where_asked_to_and_density_never():
    positions = points()
    for view_dependent in (False, True):
        field = field_of(view_dependent=view_dependent)
        (density, channels), (same_density, others) = (field(positions, directions()) for _ in range(2))
        assert torch.equal(density, same_density)
        assert torch.equal(channels, others) is not view_dependent


@pytest.mark.parametrize("settings", [{"features": 0}, {"scales": ()}, {"resolution": 1}, {"scales": (1, 0)}])
def test_configs_without_planes(settings):
    with pytest.raises(ValueError, match="K-Planes field: expected features > 0, at least one scale, and at least 2"):
        field_of(**settings)
