"""Mixed precision: gradients are scaled back before anything is done with them, and the decoder sees no float16."""

import pytest
import torch
from nerfstudio.engine.optimizers import AdamOptimizerConfig, Optimizers
from tiny import SHARED, pipeline_of, small_nerf

from latent_nerfstudio.engine.row_adam import RowAdamConfig

SCALE = 2.0**20
"""Of losses; a power of two, with which float32 computes the same digits."""


def run_of(balls, kl, scaler, max_norm=None, steps=3, weight=1.0):
    """Steps of RGB alignment as Nerfstudio's trainer takes them, of weighted losses; returns the pipeline."""
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=0, nerf=small_nerf(**SHARED)).train()
    groups = pipeline.get_param_groups()
    rows, others = (kind(lr=0.01, eps=1e-8, max_norm=max_norm) for kind in (RowAdamConfig, AdamOptimizerConfig))
    config = {name: {"optimizer": rows if "planes" in name else others, "scheduler": None} for name in groups}
    optimizers = Optimizers(config, groups)
    for step in range(steps):
        torch.manual_seed(step)
        optimizers.zero_grad_all()
        loss = weight * sum(pipeline.get_train_loss_dict(step)[1].values())
        scaler.scale(loss).backward()
        optimizers.optimizer_scaler_step_some(scaler, list(groups))
        pipeline.watch.after_step(optimizers.optimizers, step)
        scaler.update()
    return pipeline


def scaler_of(scale, **settings):
    return torch.amp.GradScaler("cpu", init_scale=scale, **settings)  # type: ignore[attr-defined]


def test_scaled_losses_make_the_same_steps(balls, kl, max_norm=100.0):
    """The scale doubles with every step, and scaled gradients are far above the norm at which they are cut."""
    plain = run_of(balls, kl, scaler_of(SCALE, enabled=False), max_norm)
    scaled = run_of(balls, kl, scaler_of(SCALE, growth_interval=1), max_norm)
    for name, parameter in scaled.named_parameters():
        torch.testing.assert_close(parameter, plain.get_parameter(name), rtol=1e-5, atol=1e-6, msg=name)
    decoder = plain.space.autoencoder.decoder_parameters()
    start = pipeline_of(balls, kl, rgb_alignment_start=0).space.autoencoder.decoder_parameters()
    assert any(not torch.equal(a, b) for a, b in zip(decoder, start, strict=True))


def test_a_step_that_overflows_is_left_out(balls, kl):
    before = run_of(balls, kl, scaler_of(1.0), steps=0)
    scaler = scaler_of(2.0**126)
    after = run_of(balls, kl, scaler, steps=1, weight=1e6)
    assert scaler.get_scale() == 2.0**125
    for name, parameter in after.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name)), name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_decoder_computes_as_it_is_told_within_float16(balls, kl, precision):
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=0, autoencoder_precision=precision)
    kinds = set()
    for module in pipeline.space.autoencoder.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    latents = torch.randn(1, 8, 8, pipeline.space.num_channels).half().requires_grad_()
    with torch.autocast("cpu", torch.float16):
        decoded = pipeline.decode(latents, 32, 32)
        loss = decoded.square().mean()
    loss.backward()
    assert kinds == {getattr(torch, precision)}
    gradients = [p.grad for p in pipeline.space.autoencoder.decoder_parameters() if p.grad is not None]
    assert {value.dtype for value in (decoded, *gradients)} == {torch.float32} and gradients
