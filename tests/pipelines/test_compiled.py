"""Steps whose networks torch.compile has made are the steps that they were: losses, gradients, names."""

import torch
from tiny import SHARED, pipeline_of, small_nerf


def steps_of(pipeline):
    """Losses of a step of each stage, and the gradients of both by parameter."""
    losses = []
    for step in (0, 1):
        torch.manual_seed(step)
        terms = pipeline.train().get_train_loss_dict(step)[1]
        sum(terms.values()).backward()
        losses += [value.detach() for value in terms.values()]
    return losses, {name: parameter.grad for name, parameter in pipeline.named_parameters()}


def test_compiled_steps(balls, taesd):
    """What is traced, forwards and backwards; code of it is torch's own work, and takes a minute."""
    settings = {"nerf": small_nerf(**SHARED), "rgb_alignment_start": 1, "crop": 16}
    plain, compiled = (pipeline_of(balls, taesd, compile_backend=name, **settings) for name in (None, "aot_eager"))
    torch.testing.assert_close(steps_of(compiled), steps_of(plain), atol=1e-5, rtol=1e-3)
    vae = compiled.model.latent_space.autoencoder.vae
    assert all(part._compiled_call_impl is not None for part in (compiled.model.nerf.field, vae.encoder, vae.decoder))
