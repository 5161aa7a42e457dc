"""Tri-plane lookup and tiny MLP: points a second of each kernel, beside what the memory's bandwidth allows.

    python benchmarks/kernels.py

is for a GPU. Triton's interpreter shows elsewhere that the command works, and its times say nothing:

    TRITON_INTERPRET=1 python benchmarks/kernels.py --points 256 --scenes 2 --repeats 1 --output /tmp/kernels.json

The floor are the bytes that cannot be avoided (positions, scenes, outputs or their gradients once a point, planes and
their gradients once), at the bandwidth with which this device copies a large tensor. The sizes are `latent-triplane`'s.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List, Literal, Sequence, Tuple

import tyro
from common import Numbers, Results, preamble, table

Direction = Literal["forward", "forward and backward"]

DTYPES = ("float32", "float16", "bfloat16")
"""Of planes."""


@dataclass
class Kernels:
    """Measures the kernels."""

    points: int = 1 << 20
    """Points at once; a step of 2048 rays has 49,152."""
    scenes: int = 16
    """Scenes that the points are of, in the order of training."""
    resolution: int = 32
    """Texels along the side of a plane."""
    features: int = 32
    """Features a plane."""
    hidden: int = 64
    """Width of the MLP."""
    outputs: int = 17
    """Density and channels."""
    repeats: int = 20
    """Measurements, after three more; the median counts."""
    output: Path = Path("benchmarks/kernels.json")
    """The numbers; the table lies beside it."""

    def main(self) -> None:
        import torch

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        results = Results(self.output, page)
        results.record({"study": "bandwidth"}, lambda: {"bytes_a_second": bandwidth(device, self.repeats)})
        for dtype in DTYPES:
            for name, kernel in kernels().items():
                for direction in ("forward", "forward and backward"):
                    settings = {"kernel": name, "planes": dtype, "direction": direction, "points": self.points}
                    results.record(settings, partial(self.measure, kernel, getattr(torch, dtype), direction, device))
        results.write()

    def measure(self, kernel: Callable[..., Any], dtype: Any, direction: Direction, device: Any) -> Numbers:
        """Seconds of a kernel, and the bytes of the floor."""
        planes, positions, slots, weights, gradient = self.inputs(dtype, device)
        from latent_nerfstudio.fields.planes import PLANE_AXES

        leaves = (planes, *weights)

        def run() -> None:
            outputs = kernel(planes, positions, slots, weights, PLANE_AXES)
            if direction != "forward":
                outputs.backward(gradient)
                for leaf in leaves:
                    leaf.grad = None

        each = 12 + slots.element_size() + 4 * self.outputs
        plane_bytes = planes.numel() * planes.element_size()
        floor = self.points * each + plane_bytes
        if direction != "forward":
            floor = 2 * floor + plane_bytes
        return {"seconds": seconds(run, self.repeats, device), "floor_bytes": floor}

    def inputs(self, dtype: Any, device: Any) -> Tuple[Any, ...]:
        """Planes, positions, slots, weights and the outputs' gradient."""
        import torch

        from latent_nerfstudio.kernels.triplane_torch import TinyMLP

        torch.manual_seed(0)

        def fresh(*shape: int) -> Any:
            return (torch.randn(*shape, device=device) / shape[-1] ** 0.5).requires_grad_()

        side = self.resolution
        planes = fresh(self.scenes, 3, side, side, self.features).detach().to(dtype).requires_grad_()
        weights = TinyMLP(
            fresh(self.hidden, self.features), fresh(self.hidden), fresh(self.outputs, self.hidden), fresh(self.outputs)
        )
        positions = torch.rand(self.points, 3, device=device) * 2 - 1
        slots = (torch.arange(self.points, device=device) * self.scenes) // self.points
        return planes, positions, slots, weights, torch.randn(self.points, self.outputs, device=device)


def kernels() -> Dict[str, Callable[..., Any]]:
    """The kernels by name: by autograd; written out in torch; and in Triton."""
    from torch.nn.functional import linear

    from latent_nerfstudio.fields.planes import sample_planes
    from latent_nerfstudio.kernels import triplane_torch, triplane_triton

    def by_autograd(planes: Any, positions: Any, slots: Any, mlp: Any, axes: Any) -> Any:
        sampled = sample_planes(planes.permute(0, 1, 4, 2, 3).float(), positions.view(len(planes), -1, 3), axes)
        features = sampled.sum(dim=1).flatten(0, 1)  # points come scene by scene
        return linear(linear(features, mlp[0], mlp[1]).relu(), mlp[2], mlp[3])

    return {
        "autograd": by_autograd,
        "torch": triplane_torch.triplane_mlp,
        "triton": triplane_triton.triplane_mlp,
    }


def seconds(function: Callable[[], Any], repeats: int, device: Any) -> float:
    """Median wall-clock seconds of a call."""
    import torch

    spent: List[float] = []
    for _ in range(3 + repeats):
        began = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return median(spent[3:])


def bandwidth(device: Any, repeats: int) -> float:
    """Bytes a second, read and written, of copying a tensor that no cache holds."""
    import torch

    source = torch.empty((1 << 28) if device.type == "cuda" else (1 << 24), device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / seconds(lambda: target.copy_(source), repeats, device)


def page(results: Results) -> str:
    """The table."""
    rate = results.find(study="bandwidth")[0][1]["bytes_a_second"]
    rows: List[Sequence[str]] = []
    for settings, numbers in results.find():
        if "kernel" not in settings:
            continue
        spent, floor = numbers["seconds"], numbers["floor_bytes"] / rate
        points = f"{settings['points'] / spent / 1e6:.1f}"
        own = [settings["kernel"], settings["planes"], settings["direction"], points]
        rows.append([*own, f"{settings['points'] / floor / 1e6:.0f}", f"{100 * floor / spent:.1f} %"])
    head = ("kernel", "planes", "what", "million points a second", "floor allows", "share of the floor")
    about = f"Memory of this device: {rate / 1e9:.0f} GB a second, copying."
    return "\n".join([*preamble("Lookup and MLP"), about, "", *table(head, rows), ""])


if __name__ == "__main__":
    tyro.cli(Kernels).main()
