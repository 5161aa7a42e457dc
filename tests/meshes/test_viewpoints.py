"""Cameras on the hemisphere."""

import numpy as np
import pytest

from latent_nerfstudio.meshes.viewpoints import FOCAL_PER_WIDTH, RADIUS, framing_radius, hemisphere


@pytest.fixture(scope="module")
def poses():
    return hemisphere(300, seed=0)


def test_cameras_stand_upright_above_the_ground_and_look_at_the_origin_from_their_radius(poses):
    origin = np.linalg.inv(poses) @ np.array([0.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(origin[:, :3], np.tile([0.0, 0.0, -1.3], (300, 1)), atol=1e-12)
    assert (poses[:, 2, 3] >= 0.0).all()
    assert poses[:, 2, 3].max() <= 1.3 * np.sin(np.radians(75.0))
    assert (poses[:, 2, 1] > 0.0).all()  # up points up
    np.testing.assert_allclose(poses[:, 2, 0], 0.0, atol=1e-12)  # the horizon is level


def test_cover_is_even_in_area_at_every_length_and_no_direction_far_from_a_camera(poses):
    for views in (20, 60, 300):
        height = poses[:views, 2, 3] / 1.3 / np.sin(np.radians(75.0))
        around = np.arctan2(poses[:views, 1, 3], poses[:views, 0, 3]) / (2 * np.pi) % 1.0
        for values in (height, around):
            uneven = np.abs(np.sort(values) - (np.arange(views) + 0.5) / views).max()
            assert uneven < 2.5 / views**0.75  # a random choice would have about 0.9 / sqrt(views)
    eyes = hemisphere(60, seed=5)[:, :3, 3] / 1.3
    targets = hemisphere(2000, seed=9)[:, :3, 3] / 1.3
    nearest = np.degrees(np.arccos(np.clip(targets @ eyes.T, -1, 1).max(1)))
    assert nearest.max() < 27.0


def test_seed_decides():
    np.testing.assert_array_equal(hemisphere(10, 3), hemisphere(10, 3))
    assert np.abs(hemisphere(10, 3) - hemisphere(10, 4)).max() > 0.01
    np.testing.assert_array_equal(hemisphere(10, 3), hemisphere(40, 3)[:10])


def test_no_camera_cuts_off_what_it_frames():
    """The farthest point of some picture lies on its border, and small things are seen from the usual distance."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    radius = framing_radius(corners, 12, 5)
    worst = 0.0
    for pose in hemisphere(12, 5, radius):
        local = (corners - pose[:3, 3]) @ pose[:3, :3]
        worst = max(worst, float(np.abs(FOCAL_PER_WIDTH * local[:, :2] / local[:, 2:]).max()))
    assert worst == pytest.approx(0.5)
    assert framing_radius(0.2 * corners, 12, 5) == RADIUS
