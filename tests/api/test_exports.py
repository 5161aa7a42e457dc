"""Point clouds and meshes of a ball of known density, opened by trimesh."""

import math

import numpy as np
import pytest
import torch
import trimesh
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.api.cameras import Ring, depth_along_ray, depth_along_z, look_at, orbit, pixel_directions
from latent_nerfstudio.api.scenes import Pictures, Scenes
from latent_nerfstudio.api.surfaces import PointCloud, cameras_about, linear, mesh, save_mesh, surface_points
from latent_nerfstudio.fields.placement import Placement

RADIUS, CENTER = 0.5, (0.1, -0.2, 0.0)


class Ball(Scenes):
    """A ball whose upper half is red and whose lower half is blue, as a scene would show it."""

    def density(self, name, points):
        outside = (points - torch.tensor(CENTER)).norm(dim=1) - RADIUS
        return math.log(2) / 0.04 * (-20 * outside).exp()  # the default level of a box of 2 on the surface

    def render(self, scene, cameras):
        directions = pixel_directions(cameras)
        away = cameras.camera_to_worlds[:, None, None, :, 3] - torch.tensor(CENTER)
        along = (away * directions).sum(-1, keepdim=True)
        under = along**2 - (away**2).sum(-1, keepdim=True) + RADIUS**2
        depth = torch.where(under > 0, -along - under.clamp(min=0).sqrt(), torch.full_like(under, 9.0))
        height = (cameras.camera_to_worlds[:, None, None, :, 3] + depth * directions)[..., 2:]
        rgb = torch.where(height > 0, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
        solid = (under > 0).float()
        return Pictures(rgb, rgb, depth, solid, torch.zeros(len(rgb), 4, 1, 1))


@pytest.fixture
def ball(kl):
    ring = Ring(CENTER, 2.5, 10.0, height=64, width=64, focal=(90.0, 90.0))
    return Ball(latent_model_of(kl, nerf=small_nerf()), "here", rings={"a": ring})


def from_center(positions) -> np.ndarray:
    return np.linalg.norm(np.asarray(positions) - CENTER, axis=1)


def test_points_lie_on_the_ball_and_show_it(ball, tmp_path):
    cloud = ball.point_cloud("a", views=6, points=2000)
    assert len(cloud) == 2000 and abs(from_center(cloud.positions) - RADIUS).max() < 1e-3
    assert ((cloud.colors[:, 0] == 255) == (cloud.positions[:, 2] > 0)).all()
    read = trimesh.load(cloud.save(tmp_path / "x.ply"))
    np.testing.assert_allclose(read.vertices, cloud.positions, atol=1e-6)
    assert (np.asarray(read.colors)[:, :3] == cloud.colors).all()
    again = ball.point_cloud("a", views=6, points=2000)
    assert (again.positions == cloud.positions).all()


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e5])
def test_the_share_of_what_lies_behind_is_taken_out(unit):
    """A wall at z = 0 of opacity 0.95, whose depth ends at the box's side z = -1 for the rest, in units of any size."""
    cameras, box = look_at([0.0, 0.0, 2.0 * unit], size=9, fov=20.0), torch.tensor([[-unit] * 3, [unit] * 3])
    flat = torch.full((1, 9, 9, 1), unit * (0.95 * 2.0 + 0.05 * 3.0))
    opacity = torch.full_like(flat, 0.95)
    rgb = torch.zeros(1, 9, 9, 3)
    pictures = Pictures(rgb, rgb, depth_along_ray(flat, cameras), opacity, torch.zeros(1, 4, 1, 1))
    positions, shown = surface_points(pictures, cameras, box)
    assert bool(shown.all()) and float(positions[..., 2].abs().max()) < 1e-5 * unit


