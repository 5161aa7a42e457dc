"""Pictures of cameras, of NeRFs with and without rays: odd sizes, sizes beyond training, panoramas, scenes, chunks."""

import math
from functools import partial

import pytest
import torch
from naive_splats import naive_rasterization
from nerfstudio.cameras.cameras import CameraType
from small_nerfs import SMALL, make_dense, rays_towards, small_kplanes, small_ngp
from tiny import camera_of, equirectangular, latent_model_of, small_nerf

from latent_nerfstudio.latent_space.resolution import resized, resized_cameras
from latent_nerfstudio.models import splatfacto
from latent_nerfstudio.models.camera_rendering import FEWEST_RAYS, in_chunks
from latent_nerfstudio.models.splatfacto import LatentSplatfactoModelConfig

LATENT = torch.tensor([0.3, -1.2, 0.8, 0.1])
OPAQUE = 1e4


def say(mlp, density, latent):
    """An MLP whose last layer says the same of every point: the density, if there is one, and the latent."""
    mlp.layers[-1].weight.zero_()
    mlp.layers[-1].bias.copy_(torch.cat([torch.tensor(density), latent]))


def fill_ngp(nerf):
    nerf.occupancy_grid.binaries[:] = True
    say(nerf.field.mlp_head, [], LATENT)


def fill_nerfstudios(nerf):
    """One latent at every point of a dense cube, whatever the direction."""
    make_dense(nerf)
    for name, parameter in nerf.named_parameters():
        if name.endswith(("mlp_head.layers.2.weight", "field_output_rgb.net.weight", "field_heads.0.net.weight")):
            parameter.zero_()
        if name.endswith(("mlp_head.layers.2.bias", "field_output_rgb.net.bias", "field_heads.0.net.bias")):
            parameter.copy_(LATENT)


def fill_gaussians(nerf):
    parameters = nerf.gauss_params
    parameters["features"].copy_(LATENT.expand_as(parameters["features"]))
    parameters["scales"].fill_(3.0)
    parameters["opacities"].fill_(20.0)


def fill_planes(nerf):
    say(nerf.field.mlp, [OPAQUE], LATENT)


FULL = {
    "triplane": (small_nerf, fill_planes),
    "kplanes": (small_kplanes, fill_planes),
    "instant-ngp": (partial(small_ngp, average_init_density=OPAQUE), fill_ngp),
    "splatfacto": (partial(LatentSplatfactoModelConfig, num_random=8, use_absgrad=False), fill_gaussians),
    **{name: (config, fill_nerfstudios) for name, config in SMALL.items()},
}
"""Configs of NeRFs, and what fills their box with one latent."""


