"""Rays against the box, and compositing, against loops and hand values."""

import math

import pytest
import torch
from nerfstudio.cameras.rays import Frustums, RaySamples

from latent_nerfstudio.fields.boxes import intersect_box
from latent_nerfstudio.models.rendering import composite, ray_weights

BOX = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 0.5, 3.0]])


def test_intersections_against_marching():
    origins, aims = torch.rand(200, 3) * 8 - 4, torch.rand(200, 3) * 4 - 2
    directions = torch.nn.functional.normalize(aims - origins, dim=-1)
    entry, leave, hit = intersect_box(origins, directions, BOX)
    distances = torch.arange(0, 15, 0.005)
    points = origins[:, None] + directions[:, None] * distances[None, :, None]
    inside = ((points >= BOX[0]) & (points <= BOX[1])).all(dim=-1)
    assert 20 < int(hit.sum()) < 180
    for ray in range(200):
        if bool(inside[ray].any()):
            where = distances[inside[ray]]
            assert bool(hit[ray])
            assert float(entry[ray]) == pytest.approx(float(where[0]), abs=0.006)
            assert float(leave[ray]) == pytest.approx(float(where[-1]), abs=0.006)
        elif bool(hit[ray]):
            assert float(leave[ray] - entry[ray]) < 0.006


@pytest.mark.parametrize(
    ("origin", "direction", "near", "expected"),
    [
        ([-3.0, 0.0, 1.0], [1.0, 0.0, 0.0], 0.0, (2, 4, True)),
        ([-3.0, 0.0, 1.0], [1.0, 0.0, 0.0], 3.0, (3, 4, True)),
        ([-3.0, 0.0, 1.0], [1.0, 0.0, 0.0], 4.5, (4.5, 4, False)),  # the box is nearer than near
        ([-3.0, 0.25, 1.0], [1.0, 0.0, 0.0], 0.0, (2, 4, True)),  # parallel to a face, and beside it
        ([-3.0, 0.75, 1.0], [1.0, 0.0, 0.0], 0.0, False),
        ([-3.0, -2.5, 1.0], [1.0, 0.0, 0.0], 0.0, False),
        ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0], 0.1, (0.1, 2, True)),  # from within
        ([-3.0, 0.0, 1.0], [-1.0, 0.0, 0.0], 0.0, False),  # away from it
        ([0.0, -3.0, 1.0], [0.5**0.5, 0.5**0.5, 0.0], 0.0, (2**0.5, 2**0.5, False)),  # along an edge
    ],
)
def test_intersections_by_hand(origin, direction, near, expected):
    entry, leave, hit = intersect_box(torch.tensor([origin]), torch.tensor([direction]), BOX, near)
    if expected is False:
        assert not bool(hit)
    else:
        assert (float(entry), float(leave), bool(hit)) == pytest.approx(expected)


def samples_of(starts, ends):
    zero, one = torch.zeros(1, len(starts), 3), torch.ones(1, len(starts), 1)
    return RaySamples(Frustums(zero, zero, *(torch.tensor(x)[None, :, None] for x in (starts, ends)), one))


def test_compositing_against_a_loop():
    bounds = [1.0, 1.2, 1.5, 1.6, 2.0, 2.5]
    density, channels = torch.rand(1, 5) * 4, torch.randn(1, 5, 7)
    samples = samples_of(bounds[:-1], bounds[1:])
    result = composite(samples, ray_weights(samples, density), channels)
    transmittance, total, distance, opacity = 1.0, torch.zeros(7), 0.0, 0.0
    for i in range(5):
        alpha = 1 - math.exp(-float(density[0, i]) * (bounds[i + 1] - bounds[i]))
        total += transmittance * alpha * channels[0, i]
        distance += transmittance * alpha * (bounds[i] + bounds[i + 1]) / 2
        opacity += transmittance * alpha
        transmittance *= 1 - alpha
    torch.testing.assert_close(result["latent"][0], total)
    assert float(result["accumulation"]) == pytest.approx(opacity, rel=1e-5)
    assert float(result["depth"]) == pytest.approx(distance + (1 - opacity) * 2.5, rel=1e-5)