def test_the_mesh_is_the_ball(ball, tmp_path):
    surface = mesh(ball, "a", resolution=48, views=6)
    assert surface.is_watertight and abs(surface.volume / (4 / 3 * math.pi * RADIUS**3) - 1) < 0.01
    assert abs(from_center(surface.vertices) - RADIUS).max() < 0.01
    colors = np.asarray(surface.visual.vertex_colors)
    clear = abs(surface.vertices[:, 2]) > 0.1
    assert ((colors[clear, 0] > 200) == (surface.vertices[clear, 2] > 0)).all()
    turned = trimesh.load(save_mesh(surface, tmp_path / "x.glb"), force="mesh")
    assert abs(turned.volume - surface.volume) < 1e-4  # y is up
    np.testing.assert_allclose(np.sort(turned.vertices[:, 1]), np.sort(surface.vertices[:, 2]), atol=1e-5)
    for name in ("x.ply", "x.obj"):
        assert len(trimesh.load(save_mesh(surface, tmp_path / name), force="mesh").faces) == len(surface.faces)


def test_linear_light_and_depth_along_z():
    """188 is the middle of sRGB's light, 12.92 the slope of its beginning."""
    got = linear(np.array([[0, 188, 255, 7], [5, 5, 5, 255]], dtype=np.uint8))
    assert got.tolist() == [[0, 128, 255, 7], [0, 0, 0, 255]]
    cameras = orbit(views=3, size=12)
    depth = torch.rand(3, 12, 12, 1) + 1
    torch.testing.assert_close(depth_along_ray(depth_along_z(depth, cameras), cameras), depth)
    corner = depth_along_z(depth, cameras)[0, 0, 0] / depth[0, 0, 0]
    focal = float(cameras.fx[0])
    assert float(corner) == pytest.approx(1 / math.sqrt(1 + 2 * (5.5 / focal) ** 2), rel=1e-5)


def test_what_cannot_be_exported(ball, tmp_path):
    with pytest.raises(ValueError, match="density on both sides of 1e\\+09, got .*; choose another --level"):
        mesh(ball, "a", resolution=16, level=1e9)
    for values in ({"resolution": 4}, {"resolution": 9999}, {"level": float("nan")}):
        with pytest.raises(ValueError, match="expected .* got .*; try"):
            mesh(ball, "a", **values)
    for views in (0, 10**9):
        for make in (ball.point_cloud, ball.mesh):
            with pytest.raises(ValueError, match=f"views: expected 1 to 1000, got {views}; try 24"):
                make("a", views=views)
    with pytest.raises(ValueError, match="points: expected at least 1, got 0"):
        ball.point_cloud("a", points=0)
    with pytest.raises(ValueError, match="output: expected a .ply file"):
        PointCloud(np.zeros((1, 3)), np.zeros((1, 3), np.uint8)).save(tmp_path / "x.pcd")


def test_density_is_the_fields_own(kl):
    """Of one scene at points in world units, and nothing outside of the box."""
    scenes = Scenes(latent_model_of(kl, nerf=small_nerf()), "here")
    points = torch.rand(20, 3) - 0.5
    field, nerf = scenes.model.nerf.field, scenes.model.nerf
    slots = torch.zeros(20, dtype=torch.long)
    wanted, _ = field(nerf.normalize(points), slots, field.scene_planes(torch.tensor([1])))
    torch.testing.assert_close(scenes.density("b", points), wanted.detach())
    assert float(scenes.density("b", points + 100).max()) == 0
    scenes.model.place([Placement(), Placement(2.0, (0.1, 0.0, 0.0))])  # the field's point is 2 x + 0.1
    own = (points - torch.tensor([0.1, 0.0, 0.0])) / 2
    torch.testing.assert_close(scenes.density("b", own), 2 * wanted.detach())


@pytest.mark.parametrize("views", [1, 6, 7, 24])
def test_views_of_a_surface_are_from_different_sides(views):
    places = torch.cat([cameras.camera_to_worlds[:, :2, 3] for cameras in cameras_about(Ring(), views)])
    azimuths = torch.atan2(places[:, 1], places[:, 0]).rad2deg() % 360
    gaps = azimuths.sort().values.diff(append=azimuths.min()[None] + 360)
    assert gaps.tolist() == pytest.approx([360 / views] * views, abs=1e-3)
