"""Size, place and orientation."""

import numpy as np
import pytest

from latent_nerfstudio.meshes.surface import unit_box_map


def to_unit_box(triangles, up_axis="z"):
    turn, shift, size = unit_box_map(triangles, up_axis)
    return (triangles @ turn.T + shift) / size


def test_longest_side_is_exactly_one_and_the_middle_is_the_origin():
    triangles = np.random.default_rng(0).uniform(-3.0, 40.0, (50, 3, 3)) * [1.0, 2.0, 0.3]
    points = to_unit_box(triangles).reshape(-1, 3)
    assert (points.max(0) - points.min(0)).max() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(points.max(0), -points.min(0), atol=1e-12)
    assert np.abs(points).max() <= 0.5 + 1e-12


def test_y_up_becomes_z_up():
    triangles = np.array([[[0.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 2.0]]])
    # (x, y, z) -> (x, -z, y), over the longest side 4, centred.
    expected = np.array([[[-0.125, 0.25, -0.5], [0.125, 0.25, 0.5], [-0.125, -0.25, -0.5]]])
    np.testing.assert_allclose(to_unit_box(triangles, "y"), expected)
