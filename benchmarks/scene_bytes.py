"""PSNR over the bytes of a scene, latents and RGB, at equal precision.

    lns demo-scenes --output data/unseen --num-scenes 4 --views 60 --seed 9100
    lns demo-scenes --output data/others --num-scenes 64 --views 24 --seed 3000
    ns-train latent-triplane --data data/others --pipeline.model.autoencoder.source bundled-cars \\
      --pipeline.model.nerf.field.micro-features 4 --pipeline.model.nerf.field.macro-features 28 \\
      --pipeline.datamanager.scenes-per-batch 16 --pipeline.rgb-alignment-start None --max-num-iterations 2000 \\
      --write-bundle True --experiment-name four --timestamp run --vis tensorboard
    python benchmarks/scene_bytes.py --data data/unseen \\
      --bundles "latents, F_mic 10=bundled-cars" "latents, F_mic 4=outputs/four/latent-triplane/run"

Four scenes that no autoencoder has seen are learned together by each row. What belongs to a scene is then rounded to
float16, to int8 (a scale for each plane and feature, as scene files have it) and to 16 and 4 levels in the same way,
and measured again. Latents against a frozen bundle share what was learned before from other scenes; rows of RGB share
an MLP that these four scenes learn. The page counts shared bytes, in float16, in shares of 100 and of 10,000 scenes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Tuple

import tyro
from common import Flags, Numbers, Results, Stages, Training, in_own_process, measure, named, number, preamble, table

BITS = (32, 16, 8, 4, 2)
"""Of each number of a scene; 8 and fewer with a scale in float16 for each plane and feature."""

RGB_SIZES = ((64, 16), (48, 12), (32, 16), (32, 8), (24, 8), (16, 8))
"""Texels and features of RGB tri-planes, the default first."""

FLEETS = (100, 10_000)
"""Scenes that share."""


@dataclass
class SceneBytes:
    """Learns each row, rounds and measures it."""

    data: str = "data/unseen"
    """Folder of scenes."""
    bundles: Tuple[str, ...] = ("latents=bundled-cars",)
    """Shared bundles of the rows in latents, frozen, each `NAME=SOURCE`."""
    steps: int = 300
    """Steps of latent supervision."""
    rgb_steps: int = 600
    """Steps of RGB."""
    output: Path = Path("benchmarks/scene_bytes.json")
    """JSON file; a page and a picture are written beside it."""
    resume: bool = False
    """Keep what an earlier run has measured."""

    def main(self) -> None:
        """Measures and writes as the numbers come."""
        results = Results(self.output, page, self.resume)
        for name, method, stages, flags in self.rows():
            training = Training(method, named(f"scenes={self.data}"), (*stages.flags(), *flags))
            settings = {"row": name, "flags": training.arguments(stages.total)}
            results.record(settings, lambda t=training, s=stages: in_own_process(measure_bits, t, s.total))
        draw(results, self.output.with_suffix(".png"))

    def rows(self) -> List[Tuple[str, str, Stages, Flags]]:
        """Name, method, steps and flags."""
        field = "--pipeline.model.nerf.field."
        rows: List[Tuple[str, str, Stages, Flags]] = []
        for bundle in map(named, self.bundles):
            flags = ("--pipeline.model.shared-bundle", bundle.source, "--pipeline.train-decoder", "False")
            rows.append((bundle.name, "latent-triplane", Stages(self.steps), flags))
        for texels, features in RGB_SIZES:
            sizes = (field + "resolution", str(texels), field + "micro-features", str(features))
            rows.append((f"RGB, T {texels}, F {features}", "triplane", Stages(self.rgb_steps), sizes))
        return rows


def measure_bits(training: Training, steps: int) -> List[Numbers]:
    """PSNR and bytes of a scene for each number of bits."""
    rows: List[Numbers] = []

    def also(pipeline: Any) -> Numbers:
        rows.extend(rounded_rows(pipeline))
        return {}

    measure(training, [steps], also=also)
    return rows


def rounded_rows(pipeline: Any) -> List[Numbers]:
    """A row for each of `BITS`, from the finest on, and one without micro planes where there are base planes."""
    import torch

    model = pipeline.model
    planes, bases, shared = model.field.micro_planes, model.field.base_planes, model.shared_bytes() / 2
    trained, rows = planes.detach().clone(), []
    weights = 0.0 if bases is None else 4.0 * len(bases)  # float32, as scene files have them
    for bits in BITS if bases is None else (*BITS, 0):
        with torch.no_grad():
            planes.copy_(rounded(trained, bits))
        metrics = pipeline.get_average_eval_image_metrics()
        own = {"bits": bits, "bytes": stored(trained[0], bits) + weights, "shared": shared}
        rows.append({**own, **{name: metrics[name] for name in ("psnr", "ssim")}})
    return rows


def rounded(planes: Any, bits: int) -> Any:
    """Planes [scenes, 3, features, rows, columns] as so many bits a number would hold them; zeros for none."""
    from latent_nerfstudio.scene_files.scene_file import dequantise, quantise

    if bits == 0:
        return 0 * planes
    if bits >= 16:
        return planes.half().float() if bits == 16 else planes
    if bits == 8:
        return dequantise(*quantise(planes.flatten(0, 1))).view_as(planes)
    largest = 2 ** (bits - 1) - 0.5  # few levels lie at both sides of zero
    scales = (planes.abs().amax((-2, -1), keepdim=True) / largest).clamp(min=1e-12)
    return scales * ((planes / scales - 0.5).round().clamp(-largest - 0.5, largest - 0.5) + 0.5)


def stored(planes: Any, bits: int) -> float:
    """Bytes of planes [..., rows, columns] with so many bits a number."""
    scales = 2 * planes[..., 0, 0].numel() if 0 < bits < 16 else 0
    return planes.numel() * bits / 8 + scales


def page(results: Results) -> str:
    """The table as Markdown."""
    head = ["row", "bits", "PSNR", "SSIM", "KB a scene", *(f"with shared, {count:,} scenes" for count in FLEETS)]
    rows = [
        [own["row"], str(row["bits"]), number(row, "psnr"), number(row, "ssim", "{:.3f}"), f"{row['bytes'] / 1e3:.1f}"]
        + [f"{(row['bytes'] + row['shared'] / count) / 1e3:.1f}" for count in FLEETS]
        for own, numbers in results.find()
        for row in numbers
    ]
    picture = f"![PSNR over bytes a scene]({results.path.with_suffix('.png').name})"
    words = "0 bits: scene weights of the base planes alone. KB are 1000 bytes."
    return "\n".join([*preamble("Bytes of a scene"), *table(head, rows), "", words, "", picture, ""])


def draw(results: Results, path: Path) -> None:
    """Curves of PSNR over bytes a scene, what is shared counted among 10,000."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), dpi=110)
    for own, numbers in results.find():
        sizes = [(row["bytes"] + row["shared"] / FLEETS[-1]) / 1e3 for row in numbers]
        style = "o-" if own["row"].startswith("latents") else ".--"
        axes.plot(sizes, [row["psnr"] for row in numbers], style, label=own["row"], markersize=4)
    axes.set(xscale="log", xlabel=f"KB a scene, shared ones among {FLEETS[-1]:,}", ylabel="PSNR, dB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    tyro.cli(SceneBytes).main()
