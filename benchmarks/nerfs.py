"""NeRFs in RGB and in two latent spaces, each for the same seconds on the same scene.

    python benchmarks/nerfs.py --data car=data/unseen/car_0000 chair=data/objects/chair --seconds 150

Nerfstudio's methods hold one scene, so each `--data` is one. A capture brings its dataparser and its flags, which all
methods share, and is named in `--captures` as well; what each method needs for it is in `METHODS`:

    --data "fox=FOX --pipeline.datamanager.camera-res-scale-factor 0.5 nerfstudio-data" --captures fox

RGB is the same model with the identity latent space, without RGB alignment. Latent rows spend a share of the seconds on
latent supervision and the rest on RGB alignment: crops at first, whole pictures in the last fifth of its steps. Steps
are what fits into the seconds at the rate of a short run just before.

Sizes (grids, networks, samples) follow the side of the pictures that the NeRF renders, those of the photos in RGB and
those of the latents else: up to 64 pixels the package's own, which are for latents; up to 256 those of `Method.medium`;
beyond, those of `Method.large`, which are Nerfstudio's own or the papers', meant for pictures of 500 to 1000 pixels.
"""

import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import tyro
from common import (
    Flags,
    Named,
    Numbers,
    Results,
    Stages,
    Stopwatch,
    Training,
    clock_name,
    fitting_stages,
    flags_by_name,
    in_own_process,
    make_trainer,
    measure,
    named,
    number,
    preamble,
    table,
    temporary_folder,
)

SMALL, MEDIUM = 64, 256
"""Sides up to which the package's sizes and those of `Method.medium` are taken, pixels: square root of the area."""

TRIAL = (8, 24)
"""Steps of each stage before its rate is measured, and steps that it is measured on: three times eight, since every
eighth step of RGB alignment sees whole pictures."""

TOLERANCE = 0.15
"""A run that takes this share more or less than its seconds is made again, once, with the steps that it shows."""

GPU_RAYS = 4096
"""Rays a step in RGB on a GPU, Nerfstudio's number. On a CPU the method's own hold, which are fewer: in 40 CPU seconds
Nerfacto in RGB came to 29.1 dB with 1024 rays and to 25.5 with 4096 (a car, 128 pixels); for tri-planes and K-Planes
both are equal to 0.3 dB in 25."""

FRAMES = 5
"""Renders of a held-out view, whose median counts; there is one more before."""


def nerf(**sizes: Any) -> Flags:
    """Flags of the NeRF inside; `__` in a name stands for a dot, a tuple for several values."""
    flags: List[str] = []
    for name, size in sizes.items():
        values = size if isinstance(size, tuple) else (size,)
        flags += ["--pipeline.model.nerf." + name.replace("__", ".").replace("_", "-"), *map(str, values)]
    return tuple(flags)


def as_it_is(stages: Stages) -> Flags:
    """For methods that do not need to know how long a run is."""
    return ()


