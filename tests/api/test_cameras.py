"""Rings of cameras about scenes, and camera paths of the viewer."""

import json
import math

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from tiny import camera_of, camera_path_of

from latent_nerfstudio.api.cameras import (
    Ring,
    arc_of,
    camera_path,
    focus_of,
    orbit,
    ring_in_box,
    ring_of,
    up_of,
    walk_together,
)
from latent_nerfstudio.latent_space.cameras import pinhole_cameras
from latent_nerfstudio.meshes.viewpoints import hemisphere

BOX = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 4.0]])
WIDE = torch.tensor([[-20.0] * 3, [20.0] * 3])


def test_turns_by_hand():
    """Four views at no elevation, all upright: along x, y, -x and -y. A ring that sways stays in its arc and comes
    back."""
    cameras = orbit(4, size=32, radius=2.0, elevation=0.0, center=(1.0, 0.0, 0.0))
    eyes = torch.tensor([[3.0, 0, 0], [1, 2, 0], [-1, 0, 0], [1, -2, 0]])
    torch.testing.assert_close(cameras.camera_to_worlds[:, :, 3], eyes, atol=1e-6, rtol=0)
    ups = torch.tensor([[0.0, 0.0, 1.0]]).expand(4, 3)
    torch.testing.assert_close(cameras.camera_to_worlds[:, :, 1], ups, atol=1e-6, rtol=0)
    assert (int(cameras.height[0]), int(cameras.width[3]), float(cameras.fx[0])) == (32, 32, 35.0)
    ring = Ring(middle=90.0, sweep=60.0, elevation=0.0)
    eyes = ring.walk(8)[:, :3, 3]
    azimuths = np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))
    assert azimuths[[0, 2, 4, 6]] == pytest.approx([90, 120, 90, 60])
    assert azimuths[1] == pytest.approx(azimuths[3])


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 2.0, -0.5)])
def test_all_cameras_of_a_ring_look_at_its_middle(up):
    ring = Ring(center=(0.3, -0.2, 0.1), radius=1.7, elevation=40.0, up=up)
    poses = ring.walk(9)
    rotations = poses[:, :3, :3]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (9, 1, 1)), atol=1e-9)
    assert np.linalg.det(rotations) == pytest.approx(np.ones(9))
    np.testing.assert_allclose(poses[:, :3, 3] - 1.7 * poses[:, :3, 2], np.tile(ring.center, (9, 1)), atol=1e-9)
    axis = np.array(up) / np.linalg.norm(up)
    heights = (poses[:, :3, 3] - np.array(ring.center)) @ axis
    assert heights == pytest.approx(np.full(9, 1.7 * math.sin(math.radians(40))))


def test_rings_of_cameras_that_stand_on_any_axis_or_saw_one_side():
    poses = hemisphere(200, seed=3, radius=1.3)
    poses[:, :3, 3] += [0.5, 0.0, 0.0]
    ring = ring_of(pinhole_cameras(poses, [(70.0, 72.0)], 48, 64), WIDE)
    assert ring.center == pytest.approx((0.5, 0.0, 0.0), abs=1e-6)
    assert ring.radius == pytest.approx(1.3) and ring.up == (0.0, 0.0, 1.0) and ring.sweep == 360.0
    half_way = math.degrees(math.asin(math.sin(math.radians(75)) / 2))  # uniform in height
    assert ring.elevation == pytest.approx(half_way, abs=0.5)
    assert (ring.height, ring.width, ring.focal) == (48, 64, (70.0, 72.0))
    seen = Ring(up=(0.0, 1.0, 0.0), middle=30.0, sweep=100.0, elevation=10.0, radius=2.0)
    ring = ring_of(seen.cameras(40), BOX)
    assert ring.up == (0.0, 1.0, 0.0)
    assert (ring.middle, ring.sweep) == (pytest.approx(30.0, abs=1e-3), pytest.approx(100.0, abs=1e-3))
    assert ring.elevation == pytest.approx(10.0, abs=1e-3)
    cameras = Ring(width=64, height=32).cameras(6)
    cameras.camera_type = torch.full_like(cameras.camera_type, CameraType.FISHEYE.value)
    assert ring_of(cameras, BOX).focal == (70.0, 70.0), "fisheye cameras lend no lens"


def test_lines_of_sight_that_tell_no_middle():
    poses = np.tile(np.eye(4)[:3], (3, 1, 1))
    poses[:, 0, 3] = [0.0, 1.0, 2.0]
    assert focus_of(poses, BOX) == pytest.approx([0.0, 0.0, 2.0])  # parallel: the box's middle
    outside = Ring(center=(9.0, 0.0, 0.0)).walk(5)[:, :3]
    assert focus_of(outside, BOX) == pytest.approx([0.0, 0.0, 2.0])
    assert focus_of(outside, WIDE) == pytest.approx([9.0, 0.0, 0.0])


