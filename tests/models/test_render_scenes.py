"""Many scenes in one call: the pictures that they have one by one."""

import pytest
import torch
from tiny import camera_of, latent_model_of

NAMES = ("a", "b", "c")


def one_by_one(model, cameras, scenes):
    pictures = []
    for index, scene in enumerate(scenes):
        camera = cameras[index : index + 1]
        camera.metadata = {"scene_index": torch.tensor([[scene]])}
        pictures.append(model.get_outputs_for_camera(camera, with_latents=True))
    return {name: torch.stack([p[name] for p in pictures]) for name in pictures[0]}


@pytest.mark.parametrize("source", ["identity", "kl"], indirect=True)
@pytest.mark.parametrize(("width", "height", "most"), [(20, 16, None), (17, 13, None), (30, 24, 12)])
def test_scenes_together_are_rendered_as_alone(source, width, height, most):
    """Also pictures that are enlarged since they are taller than most."""
    model = latent_model_of(source, NAMES, max_render_height=most)
    cameras, scenes = camera_of(width, height, count=4), [2, 0, 2, 1]
    together = model.renderer.render_scenes(cameras, scenes, with_latents=True)
    alone = one_by_one(model, cameras, scenes)
    assert sorted(together) == ["accumulation", "depth", "latent", "latent_channels", "rgb"]
    assert together["rgb"].shape == (4, height, width, 3) and together["depth"].shape == (4, height, width, 1)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-5, rtol=1e-4)


def test_one_camera_serves_all_scenes_and_is_left_alone(kl):
    model, camera = latent_model_of(kl, NAMES), camera_of(16, 16)
    pictures = model.renderer.render_scenes(camera, [0, 1, 2])["rgb"]
    assert pictures.shape == (3, 16, 16, 3) and camera.metadata is None
    assert not torch.allclose(pictures[0], pictures[1])


def test_enlarged_pictures_are_decoded_fewer_at_once(kl, monkeypatch):
    """Four where sixteen would be, since each takes the memory of four."""
    model, sizes = latent_model_of(kl, NAMES, max_render_height=None), []
    autoencoder, decode = model.latent_space.autoencoder, model.latent_space.autoencoder.decode
    autoencoder.enlarge = 2
    monkeypatch.setattr(autoencoder, "decode", lambda latents: (sizes.append(len(latents)), decode(latents))[1])
    model.renderer.render_scenes(camera_of(9, 7), [0, 1, 2, 0, 1])
    assert sizes == [4, 1]


def test_more_scenes_than_cameras(kl):
    with pytest.raises(ValueError, match="scenes: expected one for each of the 2 cameras, got 3; give as many"):
        latent_model_of(kl, NAMES).renderer.render_scenes(camera_of(16, 16, count=2), [0, 1, 2])
