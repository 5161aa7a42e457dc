"""Nerfstudio's models within a LatentModel: background, whole cameras, both stages of training."""

import pytest
import torch
from small_nerfs import REGULARIZERS, SMALL, make_dense, rays_towards
from tiny import backward, equirectangular, gradients, latent_model_of, pipeline_of

METHODS = pytest.mark.parametrize("method", list(SMALL))


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
