"""Nerfstudio's models brought to any number of channels, by themselves and within a LatentModel."""

from dataclasses import dataclass, field
from typing import Type

import pytest
import torch
import torchmetrics.image.lpip
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from nerfstudio.models.tensorf import TensoRFModel
from nerfstudio.models.vanilla_nerf import NeRFModel
from small_nerfs import (
    REGULARIZERS,
    SMALL,
    make_dense,
    nerf_of,
    rays_towards,
    small_nerfacto,
    small_tensorf,
    small_vanilla,
)
from tiny import backward, cube, equirectangular, gradients, latent_model_of, pipeline_of
from torch import nn

from latent_nerfstudio.models.channel_nerf import ChannelNeRF, ChannelRenderer, without_metric_networks

METHODS = pytest.mark.parametrize("method", list(SMALL))


def test_the_renderer_sums_like_a_loop_and_blends_nothing():
    channels, weights = torch.randn(5, 7, 16), torch.rand(5, 7, 1)
    expected = torch.zeros(5, 16)
    for ray in range(5):
        for sample in range(7):
            expected[ray] += weights[ray, sample] * channels[ray, sample]
    renderer = ChannelRenderer().eval()
    torch.testing.assert_close(renderer(channels, weights), expected)
    torch.testing.assert_close(renderer(rgb=channels, weights=weights, background_color="white"), expected)
    channels, weights, expected = torch.randn(9, 4), torch.rand(9, 1), torch.zeros(5, 4)  # samples in one row
    rays = torch.tensor([0, 0, 0, 2, 2, 3, 3, 3, 3])
    for sample, ray in enumerate(rays.tolist()):
        expected[ray] += weights[sample] * channels[sample]
    torch.testing.assert_close(ChannelRenderer()(channels, weights, ray_indices=rays, num_rays=5), expected)
    picture, target = torch.randn(3, 16), torch.randn(3, 16)
    assert renderer.blend_background(target) is target
    blended = renderer.blend_background_for_loss_computation(picture, torch.rand(3, 1), target)
    assert blended[0] is picture and blended[1] is target


