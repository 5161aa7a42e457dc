"""Runs the Triton kernel in Triton's interpreter beside its twin, and prints how far apart they are, as JSON.

A program of its own: the interpreter must be chosen before Triton is imported, which torch may do at any time.
"""

import os

if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"

import json

import torch

from latent_nerfstudio.fields.planes import EG3D_AXES, PLANE_AXES
from latent_nerfstudio.kernels import triplane_torch, triplane_triton

CASES = {
    "one scene, powers of two": {},
    "three scenes": {"scenes": 3, "points": 150},
    "features and width that are no powers of two": {"scenes": 2, "features": 10, "hidden": 24, "points": 65},
    "more than padding holds": {"features": 33, "hidden": 20, "outputs": 17, "points": 3},
    "planes that are not square": {"rows": 3, "cols": 6, "scenes": 2},
    "least planes": {"rows": 2, "cols": 2},
    "published axes": {"axes": EG3D_AXES},
    "float16": {"dtype": torch.float16, "scenes": 2},
    "bfloat16": {"dtype": torch.bfloat16, "features": 12},
    "negligible gradients": {"negligible": 0.7, "points": 100, "scenes": 2},
    "frozen MLP": {"trained": (True, False, False, False, False)},
    "frozen planes": {"trained": (False, True, True, True, True)},
    "no points": {"points": 0},
}


def compare(
    scenes=1, rows=5, cols=5, features=16, hidden=16, outputs=4, points=20, axes=PLANE_AXES, dtype=torch.float32,
    negligible=0.0, trained=(True,) * 5,
):  # fmt: skip
    """Largest difference of outputs and of each gradient from the twin's, as a share of the twin's largest value."""
    torch.manual_seed(0)
    shapes = [(scenes, 3, rows, cols, features), (hidden, features), (hidden,), (outputs, hidden), (outputs,)]
    values = [torch.randn(*shape) for shape in shapes]
    values[0] = values[0].to(dtype)
    positions, slots = torch.rand(points, 3) * 2 - 1, torch.randint(scenes, (points,))
    positions[:6] = torch.tensor([[1.0, 1, 1], [-1, -1, -1], [1, -1, 0], [1.2, 0, 0], [0, -7, 1e9], [0, 0, 0]])[:points]
    gradient, results = torch.randn(points, outputs), []
    for kernel in (triplane_torch.triplane_mlp, triplane_triton.triplane_mlp):
        leaves = [v.clone().requires_grad_(wanted) for v, wanted in zip(values, trained, strict=True)]
        made = kernel(leaves[0], positions, slots, triplane_torch.TinyMLP(*leaves[1:]), axes, negligible)
        made.backward(gradient)
        results.append([made.detach(), *(leaf.grad for leaf in leaves)])
    return [difference(*pair) for pair in zip(*results, strict=True)]


def difference(wanted, got):
    if wanted is None or got is None:
        return None if wanted is got else float("inf")
    assert wanted.shape == got.shape and wanted.dtype == got.dtype
    scale = wanted.float().abs().max() if wanted.numel() else 1.0
    return float((wanted - got).float().abs().max() / max(float(scale), 1e-12)) if wanted.numel() else 0.0


if __name__ == "__main__":
    print(json.dumps({name: compare(**settings) for name, settings in CASES.items()}))
