"""Rays through pixel centres, against nerfstudio's own."""

import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from tiny import camera_of

from latent_nerfstudio.data.pixels import pixel_rays


def places_of(count=50):
    return torch.stack([torch.randint(3, (count,)), torch.randint(11, (count,)), torch.randint(17, (count,))], dim=1)


@pytest.mark.parametrize(
    "change", ["nothing", "no distortion", "distortion", "fisheye", "equirectangular", "times", "notes of the viewer"]
)
def test_rays_are_those_of_nerfstudio(change):
    cameras = camera_of(17, 11, count=3, scene=2)
    if change in ("no distortion", "distortion"):
        cameras.distortion_params = torch.tensor([0.1, -0.02, 0, 0, 0.01, 0]).expand(3, 6) * (change == "distortion")
    if change in ("fisheye", "equirectangular"):
        cameras.camera_type = torch.full((3, 1), CameraType[change.upper()].value)
    if change == "notes of the viewer":
        cameras.metadata["cam_idx"] = 0
    if change == "times":
        cameras.times = torch.tensor([[0.0], [0.5], [1.0]])
    places = places_of()
    rays = pixel_rays(cameras, places)
    expected = cameras.generate_rays(camera_indices=places[:, :1], coords=places[:, 1:] + 0.5)
    for name in ("origins", "directions"):
        torch.testing.assert_close(getattr(rays, name), getattr(expected, name), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(rays.pixel_area, expected.pixel_area, atol=1e-6, rtol=0.05)
    assert torch.equal(rays.camera_indices, expected.camera_indices)
    assert torch.equal(rays.times, expected.times) if change == "times" else rays.times is None
    assert set(rays.metadata) == set(expected.metadata)
    for name in ("directions_norm", "scene_index"):
        torch.testing.assert_close(rays.metadata[name], expected.metadata[name])


def test_rays_have_single_precision_whatever_the_intrinsics_have():
    """As `blender-data` gives them."""
    cameras = camera_of(17, 11, count=3)
    expected = pixel_rays(cameras, places := places_of())
    for name in ("fx", "fy", "cx", "cy"):
        setattr(cameras, name, getattr(cameras, name).double())
    rays = pixel_rays(cameras, places)
    for name in ("origins", "directions", "pixel_area"):
        torch.testing.assert_close(getattr(rays, name), getattr(expected, name))
    assert rays.metadata["directions_norm"].dtype == torch.float32
