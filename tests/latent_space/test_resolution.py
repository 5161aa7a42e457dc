"""Sizes, the cameras whose pixels are latent pixels, and kinds of cameras and their rays."""

from copy import deepcopy

import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from tiny import camera_of, equirectangular

from latent_nerfstudio.latent_space.cameras import (
    check_pinhole,
    is_panorama,
    is_pinhole,
    is_stereo,
    pixels_per_radian,
)
from latent_nerfstudio.latent_space.resolution import (
    around_sphere,
    latent_cameras,
    latent_size,
    pad_to_multiple,
    repeat_pixels,
    resized_cameras,
)

SIZES = [(37, 53), (203, 101), (1, 1), (8, 9)]


def test_padding_repeats_the_border_and_keeps_what_fits():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert pad_to_multiple(image, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(image, 1) is image


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("factor", [1, 4, 8])
def test_a_latent_ray_is_the_mean_of_the_rays_of_its_pixels(height, width, factor):
    cameras = camera_of(width, height, count=2)
    rows, columns = latent_size(height, width, factor)
    assert (rows - 1) * factor < height <= rows * factor and (columns - 1) * factor < width <= columns * factor
    assert pad_to_multiple(torch.zeros(1, 2, height, width), factor).shape == (1, 2, rows * factor, columns * factor)
    padded = deepcopy(cameras)
    padded.height, padded.width = padded.height * 0 + rows * factor, padded.width * 0 + columns * factor
    scaled = latent_cameras(cameras, factor)
    assert (scaled.height.flatten().tolist(), scaled.width.flatten().tolist()) == ([rows] * 2, [columns] * 2)
    for index in range(2):
        rays = scaled.generate_rays(camera_indices=index, keep_shape=True)
        pixels = padded.generate_rays(camera_indices=index, keep_shape=True)
        # Before they are made unit vectors, directions are affine in the pixel, so their mean is exact.
        directions = pixels.directions * pixels.metadata["directions_norm"]
        mean = directions.view(rows, factor, columns, factor, 3).mean(dim=(1, 3))
        torch.testing.assert_close(rays.directions * rays.metadata["directions_norm"], mean, atol=1e-5, rtol=0)
        torch.testing.assert_close(rays.origins, pixels.origins[:rows, :columns])


def test_intrinsics_are_divided_as_floats_and_the_argument_is_left_alone():
    cameras = camera_of(37, 53, focal=41.0, scene=3)
    before = deepcopy(cameras)
    scaled = latent_cameras(cameras, 8)
    for name in ("fx", "fy", "cx", "cy"):
        assert torch.equal(getattr(scaled, name), getattr(before, name) / 8)
        assert torch.equal(getattr(cameras, name), getattr(before, name))
    assert (int(cameras.height), int(cameras.width), int(scaled.height), int(scaled.width)) == (53, 37, 7, 5)
    assert scaled.metadata["scene_index"].tolist() == [[3]]
    scaled.metadata["scene_index"] += 1
    assert cameras.metadata["scene_index"].tolist() == [[3]]
    cameras = camera_of(20, 20, count=2)
    cameras.width = torch.tensor([[20], [33]])
    scaled = latent_cameras(cameras, 8)
    assert scaled.width.flatten().tolist() == [3, 5] and scaled.height.flatten().tolist() == [3, 3]


def test_pixels_are_repeated_and_cropped():
    image = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    assert repeat_pixels(image, 2, 3, 4)[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    assert torch.equal(repeat_pixels(image, 1, 2, 2), image)


def test_resized_cameras_show_the_same_between_the_same_borders():
    cameras = camera_of(37, 53, count=2, scene=1)
    before = deepcopy(cameras)
    resized = resized_cameras(cameras, 16, 12)
    assert (resized.height.flatten().tolist(), resized.width.flatten().tolist()) == ([16, 16], [12, 12])
    for size, focal, centre in (("width", "fx", "cx"), ("height", "fy", "cy")):
        for edge in (0.0, 1.0):  # the tangent of the angle at which each border lies
            tangents = [(edge * getattr(c, size) - getattr(c, centre)) / getattr(c, focal) for c in (before, resized)]
            torch.testing.assert_close(*tangents)
    assert {name: str(value) for name, value in vars(cameras).items()} == {n: str(v) for n, v in vars(before).items()}


def test_beyond_the_borders_of_a_panorama_lies_its_other_side():
    """The rays of a panorama with a margin are those of the panorama, wherever they leave it."""
    height, width, margin = 6, 8, 3
    rays = equirectangular(height, width).generate_rays(camera_indices=0, keep_shape=True).directions
    sides = (torch.arange(-margin, side + margin) + 0.5 for side in (height, width))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    around, down = -torch.pi * (columns / width * 2 - 1), torch.pi * rows / height  # longitude, colatitude
    expected = torch.stack([-around.sin() * down.sin(), down.cos(), -around.cos() * down.sin()], dim=-1)
    torch.testing.assert_close(around_sphere(rays, margin), expected, atol=1e-5, rtol=0)
    assert torch.equal(around_sphere(rays, 0), rays)


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
