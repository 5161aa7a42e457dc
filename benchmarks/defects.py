"""Defects of the published pipeline of latent NeRFs, each put into ours alone, and each taken out of all of them.

    python benchmarks/defects.py --data car=data/unseen/car_0000 --seconds 150

They are those of the code of IG-AE (arXiv 2410.22936), and are made here, around the package, which has none of them:
see `published`. All rows have the same steps, which are found by the rate of a short run without defects; whole latent
pictures a step have as many steps of latent supervision as take the same seconds.

The published autoencoders have the downscale factor 8, and so has the default here. With a factor of 4, rounding down
changes nothing of the demo scenes, whose focal length is 140 pixels.
"""

import warnings
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from statistics import mean, stdev
from typing import Any, Callable, Dict, List, Literal, Optional, Sequence, Tuple
from unittest.mock import patch

import tyro
from common import (
    NEVER,
    Flags,
    Named,
    Numbers,
    Results,
    Stages,
    Training,
    clock_name,
    encoder_hashes,
    fitting_stages,
    in_own_process,
    measure,
    named,
    number,
    preamble,
    shown,
    table,
)

Direction = Literal["into ours", "out of all"]
"""What is measured of a defect: it alone put into the package's pipeline, or taken out of one that has all."""

PACKAGE = "latent_nerfstudio."

