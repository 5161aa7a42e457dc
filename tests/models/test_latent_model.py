"""The latent model: whole cameras, scenes, crops, background, and metrics."""

from copy import deepcopy

import pytest
import torch
import yaml
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.model_components import renderers
from tiny import SHARED, camera_of, disturb, latent_model_of, small_nerf

from latent_nerfstudio.models.latent_model import LatentModelConfig


def everything_of(camera):
    """A camera's fields as text, to see whether it was changed."""
    return {name: str(value) for name, value in vars(deepcopy(camera)).items()}


@pytest.mark.parametrize(
    ("source", "height", "width"), [("kl", 203, 101), ("kl8", 37, 53), ("identity", 8, 8)], indirect=["source"]
)
def test_outputs_of_a_camera(source, height, width):
    model = latent_model_of(source)
    camera = camera_of(width, height, scene=1)
    before = everything_of(camera)
    outputs = model.get_outputs_for_camera(camera)
    assert everything_of(camera) == before
    channels = {"rgb": 3, "latent": 3, "depth": 1, "accumulation": 1}
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {name: (height, width, count) for name, count in channels.items()}
    for name in ("rgb", "latent", "accumulation"):
        assert float(outputs[name].min()) >= 0 and float(outputs[name].max()) <= 1 + 1e-6
    assert all(bool(torch.isfinite(value).all()) for value in outputs.values())
    assert torch.equal(model.get_outputs_for_camera(camera)["rgb"], outputs["rgb"])


def test_identity_is_the_nerf_over_the_background():
    model, camera = latent_model_of("identity"), camera_of(9, 7)
    bundle = camera.generate_rays(camera_indices=0)
    inner = model.nerf(bundle.flatten())
    expected = (inner["latent"] + 1 - inner["accumulation"]).view(7, 9, 3).clamp(0, 1)
    torch.testing.assert_close(model.get_outputs_for_camera(camera)["rgb"], expected)


@pytest.mark.parametrize(("height", "width"), [(37, 53), (8, 8)])
def test_an_empty_model_decodes_to_what_the_autoencoder_makes_of_the_background(taesd, height, width):
    model = latent_model_of(taesd, nerf=small_nerf(density_scale=0.0))
    outputs = model.get_outputs_for_camera(camera_of(width, height))
    plain = model.latent_space.encode(torch.ones(1, height, width, 3))
    expected = model.latent_space.decode(plain, height, width)[0].clamp(0, 1)
    tolerance = 1e-4 if min(height, width) > 30 else 0.05  # the borders of small pictures feel each other
    torch.testing.assert_close(outputs["rgb"], expected, atol=tolerance, rtol=0)
    assert not bool(outputs["accumulation"].any())


def test_pictures_taller_than_the_training_ones_are_enlarged(kl):
    model = latent_model_of(kl)
    camera = camera_of(20, 16)
    small = model.get_outputs_for_camera(camera, with_latents=True)
    model.config.max_render_height = 16
    tall = deepcopy(camera)
    tall.rescale_output_resolution(2.0)
    large = model.get_outputs_for_camera(tall, with_latents=True)
    assert (int(tall.height), int(tall.width)) == (32, 40)
    torch.testing.assert_close(large["latent_channels"], small["latent_channels"])
    for name in ("rgb", "latent", "depth", "accumulation"):
        enlarged = torch.nn.functional.interpolate(small[name].permute(2, 0, 1)[None], scale_factor=2, mode="bilinear")
        torch.testing.assert_close(large[name], enlarged[0].permute(1, 2, 0))
    torch.testing.assert_close(model.get_outputs_for_camera(camera)["rgb"], small["rgb"])


def test_latent_depth_and_accumulation_are_blocks(kl):
    outputs = latent_model_of(kl).get_outputs_for_camera(camera_of(37, 53))
    for name in ("latent", "depth", "accumulation"):
        blocks = outputs[name][:52, :36].reshape(13, 4, 9, 4, -1)
        assert torch.equal(blocks, blocks[:, :1, :, :1].expand_as(blocks))


def test_a_camera_of_any_batch_shape():
    model, camera = latent_model_of(), camera_of(13, 11, scene=1)
    for shape in ((), (1, 1)):
        outputs = model.get_outputs_for_camera(camera.reshape(shape))
        torch.testing.assert_close(outputs["rgb"], model.get_outputs_for_camera(camera)["rgb"])


def box_at(centre, side):
    return OrientedBox(R=torch.eye(3), T=torch.tensor(centre), S=torch.tensor([side] * 3))


@pytest.mark.parametrize("source", ["kl", "identity"], indirect=True)
def test_an_oriented_box_crops(source):
    """The colour behind it is its own in RGB, and that of training in latents."""
    model, camera, color = latent_model_of(source), camera_of(24, 20), torch.tensor([0.1, 0.2, 0.3])
    whole = model.get_outputs_for_camera(camera)
    everything = model.get_outputs_for_camera(camera, obb_box=box_at([0.0, 0.0, 0.0], 8.0))
    torch.testing.assert_close(everything["rgb"], whole["rgb"])
    part = model.get_outputs_for_camera(camera, obb_box=box_at([0.0, 0.0, 0.0], 0.5))
    assert 0 < int((part["accumulation"] > 0).sum()) < int((whole["accumulation"] > 0).sum())
    nothing = model.get_outputs_for_camera(camera, obb_box=box_at([5.0, 0.0, 0.0], 0.5))
    assert not bool(nothing["accumulation"].any())
    assert float(nothing["depth"].max()) < 10
    with renderers.background_color_override_context(color):
        picture = model.get_outputs_for_camera(camera, obb_box=box_at([5.0, 0.0, 0.0], 0.5))["rgb"]
    torch.testing.assert_close(picture, color.expand(20, 24, 3) if source == "identity" else nothing["rgb"])


