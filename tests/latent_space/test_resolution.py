"""Sizes, and the cameras whose pixels are latent pixels."""

from copy import deepcopy

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from tiny import camera_of

from latent_nerfstudio.latent_space.resolution import (
    around_sphere,
    enlarge,
    is_panorama,
    latent_cameras,
    latent_size,
    pad_to_multiple,
    pixels_per_radian,
    resized_cameras,
)

SIZES = [(37, 53), (40, 56), (203, 101), (1, 1), (8, 9)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_latent_size_is_what_covers_the_image(height, width, factor):
    rows, columns = latent_size(height, width, factor)
    assert (rows - 1) * factor < height <= rows * factor
    assert (columns - 1) * factor < width <= columns * factor
    padded = pad_to_multiple(torch.zeros(1, 2, height, width), factor)
    assert padded.shape == (1, 2, rows * factor, columns * factor)


def test_padding_repeats_the_border_and_keeps_what_fits():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert pad_to_multiple(image, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(image, 1) is image


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_latent_ray_is_the_mean_of_the_rays_of_its_pixels(height, width, factor):
    cameras = camera_of(width, height, count=2)
    rows, columns = latent_size(height, width, factor)
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


def test_cameras_of_different_sizes():
    cameras = camera_of(20, 20, count=2)
    cameras.width = torch.tensor([[20], [33]])
    scaled = latent_cameras(cameras, 8)
    assert scaled.width.flatten().tolist() == [3, 5] and scaled.height.flatten().tolist() == [3, 3]


def test_enlarging_repeats_and_crops():
    image = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    assert enlarge(image, 2, 3, 4)[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    assert torch.equal(enlarge(image, 1, 2, 2), image)


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


# Panoramas


def equirectangular(height, width, **settings):
    size = {"cx": width / 2, "cy": height / 2, "width": width, "height": height}
    intrinsics = {"fx": width / 2, "fy": float(height), "camera_type": CameraType.EQUIRECTANGULAR, **size, **settings}
    return Cameras(torch.eye(4)[None, :3], **intrinsics)


def test_what_is_a_panorama():
    assert is_panorama(equirectangular(20, 40)) and is_panorama(equirectangular(20, 30))
    assert is_panorama(equirectangular(20, 40, camera_type=CameraType.OMNIDIRECTIONALSTEREO_R))
    assert not is_panorama(equirectangular(20, 40, fx=40.0))  # half the way around
    assert not is_panorama(equirectangular(20, 40, fy=25.0))
    assert not is_panorama(equirectangular(20, 40, camera_type=CameraType.PERSPECTIVE))
    assert not is_panorama(equirectangular(20, 40, camera_type=CameraType.VR180_L))


def test_pixels_per_radian():
    """Counted between neighbouring rays in the middle of each picture."""
    for camera in (camera_of(400, 400, focal=90.0), equirectangular(400, 800)):
        rays = camera.generate_rays(camera_indices=0, keep_shape=True).directions
        middle = rays.shape[1] // 2
        angle = torch.arccos((rays[200, middle].double() * rays[199, middle].double()).sum())
        assert pixels_per_radian(camera) == pytest.approx(1 / float(angle), rel=0.02)


def test_beyond_the_borders_of_a_panorama_lies_its_other_side():
    """The rays of a panorama with a margin are those of the panorama, wherever they leave it."""
    height, width, margin = 6, 8, 3
    rays = equirectangular(height, width).generate_rays(camera_indices=0, keep_shape=True).directions
    rows, columns = torch.meshgrid(
        torch.arange(-margin, height + margin) + 0.5, torch.arange(-margin, width + margin) + 0.5, indexing="ij"
    )
    around, down = -torch.pi * (columns / width * 2 - 1), torch.pi * rows / height  # longitude, colatitude
    expected = torch.stack([-around.sin() * down.sin(), down.cos(), -around.cos() * down.sin()], dim=-1)
    torch.testing.assert_close(around_sphere(rays, margin), expected, atol=1e-5, rtol=0)
    assert torch.equal(around_sphere(rays, 0), rays)