def test_arcs_and_ups_by_hand():
    assert arc_of(np.array([350.0, 10.0, 30.0])) == (pytest.approx(10.0), pytest.approx(40.0))
    assert arc_of(np.array([0.0, 80.0, 160.0, 240.0, 320.0])) == (0.0, 360.0)
    assert arc_of(np.array([100.0, 260.0, 200.0])) == (pytest.approx(180.0), pytest.approx(160.0))
    assert arc_of(np.array([5.0])) == (0.0, 360.0)
    tilted = np.tile(np.eye(4)[:3], (2, 1, 1))
    tilted[:, :, 1] = [0.1, 0.2, -0.97]
    assert up_of(tilted).tolist() == [0.0, 0.0, -1.0]
    tilted[:, :, 1] = np.array([0.6, 0.6, 0.53])
    assert up_of(tilted) == pytest.approx(np.array([0.6, 0.6, 0.53]) / np.linalg.norm([0.6, 0.6, 0.53]))
    tilted[:, :, 1] = [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]
    assert up_of(tilted).tolist() == [0.0, 0.0, 1.0]


def test_rings_in_step_about_a_box_and_of_another_size():
    rings = [Ring(radius=1.0, width=20, height=10, focal=(5.0, 6.0)), Ring(radius=2.0, width=30, height=10)]
    cameras = walk_together(rings, 3)
    assert len(cameras) == 6 and set(cameras.width.flatten().tolist()) == {30}
    distances = cameras.camera_to_worlds[:, :, 3].norm(dim=1)
    torch.testing.assert_close(distances, torch.tensor([1.0, 2.0] * 3))
    assert cameras.fy.flatten().tolist() == [6.0, 140.0] * 3
    ring = ring_in_box(BOX)
    assert ring.center == (0.0, 0.0, 2.0) and ring.radius == pytest.approx(1.3 * 4)
    smaller = Ring(height=100, width=151, focal=(75.5, 80.0)).resized(50)
    assert (smaller.height, smaller.width, smaller.focal) == (50, 76, (38.0, 40.0))


PATH = json.dumps(camera_path_of(camera_of(30, 20), 20, 30))


def test_a_camera_path_of_the_viewer(tmp_path):
    (tmp_path / "path.json").write_text(json.dumps(camera_path_of(camera_of(30, 20, count=3), 20, 30)))
    cameras = camera_path(tmp_path / "path.json")
    torch.testing.assert_close(cameras.camera_to_worlds, camera_of(30, 20, count=3).camera_to_worlds)
    assert (int(cameras.height[0]), int(cameras.width[0])) == (20, 30)
    assert float(cameras.fy[0]) == pytest.approx(10 / math.tan(math.radians(30)), rel=1e-5)
    (tmp_path / "path.json").write_text(json.dumps({**json.loads(PATH), "crop": {"crop_scale": [1.0, 1.0, 1.0]}}))
    with pytest.warns(UserWarning, match=r"path\.json: its crop is left out; ns-render"):
        camera_path(tmp_path / "path.json")


@pytest.mark.parametrize(
    ("matrix", "fov", "says"),
    [
        ([2.0, 0, 0, 0, 0, 2.0, 0, 0, 0, 0, 2.0, 0, 0, 0, 0, 1.0], 60.0, "'camera 0': expected a rotation, got"),
        ([-1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0], 60.0, "got a mirror image"),
        ([1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 3.0, 1.0], 60.0, "a last row of 0 0 0 1, got 0 0 3 1"),
        (np.eye(4).flatten().tolist(), 200.0, "focal length: expected a positive number of pixels, got"),
    ],
)
def test_poses_of_a_camera_path_that_no_camera_has(tmp_path, matrix, fov, says):
    content = json.loads(PATH)
    content["camera_path"][0].update(camera_to_world=matrix, fov=fov)
    (tmp_path / "path.json").write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        camera_path(tmp_path / "path.json")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ('{"camera_path": [' + "0," * 100_000 + "0]}", "expected 100,000 cameras at most, got 100,001"),
        ('{"render_height": 20}', "KeyError: 'render_width'"),
        (PATH.replace("60.0", "NaN"), "NaN or infinity"),
        (PATH.replace("[", "[1, "), "expected a camera path of the viewer"),
    ],
)
def test_what_is_no_camera_path(tmp_path, text, got):
    (tmp_path / "path.json").write_text(text)
    with pytest.raises(ValueError, match=r"path\.json: expected .*; (name a JSON file|split it)") as error:
        camera_path(tmp_path / "path.json")
    assert got in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"none\.json: expected a file, got nothing"):
        camera_path(tmp_path / "none.json")
