"""The figures of `lns report`: quality over time, and cost over the number of scenes."""

from itertools import permutations
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from latent_nerfstudio.files.replacing import replacing_file
from latent_nerfstudio.reports.run_report import Cost, RunReport, break_even

SCENES = (1, 10_000)
"""Numbers of scenes from left to right of the figure of costs."""

Curve = List[Tuple[float, float]]
"""Seconds of training a scene, and mean PSNR of the pictured held-out views, dB."""


def quality_curves(reports: Sequence[RunReport]) -> Dict[str, Curve]:
    """Of the runs that were measured while training, with `--steps-per-pictures`, by name."""
    curves: Dict[str, Curve] = {}
    for report in reports:
        if lines := [line for line in report.history if "seconds" in line and "psnr" in line]:
            curves[report.name] = [(line["seconds"] / len(report.scenes), line["psnr"]) for line in lines]
    return curves


def plot_quality(curves: Mapping[str, Curve], path: Path) -> None:
    """PSNR over seconds of training a scene (3Da-AE, figure 6)."""
    figure, axes = new_figure(1)
    for name, curve in curves.items():
        axes[0].plot(*zip(*curve, strict=True), marker=".", label=name)
    axes[0].set(xlabel="seconds of training a scene", ylabel="PSNR of held-out views, dB", xscale="log")
    axes[0].grid(alpha=0.3, which="both")
    axes[0].legend()
    save(figure, path)


def plot_costs(costs: Mapping[str, Mapping[str, Cost]], path: Path) -> None:
    """Seconds and bytes in all over the number of scenes, and where runs break even (3Da-AE, figure 7)."""
    figure, axes = new_figure(2)
    counts = np.geomspace(*SCENES, 200)
    for axis, name, scale, unit in zip(axes, ("seconds", "bytes"), (3600.0, 1e6), ("hours", "MB"), strict=True):
        own = {run: cost[name] for run, cost in costs.items()}
        for run, cost in own.items():
            axis.plot(counts, [cost.total(n) / scale for n in counts], label=run)
        for first, second in break_even_points(own):
            axis.plot(first, second / scale, "o", color="black", markersize=5)
            axis.annotate(f"{first:.0f} scenes", (first, second / scale), textcoords="offset points", xytext=(6, -10))
        axis.set(xlabel="scenes", ylabel=f"{unit} in all", xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend()
    save(figure, path)


def break_even_points(costs: Mapping[str, Cost]) -> List[Tuple[float, float]]:
    """Number of scenes and cost where two runs cost the same, within the figure."""
    counts = ((one, break_even(one, other)) for one, other in permutations(costs.values(), 2))
    return [(count, one.total(count)) for one, count in counts if count is not None and SCENES[0] < count < SCENES[1]]


def new_figure(panels: int) -> Tuple[Any, List[Any]]:
    """A figure without a display, and its axes from left to right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * panels, 4), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def save(figure: Any, path: Path) -> None:
    with replacing_file(path) as stream:
        figure.savefig(stream, format="png", dpi=120)
