"""Steps whose networks torch.compile has made are the steps that they were: losses, gradients, names."""

import shutil

import pytest
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


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_steps(balls, kl, backend):
    if backend == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler (g++ or clang++), which is not installed")
    source = kl if backend == "aot_eager" else "identity"
    settings = {"nerf": small_nerf(**SHARED), "rgb_alignment_start": 1, "crop": 16}
    plain, compiled = (pipeline_of(balls, source, compile_backend=name, **settings) for name in (None, backend))
    torch.testing.assert_close(steps_of(compiled), steps_of(plain), atol=1e-5, rtol=1e-3)
    assert compiled.model.nerf.field._compiled_call_impl is not None