def planes_that_grow(stages: Stages) -> Flags:
    """TensoRF's: in latents half-way through and at the end of latent supervision, as the method's own; in RGB at
    Nerfstudio's shares of the run, 2000, 3000, 4000, 5500 and 7000 of 30000 steps."""
    steps = stages.supervision
    if stages.total == steps:
        return nerf(upsampling_iters=tuple(steps * count // 300 for count in (20, 30, 40, 55, 70)))
    return nerf(upsampling_iters=(steps // 2, steps))


def gaussians_that_split(stages: Stages) -> Flags:
    """Splatfacto's, up to half of a run in RGB, as Nerfstudio's; to five sixths of latent supervision, as the method's
    own."""
    steps = stages.supervision
    return nerf(stop_split_at=steps // 2 if stages.total == steps else steps * 5 // 6)


@dataclass(frozen=True)
class Method:
    """A method of ns-train, and what it needs beyond its defaults."""

    name: str
    """In latent space."""
    rgb: str
    """The same model in RGB: the same method with the identity latent space, or one that is registered for it."""
    medium: Flags
    """Sizes for renders of more than 64 pixels."""
    large: Flags
    """Sizes for renders of more than 256 pixels."""
    capture: Flags = ()
    """For captured scenes, whose space is contracted."""
    capture_dataparser: Flags = ()
    """For captured scenes, where the method cannot contract space."""
    planned: Callable[[Stages], Flags] = as_it_is
    """What depends on the length of the run."""


METHODS = (
    Method(
        "latent-triplane",
        "triplane",
        medium=nerf(field__resolution=64, num_samples=24),
        large=nerf(field__resolution=256, num_samples=48, num_importance_samples=48),
        capture=nerf(scene_contraction=True, num_samples=32, num_importance_samples=32),
    ),
    Method(
        "latent-nerfacto",
        "latent-nerfacto",
        medium=nerf(
            num_levels=12,
            max_res=512,
            log2_hashmap_size=16,
            num_proposal_iterations=2,
            num_proposal_samples_per_ray=(64, 32),
            num_nerf_samples_per_ray=24,
        ),
        large=nerf(
            num_levels=16,
            max_res=2048,
            log2_hashmap_size=19,
            num_proposal_iterations=2,
            num_proposal_samples_per_ray=(256, 96),
            num_nerf_samples_per_ray=48,
        ),
        capture=nerf(
            disable_scene_contraction=False,
            proposal_initial_sampler="piecewise",
            num_proposal_iterations=2,
            num_proposal_samples_per_ray=(128, 64),
            num_nerf_samples_per_ray=48,
        ),
    ),
    Method(
        "latent-tensorf",
        "latent-tensorf",
        medium=nerf(init_resolution=64, final_resolution=128, num_uniform_samples=96, num_samples=32),
        large=nerf(init_resolution=128, final_resolution=300, num_uniform_samples=200, num_samples=50),
        capture_dataparser=("--scene-scale", "2"),
        planned=planes_that_grow,
    ),
    Method(
        "latent-vanilla-nerf",
        "latent-vanilla-nerf",
        medium=nerf(num_coarse_samples=24, num_importance_samples=24),
        large=nerf(hidden_layers=8, hidden_width=256, num_coarse_samples=64, num_importance_samples=128),
        capture=nerf(disable_scene_contraction=False, num_coarse_samples=32, num_importance_samples=32),
    ),
    Method(
        "latent-kplanes",
        "rgb-kplanes",
        medium=nerf(field__scales=(1, 2, 4), num_samples=24),
        large=nerf(
            field__resolution=128,
            field__scales=(1, 2, 4),
            field__features=32,
            proposal_resolutions=(128, 256),
            num_proposal_samples=(256, 128),
            num_samples=48,
        ),
        capture=nerf(scene_contraction=True, proposal_resolutions=64, num_proposal_samples=64, num_samples=32),
    ),
    Method(
        "latent-instant-ngp",
        "latent-instant-ngp",
        medium=nerf(num_levels=12, max_res=512, log2_hashmap_size=16, grid_resolution=64, steps_across_box=384),
        large=nerf(num_levels=16, max_res=2048, log2_hashmap_size=19, grid_resolution=128, steps_across_box=1000),
        capture=nerf(disable_scene_contraction=False, grid_levels=4, alpha_thre=0.01, cone_angle=0.004),
    ),
    Method(
        "latent-splatfacto",
        "latent-splatfacto",
        medium=nerf(num_random=20000),
        large=nerf(num_random=50000),
        planned=gaussians_that_split,
    ),
)
"""All, in the order of the table; without a flag, what the package has holds.

`medium` is chosen on paper: the finest grid has as many texels along a side as the picture has pixels, hash grids
several times as many; samples and networks are what a CPU trains in minutes. The tri-planes' are those of `triplane`.
"""

NEEDS_CUDA = ("latent-splatfacto",)

SPACES = ("RGB=identity", "standard=bundled-standard", "3D-aware=bundled")

TEXT = """\
Each method on each scene in RGB and in latent spaces, {seconds:.0f} {clock} of training each. RGB: the same model on
pixels. Latent rows: {share:.0%} of the seconds latent supervision, then RGB alignment on crops and, in the last fifth
of its steps, on whole pictures; NeRF and decoder are trained. Learning rates fall to the end of each stage. Steps are
what fits at the rate of a short run just before; a run that missed its seconds by more than {tolerance:.0%} was made
again with the steps that it had shown.

PSNR and SSIM are means over the held-out views; the ceiling is decode(encode(photo)) by the autoencoder as it came.
Rendering: {render_clock} of a held-out view of the trained model, median of {frames}, for what the NeRF renders and
for decoding it. Bytes are of float32: the scene's own, and the decoder with what else is shared. Sizes of the NeRFs
follow the side of what they render, see `METHODS` in the script: the package's own in latents of up to {small} pixels,
larger ones in RGB."""


@dataclass(frozen=True)
class Row:
    """A method in a latent space on a scene."""

    data: Named
    method: Method
    space: Named
    sizes: Flags
    """Of the NeRF, by the side of what it renders."""
    flags: Flags
    """Given on the command line; they win."""

    @property
    def is_rgb(self) -> bool:
        """Whether latents are pixels."""
        return self.space.source == "identity"

    def training(self, stages: Stages) -> Training:
        """The row's training, of so many steps."""
        own: Flags = ("--pipeline.model.autoencoder.source", self.space.source)
        if self.is_rgb and clock_name() == "seconds":
            own += ("--pipeline.datamanager.rays-per-batch", str(GPU_RAYS))
        flags = (*own, *stages.flags(), *self.sizes, *self.method.planned(stages), *self.space.flags, *self.flags)
        return Training(self.method.rgb if self.is_rgb else self.method.name, self.data, flags)


@dataclass
class NeRFs:
    """Trains and measures each method in each space on each scene."""

    data: Tuple[str, ...]
    """Scenes, one each: `NAME=FOLDER`, or in quotes `NAME=FOLDER FLAGS... DATAPARSER FLAGS...`."""
    captures: Tuple[str, ...] = ()
    """Names of those that are captures: their space is contracted."""
    methods: Tuple[str, ...] = ()
    """Methods, by their names in latent space; by default all that run on this machine."""
    spaces: Tuple[str, ...] = SPACES
    """Latent spaces, each `NAME=SOURCE`, or in quotes `NAME=SOURCE FLAGS...`; `identity` is RGB."""
    flags: Tuple[str, ...] = ()
    """Further flags, each `METHOD=FLAGS...` or `METHOD/SPACE=FLAGS...` in quotes."""
    seconds: float = 150.0
    """Training of each row: CPU seconds on a CPU, seconds on a GPU."""
    supervision: float = 0.3
    """Share of the seconds for latent supervision; the rest is RGB alignment."""
    output: Path = Path("benchmarks")
    """Folder of the table and the numbers."""
    resume: bool = False
    """Keep what an interrupted run with the same settings has measured."""

    def main(self) -> None:
        """Measures, and writes nerfs.md and nerfs.json.

        Raises:
            ValueError: a flag of another form, a name that is not known, or several scenes in one folder.
            FileNotFoundError: a scene or an autoencoder that is not there.
        """
        scenes, spaces = [named(text) for text in self.data], [named(text) for text in self.spaces]
        methods, further = self.chosen(), flags_by_name(self.flags)
        places = {*(m.name for m in methods), *(f"{m.name}/{s.name}" for m in methods for s in spaces)}
        check_names("captures", self.captures, [scene.name for scene in scenes])
        check_names("flags", list(further), sorted(places))
        if not 0 < self.supervision <= 1:
            raise ValueError(f"supervision: expected a share in (0, 1], got {self.supervision}; 0.3 is the default")
        missing = [scene.source for scene in scenes if not Path(scene.source).exists()]
        if missing:
            raise FileNotFoundError(f"{missing[0]}: expected a scene, got nothing there; check --data")
        known = in_own_process(autoencoders, [space.source for space in spaces])
        results = Results(self.output / "nerfs.json", self.page, self.resume)
        for scene in scenes:
            settings = {"kind": "scene", "data": scene.name, "flags": Training("triplane", scene).arguments(0)}
            about = results.record(settings, lambda scene=scene: in_own_process(describe, scene))
            for method in methods:
                for space, autoencoder in zip(spaces, known, strict=True):
                    own = (*further.get(method.name, ()), *further.get(f"{method.name}/{space.name}", ()))
                    self.measure(results, self.row(scene, about, method, space, autoencoder, own), autoencoder["hash"])
        print(results.path.with_suffix(".md").read_text(encoding="utf-8"))

    def chosen(self) -> List[Method]:
        """The methods to measure, in the order of the table."""
        import torch

        check_names("methods", self.methods, [method.name for method in METHODS])
        runs = [m for m in METHODS if torch.cuda.is_available() or m.name not in NEEDS_CUDA or m.name in self.methods]
        return [method for method in runs if not self.methods or method.name in self.methods]

    def row(
        self, scene: Named, about: Numbers, method: Method, space: Named, autoencoder: Numbers, further: Flags
    ) -> Row:
        """A row, with the sizes that belong to the scene's pictures."""
        side = (about["height"] * about["width"]) ** 0.5 / autoencoder["factor"]
        sizes = () if side <= SMALL else method.medium if side <= MEDIUM else method.large
        if scene.name in self.captures:
            sizes += method.capture
            scene = replace(scene, dataparser=(*scene.dataparser, *method.capture_dataparser))
        return Row(scene, method, space, sizes, further)

    def measure(self, results: Results, row: Row, encoder: str) -> None:
        """One row."""
        trial = Stages(100) if row.is_rgb else Stages(100, 100, 100)
        share = 1.0 if row.is_rgb else self.supervision
        names = {"data": row.data.name, "method": row.method.name, "space": row.space.name}
        settings: Dict[str, Any] = {"kind": "row", **names}
        settings |= {"encoder": encoder, "seconds": self.seconds, "supervision": share}
        settings["flags"] = row.training(trial).arguments(trial.total)
        results.record(settings, lambda: in_own_process(measure_row, row, self.seconds, share))

    def page(self, results: Results) -> str:
        """The tables as Markdown."""
        rows = [pair for pair in results.find(kind="row") if pair[0]["seconds"] == self.seconds]
        is_gpu = clock_name() == "seconds"
        words = {"seconds": self.seconds, "clock": "seconds" if is_gpu else "CPU seconds"}
        words |= {"share": self.supervision, "tolerance": TOLERANCE, "frames": FRAMES, "small": SMALL}
        words["render_clock"] = "milliseconds" if is_gpu else "CPU milliseconds"
        lines = [*preamble("NeRFs in RGB and in latent spaces"), TEXT.format(**words), ""]
        lines += [*table(*scene_table(results)), "", "## PSNR", "", *table(*psnr_table(rows)), ""]
        return "\n".join([*lines, "## All numbers", "", *table(*full_table(rows)), ""])


def check_names(flag: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuses names that are not known.

    Raises:
        ValueError: one of them.
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{flag}: expected some of {', '.join(known)}, got {unknown[0]!r}; use these names")


def autoencoders(sources: Sequence[str]) -> List[Numbers]:
    """Hash of the encoder and downscale factor of autoencoders; a wrong one is found before hours of work."""
    from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

    loaded = [AutoencoderConfig(source=source).setup() for source in sources]
    return [{"hash": one.encoder_hash(), "factor": one.downscale_factor} for one in loaded]


def describe(data: Named) -> Numbers:
    """Pictures of a scene, and their size.

    Raises:
        ValueError: several scenes.
    """
    with temporary_folder() as folder:
        config = make_trainer(Training("triplane", data).arguments(1), Path(folder)).config.pipeline.datamanager
        manager = config.setup(device="cpu", test_mode="val", world_size=1, local_rank=0)
    training, held_out = manager.train_dataset, manager.eval_dataset
    names = training.metadata.get("scene_names") or ["scene"]
    if len(names) > 1:
        raise ValueError(f"{data.source}: expected one scene, got {len(names)}; give the folder of one of them")
    size = {"height": int(training.cameras.height.max()), "width": int(training.cameras.width.max())}
    return {**size, "training": len(training), "held_out": len(held_out)}


def measure_row(row: Row, seconds: float, supervision: float) -> Numbers:
    """Trains for some seconds, and measures; once more where the steps were far too many or too few."""
    stages = fitting_stages(row.training, seconds, supervision, TRIAL)
    numbers = train(row, stages)
    off = seconds / numbers[clock_name()]
    if not 1 / (1 + TOLERANCE) <= off <= 1 + TOLERANCE:
        numbers = train(row, stages.scaled(off))
    return numbers


def train(row: Row, stages: Stages) -> Numbers:
    """Trains and measures."""
    return {**measure(row.training(stages), [stages.total], also=render_times)[0], "stages": asdict(stages)}


def render_times(pipeline: Any) -> Numbers:
    """Milliseconds of `clock_name` that a held-out view takes, for its latents and for decoding them."""
    import torch

    model = pipeline.model
    camera = pipeline.datamanager.eval_dataset.cameras[0:1].to(model.device)
    height, width = int(camera.height[0]), int(camera.width[0])
    latent, decode = [], []
    pipeline.eval()
    with torch.no_grad():
        for _ in range(FRAMES + 1):
            watches = Stopwatch(), Stopwatch()
            watches[0].go()
            latents = latent_picture(model, camera)
            watches[0].pause()
            watches[1].go()
            model.latent_space.decode(latents[None], height, width)
            watches[1].pause()
            latent.append(1000 * watches[0].spent())
            decode.append(1000 * watches[1].spent())
    pipeline.train()
    return {"latent_ms": median(latent[1:]), "decode_ms": median(decode[1:])}


def latent_picture(model: Any, camera: Any) -> Any:
    """What the NeRF renders of a camera [h, w, C]."""
    return model.renderer.latent_outputs(camera, None, ())["latent"][0]


Rows = Sequence[Tuple[Dict[str, Any], Numbers]]
"""Settings and numbers of the rows."""


def scene_table(results: Results) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a scene."""
    names = ("height", "width", "training", "held_out")
    rows = [[own["data"], *(str(about[name]) for name in names)] for own, about in results.find(kind="scene")]
    return ["scene", "height", "width", "training views", "held-out views"], rows


def psnr_table(rows: Rows) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a scene and method, one column a space."""
    found = {(own["data"], own["method"], own["space"]): numbers for own, numbers in rows}
    spaces = list(dict.fromkeys(space for _, _, space in found))
    lines = []
    for scene, method in dict.fromkeys((scene, method) for scene, method, _ in found):
        cells = [number(found.get((scene, method, space)), "psnr") for space in spaces]
        lines.append([scene, method.removeprefix("latent-"), *cells])
    return ["scene", "method", *spaces], lines


def full_table(rows: Rows) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a scene, method and space."""
    clock = "seconds" if clock_name() == "seconds" else "CPU seconds"
    has_lpips = any("lpips" in numbers for _, numbers in rows)
    quality = [("psnr", "{:.2f}"), ("ssim", "{:.3f}"), *([("lpips", "{:.3f}")] if has_lpips else [])]
    head = ["scene", "method", "space", "steps", clock, *(name.upper() for name, _ in quality)]
    head += ["ceiling", "ms, NeRF", "ms, decode", "bytes, scene", "bytes, shared"]
    lines = []
    for own, numbers in rows:
        is_rgb = numbers["autoencoder_psnr"] > 99
        cells = [own["data"], own["method"].removeprefix("latent-"), own["space"], steps_of(numbers)]
        cells += [number(numbers, clock_name(), "{:.0f}"), *(number(numbers, name, form) for name, form in quality)]
        cells += ["-" if is_rgb else number(numbers, "autoencoder_psnr"), number(numbers, "latent_ms", "{:.0f}")]
        cells += ["-" if is_rgb else number(numbers, "decode_ms", "{:.0f}")]
        cells += [number(numbers, name, "{:,}") for name in ("bytes_per_scene", "bytes_shared")]
        lines.append(cells)
    return head, lines


def steps_of(numbers: Optional[Numbers]) -> str:
    """A cell: steps of the stages."""
    return "-" if numbers is None else " + ".join(str(count) for count in numbers["stages"].values() if count)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(NeRFs).main()