@METHODS
def test_built_without_network_and_without_metric_networks(method, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a metric network was built")

    monkeypatch.setattr(torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity, "__init__", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    model = nerf_of(SMALL[method]())
    assert isinstance(model.lpips, nn.Identity)
    assert not [name for name in model.state_dict() if "lpips" in name]


def test_lpips_is_itself_again_afterwards():
    before = torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity
    with pytest.raises(KeyError), without_metric_networks(NerfactoModel):
        assert torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity is nn.Identity
        assert torchmetrics.image.LearnedPerceptualImagePatchSimilarity is nn.Identity
        raise KeyError
    assert torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity is before
    assert torchmetrics.image.LearnedPerceptualImagePatchSimilarity is before


def test_more_than_one_scene_and_what_is_learned_for_each_picture_are_refused():
    with pytest.raises(ValueError, match="camera_optimizer.mode: expected off, got SO3xR3"):
        nerf_of(small_tensorf(camera_optimizer=CameraOptimizerConfig(mode="SO3xR3")))
    with pytest.raises(ValueError, match="use_appearance_embedding: expected False, got True"):
        nerf_of(small_nerfacto(use_appearance_embedding=True))
    metadata = {"scene_names": ["a", "b", "c"]}
    with pytest.raises(ValueError, match=r"scenes: expected one scene, got 3 \(a, b, c\); .* use latent-triplane"):
        nerf_of(small_nerfacto(), num_scenes=3, metadata=metadata)


def original_of(config, model_class):
    """Nerfstudio's own model of the same sizes in the cube of side 2."""
    config.background_color = "black"
    with without_metric_networks(model_class):
        return model_class(config=config, scene_box=cube(), num_train_data=3)


def inside(bundle: RayBundle, model: ChannelNeRF) -> RayBundle:
    """The same rays with near and far at the box, which Nerfstudio's colliders then leave alone."""
    return model.clip(bundle)[0]


PICTURES = {"latent": "rgb", "accumulation": "accumulation", "depth": "depth"}
FINE = {"latent": "rgb_fine", "latent_coarse": "rgb_coarse", "accumulation": "accumulation_fine"}
FULL_SIZE = {"hidden_layers": 8, "hidden_width": 256}  # which Nerfstudio's vanilla NeRF always has


@pytest.mark.parametrize(
    ("method", "original", "settings", "names"),
    [
        ("nerfacto", NerfactoModel, {}, PICTURES),
        ("tensorf", TensoRFModel, {"density_scale": None}, PICTURES),
        ("vanilla", NeRFModel, {"density_scale": None, **FULL_SIZE}, FINE),
    ],
)
def test_three_channels_are_nerfstudios_own_picture(method, original, settings, names):
    config = SMALL[method](**settings)
    ours, theirs = nerf_of(config, 3, value_range=(0.0, 1.0)).eval(), original_of(config, original).eval()
    own = ("box", "device_indicator_param", "proposal_sampler.clock")
    state = {name: value for name, value in ours.state_dict().items() if name not in own}
    assert not theirs.load_state_dict(state, strict=False).unexpected_keys
    bundle = rays_towards(60, spread=0.25)
    expected, outputs = theirs(inside(bundle, ours)), ours(bundle)
    for name, theirs_name in names.items():
        margin = {"atol": 1.1e-3, "rtol": 0} if "latent" in name else {}  # that of the limits
        torch.testing.assert_close(outputs[name], expected[theirs_name], **margin)
    picture = expected[names["latent"]]
    assert len(picture) == 60 and float(picture.std()) > 1e-3  # all rays meet the box


@METHODS
def test_regularizers_hold_in_both_stages(method):
    model = nerf_of(SMALL[method]())
    outputs = model(rays_towards(30))
    losses = model.get_loss_dict(outputs, {"latent": torch.randn(30, 4)})
    regularizers = model.get_regularization_dict(outputs)
    assert set(losses) == {"latent_loss"} | REGULARIZERS[method]
    assert set(regularizers) == REGULARIZERS[method]
    if method != "vanilla":  # whose coarse network has another target
        own, same = ({name: float(values[name]) for name in regularizers} for values in (losses, regularizers))
        assert own == pytest.approx(same)


def test_the_coarse_network_follows_the_latents_and_then_the_fine_network():
    model = nerf_of(small_vanilla())
    outputs, target = model(rays_towards(30)), torch.randn(30, 4)
    losses = model.get_loss_dict(outputs, {"latent": target})
    coarse = outputs["latent_coarse"]
    assert float(losses["rgb_loss_coarse"]) == pytest.approx(float((coarse - target).square().mean()), rel=1e-5)
    follows = model.get_regularization_dict(outputs)["rgb_loss_coarse"]
    assert float(follows) == pytest.approx(float((coarse - outputs["latent"]).square().mean()), rel=1e-5)
    follows.backward()
    assert any(gradients(*model.field_coarse.parameters())) and not any(gradients(*model.field_fine.parameters()))


def growing():
    return small_tensorf(init_resolution=4, final_resolution=9, upsampling_iters=(10, 20))


def test_planes_grow_in_the_optimizer_and_the_schedule_goes_on():
    from nerfstudio.engine.callbacks import TrainingCallbackAttributes
    from nerfstudio.engine.optimizers import AdamOptimizerConfig, Optimizers

    from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig

    model = nerf_of(growing())
    scheduler = StagedSchedulerConfig(warmup_steps=1, floor=0.0, max_steps=30)
    each = {"optimizer": AdamOptimizerConfig(lr=1e-2), "scheduler": scheduler}
    optimizers = Optimizers({"fields": each, "encodings": each}, model.get_param_groups())
    (callback,) = model.get_training_callbacks(TrainingCallbackAttributes(optimizers, None, None, None))
    sides, rates = [], []
    for step in range(30):
        optimizers.zero_grad_all()
        loss = model.get_loss_dict(model(rays_towards(20, seed=step)), {"latent": torch.ones(20, 4)})["latent_loss"]
        loss.backward()
        before = model.field.color_encoding.plane_coef.detach().clone()
        optimizers.optimizer_step("encodings")
        assert not torch.equal(model.field.color_encoding.plane_coef, before)
        optimizers.scheduler_step("encodings")
        callback.run_callback_at_location(step, callback.where_to_run[0])
        sides.append(model.field.density_encoding.plane_coef.shape[-1])
        rates.append(optimizers.optimizers["encodings"].param_groups[0]["lr"])
    assert sides == [4] * 10 + [6] * 10 + [9] * 10 == [model.resolution_at(step) for step in range(30)]
    assert (model.resolution_at(100), nerf_of(small_tensorf()).resolution_at(1000)) == (9, 6)
    used = rates[:-1]  # the last one is that of a step after the run
    assert used == sorted(used, reverse=True) and used[-1] < 1e-4


@dataclass
class BareConfig(ModelConfig):
    _target: Type = field(default_factory=lambda: Bare)
    enable_collider: bool = False


class Headless(Model):
    def populate_modules(self):
        super().populate_modules()
        self.layer = nn.Linear(3, 3)


class Bare(ChannelNeRF, Headless):
    """A host without a head that is known."""


class Uncomposited(Bare):
    """A host that widens its head, but composites by itself."""

    def widen_heads(self, num_channels, value_range):
        self.layer = nn.Linear(3, num_channels)


def test_hosts_without_a_head_or_the_interface_say_what_they_lack():
    with pytest.raises(TypeError, match=r"Bare: expected a colour head, .* got none; override `widen_heads"):
        nerf_of(BareConfig())
    with pytest.raises(TypeError, match=r"Uncomposited: expected an RGBRenderer .* override `replace_renderers`"):
        nerf_of(BareConfig(_target=Uncomposited))
    with pytest.raises(TypeError, match="NerfactoModel: .* none of its own for get_regularization_dict; put Channel"):
        latent_model_of("identity", names=["a"], nerf=NerfactoModelConfig())
    with pytest.raises(TypeError, match="none of its own for get_outputs, get_loss_dict, get_regularization_dict, get"):
        latent_model_of("identity", names=["a"], nerf=ModelConfig())


class Narrow(ChannelNeRF, NerfactoModel):
    """A host that forgets to widen."""

    def widen_heads(self, num_channels, value_range):
        pass


class Flat(ChannelNeRF, NerfactoModel):
    """A host without depth."""

    def forward(self, ray_bundle):
        outputs = super().forward(ray_bundle)
        del outputs["depth"]
        return outputs


def test_outputs_of_the_wrong_shape_are_refused(kl):
    for kind, words in ((Narrow, "`latent` with 4 channels .* got 3; put Ch"), (Flat, "`depth` with 1 .* got none")):
        model = latent_model_of(kl, names=["a"], nerf=small_nerfacto(_target=kind))
        with pytest.raises(TypeError, match=f"{kind.__name__}: expected {words}"):
            model(rays_towards(5))


def test_nerfactos_colour_network_has_the_configs_size():
    from nerfstudio.fields.nerfacto_field import NerfactoField
    from nerfstudio.models import nerfacto

    model = nerf_of(small_nerfacto(geometry_features=7, color_layers=2, hidden_dim_color=12))
    head = model.field.mlp_head
    assert [layer.out_features for layer in head.layers] == [12, 4]
    assert head.layers[0].in_features == 16 + 7  # directions by 16 spherical harmonics
    assert model(rays_towards(5))["latent"].shape == (5, 4)
    assert nerfacto.NerfactoField is NerfactoField


def model_of(source, method, **settings):
    """A latent model of one scene around a method."""
    return latent_model_of(source, names=["a"], nerf=SMALL[method](**settings))


@METHODS
def test_every_picture_is_composited_on_the_background(kl, method):
    model = model_of(kl, method)
    bundle = rays_towards(30)
    background = torch.randn(30, 4)
    bundle.metadata = {"background": background}
    outputs, inner = model(bundle), model.nerf(bundle)
    for name, opacity in model.nerf.pictures:
        torch.testing.assert_close(outputs[name], inner[name] + (1 - inner[opacity]) * background)
    torch.testing.assert_close(outputs["depth"], inner["depth"])


@METHODS
def test_an_equirectangular_camera_within_the_scene(kl, method):
    camera = equirectangular(24, 48)
    model = model_of(kl, method)
    make_dense(model.nerf)
    outputs = model.get_outputs_for_camera(camera)
    assert outputs["rgb"].shape == (24, 48, 3) and bool(torch.isfinite(outputs["rgb"]).all())
    torch.testing.assert_close(outputs["accumulation"], torch.ones(24, 48, 1))


GEOMETRY = {"nerfacto": "proposal_networks", "tensorf": "encodings", "vanilla": "fields"}
"""The group that says where there is something."""


@METHODS
def test_both_stages_train_every_group(balls, kl, method):
    density = {"average_init_density": 5.0} if method == "nerfacto" else {}
    pipeline = pipeline_of(balls / "a", kl, nerf=SMALL[method](**density), rgb_alignment_start=3)
    groups = pipeline.get_param_groups()
    assert set(groups) == {"fields", "decoder", GEOMETRY[method]}
    losses, metrics = backward(pipeline, 0)
    assert set(losses) == {"latent_loss"} | REGULARIZERS[method] and set(metrics) == {"latent_mse"}
    assert any(gradients(*groups["fields"])) and not any(gradients(*groups["decoder"]))
    assert any(gradients(*groups[GEOMETRY[method]]))
    losses, metrics = backward(pipeline, 3)
    assert set(losses) == {"rgb_loss"} | REGULARIZERS[method] and set(metrics) == {"psnr"}
    assert all(any(gradients(*group)) for group in groups.values())


def test_callbacks_and_steps_reach_the_nerf(kl, monkeypatch):
    model, seen = model_of(kl, "tensorf"), []
    monkeypatch.setattr(type(model.nerf), "update_to_step", lambda _, step: seen.append(step))
    model.update_to_step(17)
    assert seen == [17]
    assert len(model_of(kl, "nerfacto").get_training_callbacks(None)) == 2
