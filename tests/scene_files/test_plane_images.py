"""Planes as pictures: composed as the field composes them, and the file of many scenes."""

from dataclasses import replace

import pytest
import torch
from learned import BOTH, MACRO, MICRO, bundle_of, model_of
from safetensors import safe_open

from latent_nerfstudio.scene_files.model_scenes import scene_files_of
from latent_nerfstudio.scene_files.plane_images import plane_images, stacked, write_plane_images

NAMES = ["a", "b", "c"]


@pytest.mark.parametrize("kind", [MICRO, MACRO, BOTH], ids=["micro", "macro", "both"])
def test_planes_are_those_that_the_field_samples(tmp_path, kind):
    """And zeros where a scene has none."""
    model = model_of(NAMES, **kind)
    bundle = bundle_of(tmp_path, model)
    field = model.nerf.field
    for index, scene in enumerate(scene_files_of(model, bundle.hash)):
        expected = field.scene_planes(torch.tensor([index]))[0].detach()
        torch.testing.assert_close(plane_images(scene, bundle), expected)
    if kind is BOTH:
        assert not plane_images(replace(scene, micro_planes=None), bundle)[:, :4].any()
        assert not plane_images(replace(scene, scene_weights=None), bundle)[:, 4:].any()
        assert torch.equal(stacked(expected).unflatten(0, (3, -1)), expected)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_file_of_many_scenes(tmp_path, precision):
    """From a bundle in half precision, as the published one is."""
    model = model_of(NAMES)
    bundle = bundle_of(tmp_path, model, dtype=torch.float16)
    path = tmp_path / "deep" / "planes.safetensors"
    write_plane_images(path, scene_files_of(model, bundle.hash), bundle, precision)
    expected = torch.stack([stacked(plane_images(scene, bundle)) for scene in scene_files_of(model, bundle.hash)])
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == ["mean", "planes", "std"]
        planes, mean, std = (file.get_tensor(name) for name in ("planes", "mean", "std"))
        assert '"scenes": ["a", "b", "c"]' in file.metadata()["planes"]
        assert bundle.hash in file.metadata()["planes"]
    assert torch.equal(planes, expected.to(getattr(torch, precision)))
    torch.testing.assert_close(mean, expected.mean((0, 2, 3)))
    torch.testing.assert_close(std, expected.std((0, 2, 3), correction=0))
