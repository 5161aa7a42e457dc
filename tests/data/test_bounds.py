"""Boxes, and boxes carved from silhouettes."""

import numpy as np
import pytest
from scene_folders import ball_mask, poses_around

from latent_nerfstudio.data.bounds import (
    camera_focus,
    can_carve,
    scaled_box,
    silhouette_bounds,
    spread_views,
    transformed_box,
    union_of_boxes,
)


def carve(masks, poses, focal=131.25, centre=(64.0, 64.0)):
    """The box of masks that cameras of one lens took."""
    return silhouette_bounds(masks, poses[:, :3], np.tile([focal, focal, *centre], (len(poses), 1)))


def carve_ball(poses, size=128):
    focal = 131.25 * size / 128
    return carve([ball_mask(pose, focal, size, 0.6) for pose in poses], poses, focal, (size / 2, size / 2))


def test_boxes_by_hand():
    """Their union; one that is scaled about its centre; one after a quarter turn, a shift and a scale."""
    boxes = np.array([[[0, 0, 0], [1, 1, 1]], [[-1, 0.5, 0], [0, 2, 0.5]]], dtype=float)
    np.testing.assert_array_equal(union_of_boxes(boxes), [[-1, 0, 0], [1, 2, 1]])
    box = np.array([[1.0, 0.0, -2.0], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(scaled_box(box, 2.0), [[0.0, -0.5, -4.0], [4.0, 1.5, 4.0]])
    np.testing.assert_array_equal(scaled_box(box, 1.0), box)
    turn = np.array([[0.0, -1.0, 0.0, 10.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    box = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(transformed_box(box, turn, 0.5), [[4.0, 0.0, 0.0], [5.0, 0.5, 1.5]])


def test_transformed_box_holds_every_transformed_point():
    rng = np.random.default_rng(0)
    transform = poses_around(1, seed=3)[0, :3]
    box = np.array([[-1.0, -2.0, 0.0], [0.5, 1.0, 3.0]])
    points = rng.uniform(box[0], box[1], size=(500, 3)) @ transform[:, :3].T + transform[:, 3]
    moved = transformed_box(box, transform, 2.0)
    assert (2 * points >= moved[0]).all() and (2 * points <= moved[1]).all()


def test_spread_views_takes_the_farthest_next_and_each_once_even_at_one_place():
    positions = np.array([[0.0, 0, 0], [0.1, 0, 0], [10.0, 0, 0], [5.0, 0, 0]])
    np.testing.assert_array_equal(spread_views(positions, 3), [0, 2, 3])
    assert sorted(spread_views(np.zeros((5, 3)), 9).tolist()) == [0, 1, 2, 3, 4]


def test_camera_focus_is_where_the_axes_meet_and_in_the_middle_of_parallel_ones():
    poses = poses_around(6)[:, :3]
    poses[:, :, 3] += [1.0, 2.0, 3.0]
    np.testing.assert_allclose(camera_focus(poses), [1.0, 2.0, 3.0], atol=1e-4)
    poses = np.tile(np.eye(4)[:3], (4, 1, 1))
    poses[:, 0, 3] = [0.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(camera_focus(poses), [1.5, 0.0, 0.0], atol=1e-4)


@pytest.mark.parametrize("size", [40, 128, 400])
def test_carved_box_holds_the_ball_and_is_tight(size):
    box = carve_ball(poses_around(24), size)
    assert (box[0] <= -0.6).all() and (box[1] >= 0.6).all()
    assert np.abs(box).max() < 0.68 + 4.0 / size


def test_carved_box_follows_the_scene_and_its_scale():
    poses = poses_around(24, radius=260.0)
    masks = [ball_mask(pose, 131.25, 128, 60.0) for pose in poses]
    poses[:, :3, 3] += [1000.0, 0.0, -500.0]
    box = carve(masks, poses)
    np.testing.assert_allclose(box.mean(axis=0), [1000.0, 0.0, -500.0], atol=8.0)
    assert (box[1] - box[0] < 150.0).all() and (box[1] - box[0] > 120.0).all()


def test_carved_box_holds_a_thin_rod():
    poses = poses_around(24)
    rod = np.stack([np.zeros(4000), np.zeros(4000), np.linspace(-0.8, 0.8, 4000)], axis=1)
    masks = []
    for pose in poses:
        x, y, z = ((rod - pose[:3, 3]) @ pose[:3, :3]).T
        mask = np.zeros((128, 128), dtype=bool)
        mask[(64 + 131.25 * y / z).astype(int), (64 + 131.25 * x / -z).astype(int)] = True
        masks.append(mask)
    box = carve(masks, poses)
    assert box[0, 2] <= -0.8 and box[1, 2] >= 0.8
    assert np.abs(box[:, :2]).max() < 0.2


def test_close_ups_carve_nothing_that_they_do_not_show_and_principal_points_are_respected():
    # The ball fills more than these images, so a point off the image may still be in the scene.
    box = carve_ball(np.concatenate([poses_around(12), poses_around(12, radius=1.0, seed=1)]))
    assert (box[0] <= -0.6).all() and (box[1] >= 0.6).all()
    poses = poses_around(24)
    masks = [np.roll(ball_mask(pose, 131.25, 128, 0.4), (9, -14), axis=(0, 1)) for pose in poses]
    box = carve(masks, poses, centre=(50.0, 73.0))
    assert (box[0] <= -0.4).all() and (box[1] >= 0.4).all() and np.abs(box).max() < 0.52


def test_silhouettes_that_contradict_each_other_are_empty_or_opaque_give_none():
    # Poses in OpenCV's convention, taken for OpenGL's, look away from the scene.
    poses = poses_around(24) @ np.diag([1.0, -1.0, -1.0, 1.0])
    assert carve([ball_mask(pose, 131.25, 128, 0.3) for pose in poses_around(24)], poses) is None
    assert carve([np.zeros((128, 128), dtype=bool)] * 6, poses_around(6)) is None
    assert not can_carve([np.ones((8, 8), dtype=bool)] * 3)
    assert can_carve([np.ones((8, 8), dtype=bool), np.eye(8, dtype=bool)])