@pytest.mark.parametrize("name", list(FULL))
@pytest.mark.parametrize(("height", "width"), [(37, 53), (4, 1)])
def test_a_scene_of_one_latent_decodes_to_the_decoders_own_picture(kl, name, height, width, monkeypatch):
    monkeypatch.setattr(splatfacto, "rasterization", naive_rasterization)
    config, fill = FULL[name]
    model = latent_model_of(kl, names=["a"], nerf=config())
    with torch.no_grad():
        fill(model.nerf)
    camera = camera_of(width, height, focal=8.0 * height)  # sees nothing but the box
    outputs = model.get_outputs_for_camera(camera, with_latents=True)
    assert outputs["latent_channels"].shape == (-(-height // 4), -(-width // 4), 4)
    latents = LATENT.expand_as(outputs["latent_channels"])
    torch.testing.assert_close(outputs["latent_channels"], latents, atol=1e-5, rtol=0)
    expected = model.latent_space.decode(latents[None], height, width)[0].clamp(0, 1)
    torch.testing.assert_close(outputs["rgb"], expected, atol=1e-4, rtol=0)


def test_an_enlarged_picture_shows_what_a_large_one_does(height=61, width=83):
    """Column by column: a picture of directions, rendered small and enlarged, against the directions of its pixels."""
    camera = camera_of(width, height)
    small = resized_cameras(camera, 16, round(width * 16 / height))

    def directions(cameras):
        rays = cameras.generate_rays(camera_indices=0, keep_shape=True)
        return rays.directions * rays.metadata["directions_norm"]

    enlarged, large = resized(directions(small), height, width), directions(camera)
    margin = math.ceil(height / 32) + 1  # where bilinear interpolation has neighbours on both sides
    inside = (slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(enlarged[inside], large[inside], atol=1e-5, rtol=0)


def test_panoramas_are_rendered_at_the_resolution_of_the_training_pictures_by_angle(kl):
    model = latent_model_of(kl)
    assert model.renderer.rendered_size(panorama(512, 1024)) == (512, 1024)
    model.kwargs["metadata"] |= {"image_height": 32, "pixels_per_radian": 39.0}
    assert model.renderer.rendered_size(panorama(512, 1024)) == (124, 248)  # 39 pi = 122.5, in whole latent pixels
    assert model.renderer.rendered_size(panorama(101, 203)) == (100, 200)
    assert model.renderer.rendered_size(camera_of(64, 64)) == (32, 32)
    model.config.max_render_height = 16
    assert model.renderer.rendered_size(panorama(512, 1024)) == (16, 32)
    rgb = latent_model_of("identity", max_render_height=8)  # which is never enlarged
    assert [rgb.renderer.rendered_size(c) for c in (panorama(101, 203), camera_of(20, 16))] == [(101, 203), (16, 20)]


def panorama(height, width, turn=0.0, position=(0.0, 0.0, 2.0), kind=CameraType.EQUIRECTANGULAR):
    """A camera that looks everywhere, turned about its own vertical axis."""
    cosine, sine = math.cos(turn), math.sin(turn)
    rotation = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    camera = equirectangular(height, width, camera_type=kind)
    camera.camera_to_worlds = torch.cat([rotation, torch.tensor(position)[:, None]], dim=1)[None]
    return camera


@pytest.mark.parametrize("columns", [5, 24])
def test_a_turned_panorama_is_the_same_picture_rolled(taesd, columns):
    """So nothing tells where its sides meet; the decoder of an AutoencoderTiny has no statistics of whole pictures."""
    model = latent_model_of(taesd, names=["a"])
    height, width = 48, 96
    straight = model.get_outputs_for_camera(panorama(height, width))
    turned = model.get_outputs_for_camera(panorama(height, width, turn=2 * math.pi * columns * 2 / width))
    assert float(straight["accumulation"].max()) > 0.1
    for name, picture in straight.items():
        torch.testing.assert_close(turned[name], picture.roll(2 * columns, dims=1), atol=1e-3, rtol=1e-3)


def test_panoramas_have_no_borders(taesd):
    """What lies on the seam or at a pole is decoded as anywhere else: an empty scene is the same everywhere."""
    model = latent_model_of(taesd, nerf=small_nerf(density_scale=0.0))
    picture = model.get_outputs_for_camera(panorama(32, 64))["rgb"]
    torch.testing.assert_close(picture, picture[16:18, 32:34].repeat(16, 32, 1), atol=1e-4, rtol=0)
    flat = model.get_outputs_for_camera(camera_of(64, 32))["rgb"]
    assert not torch.allclose(flat, flat[16:18, 32:34].repeat(16, 32, 1), atol=1e-4)


@pytest.mark.parametrize("kind", [CameraType.EQUIRECTANGULAR, CameraType.OMNIDIRECTIONALSTEREO_L, CameraType.FISHEYE])
def test_other_cameras_of_any_size(kl, kind):
    model = latent_model_of(kl)
    for height, width in ((51, 103), (3, 5)):
        outputs = model.get_outputs_for_camera(panorama(height, width, kind=kind))
        assert outputs["rgb"].shape == (height, width, 3)
        assert all(bool(torch.isfinite(value).all()) for value in outputs.values())


NAMES = ("a", "b", "c")


def one_by_one(model, cameras, scenes):
    pictures = []
    for index, scene in enumerate(scenes):
        camera = cameras[index : index + 1]
        camera.metadata = {"scene_index": torch.tensor([[scene]])}
        pictures.append(model.get_outputs_for_camera(camera, with_latents=True))
    return {name: torch.stack([p[name] for p in pictures]) for name in pictures[0]}


@pytest.mark.parametrize("source", ["identity", "kl"], indirect=True)
@pytest.mark.parametrize(("width", "height", "most"), [(17, 13, None), (30, 24, 12)])
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
    with pytest.raises(ValueError, match="scenes: expected one for each of the 2 cameras, got 3; give as many"):
        model.renderer.render_scenes(camera_of(16, 16, count=2), [0, 1, 2])


def test_enlarged_pictures_are_decoded_fewer_at_once(kl, monkeypatch):
    """Four where sixteen would be, since each takes the memory of four."""
    model, sizes = latent_model_of(kl, NAMES, max_render_height=None), []
    autoencoder, decode = model.latent_space.autoencoder, model.latent_space.autoencoder.decode
    autoencoder.enlarge = 2
    monkeypatch.setattr(autoencoder, "decode", lambda latents: (sizes.append(len(latents)), decode(latents))[1])
    model.renderer.render_scenes(camera_of(9, 7), [0, 1, 2, 0, 1])
    assert sizes == [4, 1]


def renderer(most, sizes):
    """Renders no more rays at once than some."""

    def render(rays):
        sizes.append(len(rays))
        if len(rays) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
        return {"rgb": rays.directions}

    return render


@pytest.mark.parametrize(
    ("most", "expected"), [(1000, [400, 400, 200]), (250, [400] + [200] * 5), (100, [400, 200] + [100] * 10)]
)
def test_all_rays_come_in_their_order(most, expected, capsys):
    rays, sizes = rays_towards(1000), []
    chunks = in_chunks(renderer(most, sizes), rays, 400)
    assert torch.equal(torch.cat([chunk["rgb"] for chunk in chunks]), rays.directions)
    assert sizes == expected
    assert ("200 rays at once from now on" in capsys.readouterr().out) == (most < 400)


def test_too_little_memory_for_any_chunk():
    sizes = []
    with pytest.raises(MemoryError, match=f"rendering {FEWEST_RAYS} rays: expected room .*, got CUDA out of.*2 GiB"):
        in_chunks(renderer(10, sizes), rays_towards(1000), 200)
    assert sizes == [200, 100, FEWEST_RAYS]
    assert in_chunks(renderer(10, []), rays_towards(0), 200) == []
