"""The Triton kernel against its twin: in the interpreter on any machine, and on a GPU where there is one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from latent_nerfstudio.fields.planes import PLANE_AXES
from latent_nerfstudio.kernels import triplane_torch

pytest.importorskip("triton")

from in_interpreter import CASES

ROUNDING = {"float16": 2e-3, "bfloat16": 1e-2}
"""Of gradients in half precision; those of float32 differ by the order of sums."""


@pytest.fixture(scope="module")
def differences():
    """What the program in_interpreter.py prints."""
    return printed_by("in_interpreter.py")


def printed_by(program):
    """The JSON that a program beside this file prints."""
    path = Path(__file__).parent / program
    done = subprocess.run([sys.executable, "-W", "ignore", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_the_twins(differences, case):
    trained = CASES[case].get("trained", (True,) * 5)
    outputs, *gradients = differences[case]
    assert outputs < 1e-5
    assert [gradient is not None for gradient in gradients] == list(trained)
    assert all(gradient is None or gradient < ROUNDING.get(case, 1e-5) for gradient in gradients)


def test_kernels_compile_for_gpus_and_fit_them():
    """A block of the smallest GPUs, of compute capability 8.6 and 12.0, has 99 KB of shared memory."""
    cases = printed_by("compiling.py")
    assert len(cases) == 8
    for name, sizes, capability, needs in cases:
        assert 0 < needs["shared"] < 99 << 10
        assert sizes != [32, 64, 17] or needs["spilled"] <= 64, (name, capability, needs)


def test_sizes_that_fit():
    from latent_nerfstudio.kernels.triplane_triton import fits

    def mlp(features, hidden, outputs):
        shapes = (hidden, features), (hidden,), (outputs, hidden), (outputs,)
        return triplane_torch.TinyMLP(*map(torch.zeros, shapes))

    assert fits(mlp(32, 64, 17)) and fits(mlp(64, 128, 64))
    assert not any(fits(mlp(*sizes)) for sizes in ((65, 64, 17), (32, 129, 17), (32, 64, 65)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("negligible", [0.0, 0.03])
def test_on_a_gpu(dtype, negligible):
    """The sizes of `latent-triplane`: gradients are sums of thousands of values in another order."""
    from latent_nerfstudio.kernels.triplane_triton import triplane_mlp

    shapes = [(4, 3, 32, 32, 32), (64, 32), (64,), (17, 64), (17,)]
    values = [torch.randn(*shape, device="cuda") / shape[-1] ** 0.5 for shape in shapes]
    values[0] = values[0].to(dtype)
    positions, slots = torch.rand(50_000, 3, device="cuda") * 2 - 1, torch.randint(4, (50_000,), device="cuda")
    gradient, results = torch.randn(50_000, 17, device="cuda"), []
    for kernel in (triplane_torch.triplane_mlp, triplane_mlp):
        leaves = [value.clone().requires_grad_() for value in values]
        made = kernel(leaves[0], positions, slots, triplane_torch.TinyMLP(*leaves[1:]), PLANE_AXES, negligible)
        made.backward(gradient)
        results.append([made.detach(), *(leaf.grad for leaf in leaves)])
    for wanted, got in zip(*results, strict=True):
        error = (wanted - got).float().norm() / wanted.float().norm()
        assert float(error) < (1e-3 if got.dtype == torch.float32 else 1e-2)