def test_cameras_without_a_scene_show_that_of_the_dropdown(kl):
    model = latent_model_of(kl, names=["a", "b", "c"])
    named = [model.get_outputs_for_camera(camera_of(16, 16, scene=s))["rgb"] for s in range(3)]
    assert torch.equal(model.get_outputs_for_camera(camera_of(16, 16))["rgb"], named[0])
    model.panel.scene.value = "c"
    assert model.current_scene == 2
    assert torch.equal(model.get_outputs_for_camera(camera_of(16, 16))["rgb"], named[2])
    assert torch.equal(model.get_outputs_for_camera(camera_of(16, 16, scene=1))["rgb"], named[1])
    assert not torch.allclose(named[0], named[2])
    assert latent_model_of(names=["a", "b"], scene="b").current_scene == 1


def test_metadata_of_the_callers_rays_is_left_alone(kl):
    model = latent_model_of(kl)
    origins, directions = torch.tensor([[0.0, 0, 3]] * 2), torch.tensor([[0.0, 0, -1], [0.0, 0, 1]])
    bundle = RayBundle(origins, directions, torch.ones(2, 1), metadata={"background": torch.full((2, 4), 7.0)})
    outputs = model(bundle)
    assert list(bundle.metadata) == ["background"] and bundle.nears is None
    torch.testing.assert_close(outputs["latent"][1], torch.full((4,), 7.0))
    bundle.metadata = {}
    middle = model.latent_space.background[8, 8]
    torch.testing.assert_close(model(bundle)["latent"][1], middle)
    bundle.metadata = None  # type: ignore[assignment]
    torch.testing.assert_close(model(bundle)["latent"][1], middle)


def test_metrics_of_a_picture(kl):
    model = latent_model_of(kl)
    photo = (torch.rand(24, 20, 3) * 255).to(torch.uint8)
    outputs = model.get_outputs_for_camera(camera_of(20, 24), with_latents=True)
    metrics, pictures = model.get_image_metrics_and_images(outputs, {"image": photo})
    assert sorted(metrics) == ["autoencoder_psnr", "latent_psnr", "psnr", "ssim"]
    expected = float(-10 * ((outputs["rgb"] - photo / 255) ** 2).mean().log10())
    assert metrics["psnr"] == pytest.approx(expected, abs=1e-3)
    encoded = model.latent_space.encode(photo[None] / 255)
    ceiling = model.latent_space.decode(encoded, 24, 20)[0].clamp(0, 1)
    expected = float(-10 * ((ceiling - photo / 255) ** 2).mean().log10())
    assert metrics["autoencoder_psnr"] == pytest.approx(expected, abs=1e-3)
    latent = 10 * (36 / ((outputs["latent_channels"] - encoded[0]) ** 2).mean()).log10()
    assert metrics["latent_psnr"] == pytest.approx(float(latent), abs=1e-3)
    assert all(isinstance(value, float) for value in metrics.values())
    torch.testing.assert_close(pictures["img"], torch.cat([photo / 255, outputs["rgb"], ceiling], dim=1))


@pytest.mark.parametrize("is_trained", [False, True])
def test_the_ceiling_is_that_of_the_autoencoder_as_it_came_or_of_one_whose_encoder_is_trained(kl, is_trained):
    model, photo = latent_model_of(kl), torch.rand(24, 20, 3)
    before, space = model.reconstruct(photo), model.latent_space
    if is_trained:
        space.train_encoder()
    disturb(space.autoencoder.parameters() if is_trained else space.autoencoder.decoder_parameters(), 0.1)
    trained = space.decode(space.encode(photo[None]), 24, 20)[0].clamp(0, 1)
    torch.testing.assert_close(model.reconstruct(photo), trained if is_trained else before)
    assert not torch.allclose(trained, before, atol=1e-3)
    assert not any("as_it_came" in name for name in model.state_dict())


def test_bytes(kl):
    model = latent_model_of(kl, names=["a", "b", "c"], nerf=small_nerf(**SHARED))
    assert model.scene_bytes() == 4 * (3 * 4 * 8 * 8 + 2)
    field, decoder = model.nerf.field, model.latent_space.autoencoder.decoder_parameters()
    shared = [field.base_planes, *field.mlp.parameters(), *decoder]
    assert model.shared_bytes() == 4 * sum(p.numel() for p in shared)


def test_configs_of_version_0_1_mean_the_cars_by_bundled():
    """They are known by a setting that is gone; what this version writes means the objects."""
    written = yaml.dump(LatentModelConfig(shared_bundle="bundled"))
    old = written.replace("shared_bundle:", "reset_base_planes: false\nshared_bundle:")
    read = yaml.load(old, Loader=yaml.Loader)
    assert (read.autoencoder.source, read.shared_bundle) == ("bundled-cars", "bundled-cars")
    again = yaml.load(written, Loader=yaml.Loader)
    assert (again.autoencoder.source, again.shared_bundle) == ("bundled", "bundled")
