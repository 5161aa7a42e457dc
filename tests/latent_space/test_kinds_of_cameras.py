"""Kinds of cameras, and the rays of pinhole ones, against Nerfstudio's."""

import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from tiny import camera_of, equirectangular

from latent_nerfstudio.latent_space.cameras import (
    check_pinhole,
    intrinsics_of,
    is_panorama,
    is_pinhole,
    is_stereo,
    pinhole_directions,
    pixels_per_radian,
)


def changed(**settings):
    cameras = camera_of(9, 7, count=3)
    for name, value in settings.items():
        setattr(cameras, name, value)
    return cameras


DISTORTION = torch.tensor([0.1, -0.02, 0, 0, 0.01, 0]).expand(3, 6)
FISHEYE = torch.tensor([[CameraType.PERSPECTIVE.value]] * 2 + [[CameraType.FISHEYE.value]])


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({}, ""),
        ({"distortion_params": 0 * DISTORTION}, ""),
        ({"distortion_params": DISTORTION}, "distorted ones"),
        ({"camera_type": FISHEYE}, "FISHEYE"),
    ],
)
def test_what_is_a_pinhole_camera(settings, got):
    cameras = changed(**settings)
    assert is_pinhole(cameras) == (not got)
    if got:
        with pytest.raises(ValueError, match=f"photos: expected perspective cameras .*, got {got}; leave"):
            check_pinhole(cameras, "photos", "leave them out")


def test_directions_are_those_of_nerfstudio():
    cameras = changed()
    directions = pinhole_directions(intrinsics_of(cameras), 7, 9)
    world = torch.einsum("nij,nhwj->nhwi", cameras.camera_to_worlds[..., :3], directions)
    for index in range(3):
        rays = cameras.generate_rays(camera_indices=index, keep_shape=True)
        torch.testing.assert_close(world[index], rays.directions * rays.metadata["directions_norm"])


def test_what_is_a_panorama_and_what_sees_with_one_of_two_eyes():
    assert is_panorama(equirectangular(20, 40)) and is_panorama(equirectangular(20, 30))
    assert is_panorama(equirectangular(20, 40, camera_type=CameraType.OMNIDIRECTIONALSTEREO_R))
    assert not is_panorama(equirectangular(20, 40, fx=40.0))  # half the way around
    assert not is_panorama(equirectangular(20, 40, fy=25.0))
    assert not is_panorama(equirectangular(20, 40, camera_type=CameraType.PERSPECTIVE))
    one_eye = equirectangular(20, 40, camera_type=CameraType.VR180_L)
    assert not is_panorama(one_eye) and is_stereo(one_eye) and not is_stereo(changed())


def test_pixels_per_radian():
    """Counted between neighbouring rays in the middle of each picture."""
    for camera in (camera_of(400, 400, focal=90.0), equirectangular(400, 800)):
        rays = camera.generate_rays(camera_indices=0, keep_shape=True).directions
        middle = rays.shape[1] // 2
        angle = torch.arccos((rays[200, middle].double() * rays[199, middle].double()).sum())
        assert pixels_per_radian(camera) == pytest.approx(1 / float(angle), rel=0.02)