TRIAL = (8, 24)
"""Steps of each stage before its rate is measured, and steps that it is measured on."""

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes of a function of the package one with a defect."""


def rounded_down(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of `LatentDataManager.prepare`: intrinsics divided by the factor and rounded down; numbers of pixels stay.

    Those of whole pictures, before crops move the principal point by any number of pixels: rounded afterwards, each
    crop would be shifted otherwise, which the published code, without crops, does not do.
    """
    from latent_nerfstudio.latent_space.resolution import latent_cameras

    def prepare(manager: Any, space: Any) -> None:
        original(manager, space)
        _ = manager.cached_eval  # lenses are taken out of pictures with the exact intrinsics
        factor = space.downscale_factor
        for cameras in (manager.train_dataset.cameras, manager.eval_dataset.cameras):
            for name in ("fx", "fy", "cx", "cy"):
                setattr(cameras, name, getattr(cameras, name) // factor * factor)
        manager.latent_cameras = latent_cameras(manager.train_dataset.cameras, factor).to(manager.device)

    return prepare


def quartered(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of `LatentModel.get_loss_dict`: the squared error of latents in [0, 1], not [-1, 1], beside the regularisers."""

    def get_loss_dict(model: Any, *arguments: Any) -> Dict[str, Any]:
        losses = original(model, *arguments)
        return {**losses, "latent_loss": losses["latent_loss"] / 4}

    return get_loss_dict


def borderless(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of `LatentSpace.encode_background`: its middle everywhere, without what the encoder makes of borders."""

    def encode_background(space: Any) -> None:
        original(space)
        middle = space.background.shape[0] // 2
        space.background.copy_(space.background[middle, middle].clone().expand_as(space.background))

    return encode_background


def without_regularizers(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of `LatentModel.get_regularization_dict`, in RGB alignment: nothing but the picture counts."""

    def get_regularization_dict(model: Any, outputs: Dict[str, Any]) -> Dict[str, Any]:
        return {}

    return get_regularization_dict


def of_one_picture(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of `draw_pixels`: all pixels of a random picture, but for those that masks leave out.

    The published code goes through all pictures before it begins anew.
    """
    import torch

    def draw_pixels(
        pixels: Any, count: int, scenes_per_batch: int, generator: torch.Generator, *_: Any
    ) -> torch.Tensor:
        index = int(torch.randint(len(pixels.heights), (), generator=generator))
        start, end = int(pixels.starts[index]), int(pixels.starts[index + 1])
        if pixels.valid is None:
            return torch.arange(start, end)
        return pixels.valid[(pixels.valid >= start) & (pixels.valid < end)]

    return draw_pixels


def sampled(original: Callable[..., Any], noise: Optional[float]) -> Callable[..., Any]:
    """Of `encode_images`: one sample of the posterior a picture, kept in the cache; see `Defects.noise`."""
    import torch

    def encode_images(images: Sequence[Any], autoencoder: Any, batch_size: int) -> List[torch.Tensor]:
        if noise is None:
            with patch(PACKAGE + "latent_space.autoencoder.latents_of", lambda output: output.latent_dist.sample()):
                return original(images, autoencoder, batch_size)
        means = [latent.float() for latent in original(images, autoencoder, batch_size)]
        deviation = noise * torch.cat([latent.flatten(0, 1) for latent in means]).std(dim=0)
        return [(latent + deviation * torch.randn_like(latent)).half() for latent in means]

    return encode_images


@dataclass(frozen=True)
class Defect:
    """What the published pipeline does otherwise."""

    name: str
    """In the table."""
    ours: str
    """What the package does instead."""
    wrappers: Tuple[Tuple[str, Wrapper], ...] = ()
    """Functions of the package, by their names in it, and what makes defective ones of them."""
    flags: Flags = ()
    """Of ns-train."""
    scheduler_flags: Flags = ()
    """Further flags of the scheduler of each of the NeRF's optimizers, without `--optimizers.GROUP.scheduler.`."""
    has_own_rate: bool = False
    """Whether a step of latent supervision takes other seconds."""


def published(noise: Optional[float]) -> Tuple[Defect, ...]:
    """All defects that are measured. Learning rates of the decoder fall in the published code as well."""
    return (
        Defect(
            "intrinsics rounded down",
            "exact",
            wrappers=(("data.latent_datamanager.LatentDataManager.prepare", rounded_down),),
        ),
        Defect(
            "tanh(0.02 z)",
            "mean and deviation a channel",
            wrappers=(("models.latent_model.LatentModel.get_loss_dict", quartered),),
            flags=("--pipeline.model.normalizer", "tanh"),
        ),
        Defect(
            "one latent as background",
            "encoded, with borders",
            wrappers=(("latent_space.latent_space.LatentSpace.encode_background", borderless),),
        ),
        Defect(
            "no regularisers in RGB alignment",
            "those of latent supervision",
            wrappers=(("models.latent_model.LatentModel.get_regularization_dict", without_regularizers),),
        ),
        Defect(
            "the NeRF's learning rates do not fall in RGB alignment",
            "half a cosine",
            scheduler_flags=("max-steps", NEVER),
        ),
        Defect(
            "a whole latent picture a step",
            "random latent pixels of all pictures",
            wrappers=(("data.latent_datamanager.draw_pixels", of_one_picture),),
            has_own_rate=True,
        ),
        Defect(
            "a sample of the posterior",
            "its mean",
            wrappers=(("data.latent_cache.encode_images", partial(sampled, noise=noise)),),
        ),
    )


TEXT = """\
`{method}` on one scene, autoencoder `{source}`: {supervision} steps of latent supervision, {crops} of RGB alignment on
crops, {whole} on whole pictures, as many as fit into {seconds:.0f} {clock}. Latent supervision has {rays:,} random
latent pixels a step, or a whole latent picture a step and as many steps as take the same seconds. PSNR and SSIM are
means over the held-out views.

*Into ours*: the package's pipeline with this defect of the published one alone; what it costs, dB. *Out of all*: the
pipeline with all defects but this; what is gained, dB. The first row has none on the left and all on the right.
Deviations are those of the seeds' numbers, where there are several.

Not measured: one picture a step of RGB alignment and no crops, optimizers that start anew with it, learning rates that
hardly fall in latent supervision, and scene contraction with the same near and far planes for all scenes."""

NOISE = """\
The sample is the mean and {noise} of each channel's deviation as noise, since the bundled autoencoders are trained on
means: their posteriors' deviations mean nothing."""


@dataclass(frozen=True)
class Row:
    """A training with some of the defects."""

    training: Training
    """Without any, and without its stages."""
    defects: Tuple[Defect, ...]
    """Those that it has."""
    groups: Tuple[str, ...]
    """Names on the command line of the NeRF's optimizers."""

    @property
    def names(self) -> List[str]:
        """Names of its defects."""
        return [defect.name for defect in self.defects]

    def planned(self, stages: Stages) -> Training:
        """The training of so many steps."""
        flags = [*self.training.flags, *stages.flags()]
        for defect in self.defects:
            flags += defect.flags
            if defect.scheduler_flags:
                name, value = defect.scheduler_flags
                flags += [text for group in self.groups for text in (f"--optimizers.{group}.scheduler.{name}", value)]
        return replace(self.training, flags=tuple(flags))

    def applied(self) -> ExitStack:
        """A context in which the package has the defects."""
        stack = ExitStack()
        for name, wrapper in (pair for defect in self.defects for pair in defect.wrappers):
            stack.enter_context(patch(PACKAGE + name, wrapper(resolve_name(PACKAGE + name))))
        return stack


@dataclass
class Defects:
    """Trains and measures with and without each defect."""

    data: str
    """One scene: `NAME=FOLDER`, or in quotes `NAME=FOLDER FLAGS... DATAPARSER FLAGS...`."""
    method: str = "latent-nerfacto"
    """Method of ns-train."""
    source: str = "bundled-standard"
    """Autoencoder."""
    directions: Tuple[Direction, ...] = ("into ours", "out of all")
    """What to measure of each defect."""
    seeds: Tuple[int, ...] = (42,)
    """Of the runs; several tell differences from chance."""
    rays: int = 4096
    """Random latent pixels a step of latent supervision."""
    noise: Optional[float] = 0.05
    """Deviation of a sample of the posterior, in those of the channel; None for the autoencoder's own. The bundled ones
    are trained on means, so that theirs means nothing."""
    seconds: float = 150.0
    """Training without defects: CPU seconds on a CPU, seconds on a GPU."""
    supervision: float = 0.3
    """Share of the seconds for latent supervision; the rest is RGB alignment."""
    output: Path = Path("benchmarks")
    """Folder of the table and the numbers."""
    resume: bool = False
    """Keep what an interrupted run with the same settings has measured."""

    def main(self) -> None:
        """Measures, and writes defects.md and defects.json.

        Raises:
            ValueError: a flag of another form, a method that is not there, or a share that leaves a stage out.
            FileNotFoundError: a scene or an autoencoder that is not there.
        """
        scene, groups = named(self.data), nerf_groups(self.method)
        if not Path(scene.source).exists():
            raise FileNotFoundError(f"{scene.source}: expected a scene, got nothing there; check --data")
        if not 0 < self.supervision < 1:
            raise ValueError(f"supervision: expected a share in (0, 1), got {self.supervision}; 0.3 is the default")
        in_own_process(encoder_hashes, [self.source])
        results = Results(self.output / "defects.json", self.page, self.resume)
        for defects in self.combinations():
            row = self.row(scene, groups, defects)
            stages = self.stages_of(results, row)
            for seed in self.seeds:
                settings = {**self.settings(), "kind": "row", "defects": row.names, "seed": seed}
                results.record(settings, lambda r=row, n=stages, s=seed: in_own_process(train, r, n, s))
        print(results.path.with_suffix(".md").read_text(encoding="utf-8"))

    def settings(self) -> Dict[str, Any]:
        """What all rows have in common."""
        names = ("method", "rays", "noise", "seconds", "supervision")
        return {"data": shown(self.data), "source": shown(self.source), **{name: getattr(self, name) for name in names}}

    def row(self, scene: Named, groups: Tuple[str, ...], defects: Tuple[Defect, ...]) -> Row:
        """A row with some defects."""
        rays = ("--pipeline.datamanager.rays-per-batch", str(self.rays))
        flags = ("--pipeline.model.autoencoder.source", self.source, *rays)
        return Row(Training(self.method, scene, flags), defects, groups)

    def combinations(self) -> List[Tuple[Defect, ...]]:
        """The defects of each row."""
        every = published(self.noise)
        into = [(), *((defect,) for defect in every)]
        out = [every, *(tuple(other for other in every if other is not defect) for defect in every)]
        return [*(into if "into ours" in self.directions else []), *(out if "out of all" in self.directions else [])]

    def stages_of(self, results: Results, row: Row) -> Stages:
        """Steps of a row: those without defects, but for latent supervision where its steps take other seconds."""
        own = tuple(defect for defect in row.defects if defect.has_own_rate)
        ours, theirs = (self.find_stages(results, replace(row, defects=defects)) for defects in ((), own))
        return replace(ours, supervision=theirs.supervision)

    def find_stages(self, results: Results, row: Row) -> Stages:
        """As many steps as fit into the seconds; measured once for some defects."""
        settings = {**self.settings(), "kind": "stages", "defects": row.names}
        return Stages(**results.record(settings, lambda: in_own_process(fit, row, self.seconds, self.supervision)))

    def page(self, results: Results) -> str:
        """The tables as Markdown."""
        common = self.settings()
        rows, stages = results.find(kind="row", **common), results.find(kind="stages", defects=[], **common)
        words = {**common, "clock": "seconds" if clock_name() == "seconds" else "CPU seconds", **stages[-1][1]}
        lines = [*preamble("Defects of the published pipeline"), TEXT.format(**words), ""]
        lines += [] if self.noise is None else [NOISE.format(noise=self.noise), ""]
        lines += [*table(*effect_table(rows, published(self.noise))), ""]
        return "\n".join([*lines, "## All runs", "", *table(*run_table(rows)), ""])


def nerf_groups(method: str) -> Tuple[str, ...]:
    """Names on the command line of a method's optimizers, without the decoder's.

    Raises:
        ValueError: a method that is not there.
    """
    from nerfstudio.configs.method_configs import all_methods

    if method not in all_methods:
        raise ValueError(f"method: expected one of ns-train's, got {method!r}; see ns-train --help")
    return tuple(name.replace("_", "-") for name in all_methods[method].optimizers if name != "decoder")


def fit(row: Row, seconds: float, supervision: float) -> Dict[str, int]:
    """Steps of each stage that fit into some seconds."""
    with row.applied():
        return asdict(fitting_stages(row.planned, seconds, supervision, TRIAL))


def train(row: Row, stages: Stages, seed: int) -> Numbers:
    """Trains and measures."""
    training = row.planned(stages)
    seeds = ("--machine.seed", str(seed))
    with row.applied():
        numbers = measure(replace(training, flags=(*training.flags, *seeds)), [stages.total])[0]
    return {**numbers, "stages": asdict(stages)}


Rows = Sequence[Tuple[Dict[str, Any], Numbers]]
"""Settings and numbers of the runs."""


def over_seeds(rows: Rows, defects: Sequence[Defect], name: str) -> List[float]:
    """A number of the runs with exactly some defects, of each seed."""
    names = [defect.name for defect in defects]
    return [numbers[name] for own, numbers in rows if own["defects"] == names]


def effect_table(rows: Rows, every: Sequence[Defect]) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a defect, what it costs in ours and what is gained without it in theirs."""
    head = ["published", "ours", "PSNR, into ours", "SSIM", "costs", "PSNR, out of all", "SSIM", "gains"]
    ours, theirs = over_seeds(rows, (), "psnr"), over_seeds(rows, every, "psnr")
    lines = [["(none of them, all of them)", "", *quality_of(rows, ()), "", *quality_of(rows, every), ""]]
    for defect in every:
        others = [other for other in every if other is not defect]
        costs = difference(ours, over_seeds(rows, [defect], "psnr"))
        gains = difference(over_seeds(rows, others, "psnr"), theirs)
        quality = quality_of(rows, [defect]), quality_of(rows, others)
        lines.append([defect.name, defect.ours, *quality[0], costs, *quality[1], gains])
    return head, lines


def quality_of(rows: Rows, defects: Sequence[Defect]) -> Tuple[str, str]:
    """Cells: PSNR, with its deviation where there are several seeds, and SSIM."""
    psnr, ssim = (over_seeds(rows, defects, name) for name in ("psnr", "ssim"))
    if not psnr:
        return "-", "-"
    spread = f" ± {stdev(psnr):.2f}" if len(psnr) > 1 else ""
    return f"{mean(psnr):.2f}{spread}", f"{mean(ssim):.3f}"


def difference(first: Sequence[float], second: Sequence[float]) -> str:
    """A cell: the means' difference."""
    return f"{mean(first) - mean(second):+.2f}" if first and second else "-"


def run_table(rows: Rows) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a run."""
    head = ["defects", "seed", "steps", "seconds", "CPU seconds", "PSNR", "SSIM", "latent PSNR", "ceiling"]
    forms = {"seconds": "{:.0f}", "cpu_seconds": "{:.0f}", "psnr": "{:.2f}", "ssim": "{:.3f}"}
    forms |= {"latent_psnr": "{:.2f}", "autoencoder_psnr": "{:.2f}"}
    lines = []
    for own, numbers in rows:
        steps = " + ".join(map(str, numbers["stages"].values()))
        cells = [number(numbers, name, form) for name, form in forms.items()]
        lines.append(["; ".join(own["defects"]) or "none", str(own["seed"]), steps, *cells])
    return head, lines


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(Defects).main()
