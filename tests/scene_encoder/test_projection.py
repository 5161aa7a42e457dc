"""Where points are seen in photos, and what is sampled there: hand values, and rays of Nerfstudio's cameras."""

import torch
from tiny import camera_of

from latent_nerfstudio.latent_space.cameras import intrinsics_of
from latent_nerfstudio.scene_encoder.projection import (
    grid_points,
    pixel_directions,
    project,
    sample_pictures,
    spread_views,
    visible,
)

POSE = torch.tensor([[[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2]]]])
INTRINSICS = torch.tensor([[[10.0, 20.0, 4.0, 3.0]]])


def test_hand_values_of_a_camera_on_the_z_axis():
    points = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 3], [4, 0, 0]]])
    places, depth = project(points, POSE, INTRINSICS)
    expected = [[4.0, 3.0], [6.5, 3.0], [4.0, -2.0]]  # column = 10 * 0.5 / 2 + 4, row = -20 * 0.5 / 2 + 3
    torch.testing.assert_close(places[0, 0, :3], torch.tensor(expected))
    torch.testing.assert_close(depth[0, 0], torch.tensor([2.0, 2, 2, -1, 2]))
    assert visible(places, depth, rows=6, cols=8)[0, 0].tolist() == [True, True, False, False, False]


def test_points_along_rays_of_nerfstudio_cameras_fall_on_their_pixels():
    cameras = camera_of(9, 7, count=3)
    pixels = torch.stack(torch.meshgrid(torch.arange(7), torch.arange(9), indexing="ij"), dim=-1).view(-1, 2)
    for index in range(3):
        rays = cameras.generate_rays(camera_indices=index, coords=pixels + 0.5)
        points = rays.origins + rays.directions * torch.linspace(0.5, 4, len(pixels))[:, None]
        places, depth = project(
            points[None], cameras.camera_to_worlds[None, index : index + 1], intrinsics(cameras, index)
        )
        torch.testing.assert_close(places[0, 0], pixels.flip(1) + 0.5, atol=1e-3, rtol=0)
        assert bool((depth > 0).all())
        directions = pixel_directions(
            cameras.camera_to_worlds[None, index : index + 1], intrinsics(cameras, index), 7, 9
        )
        torch.testing.assert_close(directions[0, 0].flatten(1).T, rays.directions, atol=1e-5, rtol=0)


def intrinsics(cameras, index):
    return intrinsics_of(cameras)[None, index : index + 1]


def test_pixel_centres_have_their_own_value_and_points_between_them_a_mixture():
    picture = torch.arange(12.0).view(1, 1, 1, 3, 4)
    places = torch.tensor([[0.5, 0.5], [3.5, 2.5], [1.0, 0.5], [2.0, 1.0], [-9, -9]])[None, None]
    values = sample_pictures(picture, places)[0, 0, :, 0]
    torch.testing.assert_close(values, torch.tensor([0.0, 11.0, 0.5, 3.5, 0.0]))


def test_the_grid_reaches_from_corner_to_corner():
    points = grid_points(3)
    assert points.shape == (27, 3) and points[0].tolist() == [-1, -1, -1] and points[-1].tolist() == [1, 1, 1]
    assert points[1].tolist() == [-1, -1, 0]


def test_views_far_apart_whatever_their_order():
    line = torch.tensor([0.0, 0.1, 4.0, 9.0, 10.0])[:, None] * torch.eye(3)[:1]  # their middle is at 4.62
    assert spread_views(line, 2).tolist() == [0, 4]
    assert spread_views(line, 3).tolist() == [0, 2, 4]
    assert spread_views(line, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread_views(torch.zeros(3, 3), 2).tolist() == [0, 1]
    positions, order = torch.rand(40, 3), torch.randperm(40)
    torch.testing.assert_close(order[spread_views(positions[order])].sort()[0], spread_views(positions))
