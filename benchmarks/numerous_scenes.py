"""What a scene costs: PSNR over seconds a scene, in RGB and in latent space, alone and together.

    lns demo-scenes --output data/benchmark --num-scenes 4 --views 60 --seed 77
    python benchmarks/numerous_scenes.py --data data/benchmark

Every point is a training of its own, whose learning rates fall to its end: a run that was broken off early would be
worth less than one that was planned so. Rows that learn scenes together take all of them in one run, and their seconds
are divided by their number; the others learn one scene after another.

The row "RGB, published" has the published planes, samples, bounds and batches (3Da-AE, Fused-Planes: 64 texels, 32
features, 48 + 48 samples a ray in a box of side 2, a whole picture a step), but our planes XY, XZ and YZ. Its own
schedule has 80 passes over the pictures; what these would take is written beside it, at the rate measured.

Steps have 4096 pixels or 2048 latent pixels by default, "small steps" 2048 and 512, which is as many for two scenes as
`lns fit-scenes` takes: both spaces gain by them in the first seconds.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Dict, List, Optional, Sequence, Tuple

import tyro
from common import (
    Flags,
    Named,
    Numbers,
    Results,
    Stages,
    Training,
    clock_name,
    fitting_stages,
    in_own_process,
    measure,
    number,
    preamble,
    seconds_a_step,
    table,
)

TRIAL = (8, 24)
"""Steps of each stage before its rate is measured, and steps that it is measured on."""

PUBLISHED_TRIAL = (1, 3)
"""Likewise of the published row, whose steps take seconds on a CPU."""

PUBLISHED_PASSES = 80
"""Passes over the training pictures of the published RGB schedule."""

RENDERS = 5
"""Renders of a held-out view, whose median counts; there is one more before."""

RAYS = "--pipeline.datamanager.rays-per-batch"
BUNDLE = ("--pipeline.model.shared-bundle", "bundled")
FROZEN = (*BUNDLE, "--pipeline.train-decoder", "False")
TRAINED = (*BUNDLE, "--pipeline.train-base-planes", "True", "--pipeline.train-mlp", "True")
FINE = ("--pipeline.model.nerf.field.resolution", "128")
PUBLISHED = (
    *("--pipeline.model.nerf.field.resolution", "64", "--pipeline.model.nerf.field.micro-features", "32"),
    *("--pipeline.model.nerf.num-samples", "48", "--pipeline.model.nerf.num-importance-samples", "48"),
)
PUBLISHED_BOX = ("scenes", "--box", *map(str, (-1, -1, -1, 1, 1, 1)))


@dataclass(frozen=True)
class Kind:
    """A way to learn scenes."""

    name: str
    """In the table."""
    method: str
    """Of ns-train."""
    together: bool
    """Whether all scenes are learned in one run."""
    flags: Flags = ()
    """Of ns-train."""
    supervision: float = 1.0
    """Share of the seconds for latent supervision; the rest is RGB alignment."""
    is_published: bool = False
    """Whether a step is a whole picture in the published box."""
    from_height: int = 0
    """Height of pictures below which the row is left out, unless it is asked for."""


KINDS = (
    Kind("RGB, published", "triplane", together=False, flags=PUBLISHED, is_published=True),
    Kind("RGB, one by one", "triplane", together=False),
    Kind("RGB, together", "triplane", together=True),
    Kind("RGB, together, small steps", "triplane", together=True, flags=(RAYS, "2048")),
    Kind("RGB, together, T = 128", "triplane", together=True, flags=FINE, from_height=256),
    Kind("latent, frozen bundle", "latent-triplane", together=True, flags=FROZEN),
    Kind("latent, frozen bundle, small steps", "latent-triplane", together=True, flags=(*FROZEN, RAYS, "512")),
    Kind("latent, frozen bundle, aligned", "latent-triplane", together=True, flags=FROZEN, supervision=0.4),
    Kind("latent, bundle trained on", "latent-triplane", together=True, flags=TRAINED, supervision=0.3),
)

TEXT = """\
{count} scenes of {height} x {width} pixels, {views} training views each. Seconds are {clock} of training a scene,
without start-up, reading and encoding. PSNR and SSIM are means over the held-out views of all scenes. Rendering:
{clock} of one held-out view in milliseconds, latent and decoding together, median of {renders}. Bytes are of
float32."""


@dataclass
class NumerousScenes:
    """Trains each kind of run for each number of seconds a scene, and measures."""

    data: Path
    """Folder of scene folders."""
    seconds: Tuple[float, ...] = (1.0, 3.0, 9.0, 27.0)
    """Training of a scene: CPU seconds on a CPU, seconds on a GPU."""
    published_seconds: float = 90.0
    """Training of a scene in the published setting, of the first scene alone."""
    kinds: Tuple[str, ...] = ()
    """Names of the rows; by default all that make sense for pictures of this size."""
    flags: Tuple[str, ...] = ()
    """Further flags of all latent rows, such as a bundle of your own."""
    output: Path = Path("benchmarks/numerous_scenes.json")
    """Numbers; a page and a figure are written beside them."""
    resume: bool = False
    """Keep what an interrupted run with the same settings has measured."""

    def main(self) -> None:
        """Measures, and writes numbers, page and figure.

        Raises:
            FileNotFoundError: there are no scenes.
            ValueError: a row that is not known.
        """
        from latent_nerfstudio.data.scenes_dataparser import read_scenes

        known = [kind.name for kind in KINDS]
        for name in self.kinds:
            if name not in known:
                raise ValueError(f"kinds: expected some of {', '.join(known)}, got {name!r}; use these names")
        scenes = [scene.name for scene in read_scenes(self.data)]
        results = Results(self.output, self.page, self.resume)
        about = results.record({"kind": "data"}, lambda: in_own_process(describe, self.data, scenes))
        for kind in KINDS:
            if kind.name not in self.kinds if self.kinds else about["height"] < kind.from_height:
                continue
            for seconds in [self.published_seconds] if kind.is_published else self.seconds:
                settings = {"kind": kind.name, "seconds": seconds, "flags": [*kind.flags, *self.flags]}
                runs = [scenes] if kind.together else [[name] for name in scenes]
                runs = runs[:1] if kind.is_published else runs
                results.record(settings, lambda k=kind, s=seconds, r=runs: self.point(k, s, r))
        self.draw(results)
        print(results.path.with_suffix(".md").read_text(encoding="utf-8"))

    def point(self, kind: Kind, seconds: float, runs: Sequence[Sequence[str]]) -> Numbers:
        """A kind of run for so many seconds a scene, mean over the runs."""
        further = () if kind.method == "triplane" else self.flags
        data = [self.of_scenes(kind, names) for names in runs]
        parts = [
            in_own_process(train, kind, one, further, seconds * len(names))
            for one, names in zip(data, runs, strict=True)
        ]
        names = [name for name, value in parts[0].items() if isinstance(value, (int, float))]
        whole: Dict[str, Any] = {name: mean(part[name] for part in parts) for name in names}
        return {**whole, "a_scene": whole[clock_name()] / len(runs[0]), "stages": parts[0]["stages"]}

    def of_scenes(self, kind: Kind, names: Sequence[str]) -> Named:
        """The data of a run."""
        box = PUBLISHED_BOX if kind.is_published else ("scenes",)
        return Named("scenes", str(self.data), dataparser=(*box, "--scenes", *names))

    def page(self, results: Results) -> str:
        """The table as Markdown."""
        [(_, about)] = results.find(kind="data")
        words = {**about, "clock": clock_name().replace("_", " ").replace("cpu", "CPU"), "renders": RENDERS}
        title = "What a scene costs, {height} x {width} pixels".format(**about)
        lines = [*preamble(title), TEXT.format(**words), "", *table(*point_table(results)), ""]
        lines += [f"![PSNR over seconds a scene]({self.output.stem}.png)", ""]
        return "\n".join(
            [*lines, "## At equal quality", "", *table(*equal_quality(results)), "", *closing(results), ""]
        )

    def draw(self, results: Results) -> None:
        """The figure."""
        from latent_nerfstudio.reports.figures import plot_quality

        plot_quality(curves_of(results), self.output.with_suffix(".png"))


def describe(data: Path, scenes: Sequence[str]) -> Numbers:
    """Numbers of scenes and views, and the pictures' size."""
    import latent_nerfstudio.data.scenes_dataparser as parser

    config = parser.ScenesDataParserConfig(data=data)
    cameras = config.setup().get_dataparser_outputs("train").cameras
    size = {"height": int(cameras.height.max()), "width": int(cameras.width.max())}
    return {"count": len(scenes), "views": len(cameras) // len(scenes), **size}


def train(kind: Kind, data: Named, further: Flags, seconds: float) -> Numbers:
    """Trains for so many seconds in all, and measures."""
    if kind.is_published:
        return train_published(kind, data, seconds)

    def plan(stages: Stages) -> Training:
        return Training(kind.method, data, (*kind.flags, *further, *stages.flags()))

    stages = fitting_stages(plan, seconds, kind.supervision, TRIAL)
    [numbers] = measure(plan(stages), [stages.total], also=render_time)
    return {**numbers, "stages": " + ".join(str(n) for n in vars(stages).values() if n)}


def train_published(kind: Kind, data: Named, seconds: float) -> Numbers:
    """Likewise with a picture's number of rays a step, and what the published number of steps would take."""
    about = describe(Path(data.source), [data.dataparser[-1]])
    rays = (RAYS, str(about["height"] * about["width"]))
    training = Training(kind.method, data, (*kind.flags, *rays, *Stages(1).flags()))
    [rate] = seconds_a_step(training, [sum(PUBLISHED_TRIAL)], PUBLISHED_TRIAL[1])
    steps = max(1, round(seconds / rate))
    [numbers] = measure(training, [steps], also=render_time)
    whole = rate * PUBLISHED_PASSES * views_of(data)
    return {**numbers, "stages": str(steps), "published_seconds": whole}


def views_of(data: Named) -> int:
    """Training views of a scene."""
    from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig

    config = ScenesDataParserConfig(data=Path(data.source), scenes=(data.dataparser[-1],))
    return len(config.setup().get_dataparser_outputs("train").cameras)


def render_time(pipeline: Any) -> Numbers:
    """Milliseconds of `clock_name` for a held-out view."""
    from statistics import median

    from common import Stopwatch

    camera = pipeline.datamanager.eval_dataset.cameras[0:1].to(pipeline.model.device)
    pipeline.eval()
    times = []
    for _ in range(RENDERS + 1):
        watch = Stopwatch()
        watch.go()
        pipeline.model.get_outputs_for_camera(camera)
        watch.pause()
        times.append(1000 * watch.spent())
    pipeline.train()
    return {"render_ms": median(times[1:])}


def rows_of(results: Results) -> List[Tuple[Dict[str, Any], Numbers]]:
    """Settings and numbers of all points in the order of the kinds."""
    names = [kind.name for kind in KINDS]
    points = [pair for pair in results.find() if pair[0]["kind"] in names]
    return sorted(points, key=lambda pair: (names.index(pair[0]["kind"]), pair[0]["seconds"]))


def point_table(results: Results) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a point."""
    head = ["scenes", "seconds a scene", "steps", "PSNR", "SSIM", "ceiling", "ms a frame", "bytes a scene", "shared"]
    rows = []
    for own, numbers in rows_of(results):
        ceiling = "-" if numbers["autoencoder_psnr"] > 99 else number(numbers, "autoencoder_psnr")
        cells = [own["kind"], number(numbers, "a_scene", "{:.1f}"), numbers["stages"], number(numbers, "psnr")]
        cells += [number(numbers, "ssim", "{:.3f}"), ceiling, number(numbers, "render_ms", "{:.0f}")]
        rows.append([*cells, *(number(numbers, n, "{:,.0f}") for n in ("bytes_per_scene", "bytes_shared"))])
    return head, rows


def curves_of(results: Results) -> Dict[str, List[Tuple[float, float]]]:
    """Seconds a scene and PSNR of the points of each kind."""
    curves: Dict[str, List[Tuple[float, float]]] = {}
    for own, numbers in rows_of(results):
        curves.setdefault(own["kind"], []).append((numbers["a_scene"], numbers["psnr"]))
    return curves


def seconds_to(psnr: float, points: Sequence[Tuple[float, float]]) -> Optional[float]:
    """Seconds a scene until a PSNR is reached, between points on a logarithmic axis; None if it is not.

    Where the first point is beyond it already, that point's seconds.
    """
    before: Optional[Tuple[float, float]] = None
    for seconds, value in points:
        if value >= psnr:
            if before is None:
                return seconds
            share = (psnr - before[1]) / (value - before[1])
            return float(before[0] * (seconds / before[0]) ** share)
        before = (seconds, value) if before is None or value > before[1] else before
    return None


def equal_quality(results: Results) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: seconds a scene to each kind's own best, and what each other kind takes to reach it."""
    curves = curves_of(results)
    rows = []
    for name, points in curves.items():
        best = max(value for _, value in points)
        others = [seconds_to(best, other) for other in curves.values()]
        rows.append([f"{best:.2f}, best of {name}", *("-" if s is None else f"{s:.1f}" for s in others)])
    return ["PSNR", *(f"{name}, s" for name in curves)], rows


def closing(results: Results) -> List[str]:
    """What the published schedule would take."""
    found = [numbers for _, numbers in rows_of(results) if "published_seconds" in numbers]
    return [
        f"The published RGB schedule of {PUBLISHED_PASSES} passes over the pictures would take "
        f"{numbers['published_seconds'] / 3600:.1f} hours a scene here, at the rate measured."
        for numbers in found
    ]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(NumerousScenes).main()
