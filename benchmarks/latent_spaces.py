"""Latent spaces side by side, and RGB at the same time: what a NeRF learns of the same scenes in each.

    python benchmarks/latent_spaces.py --data cars=data/unseen objects=data/objects \\
      --spaces bundled=bundled standard=bundled-standard --photos PHOTOS

A capture brings the flags that it needs, and its dataparser last; `--rgb` those of its RGB runs alone:

    --data "fox=FOX --pipeline.datamanager.camera-res-scale-factor 0.5 --pipeline.model.nerf.scene-contraction True
            --pipeline.model.nerf.num-samples 32 --pipeline.model.nerf.num-importance-samples 32
            --pipeline.model.nerf.field.resolution 64 --pipeline.datamanager.images-per-batch 2 nerfstudio-data" \\
    --rgb "fox=--pipeline.model.nerf.near 0.2 --pipeline.model.nerf.total-variation-weight 0.1"

For each set of scenes and each autoencoder, `latent-triplane` is trained once, and measured when latent supervision
ends and when RGB alignment ends. `triplane` (RGB) then gets as many steps as fit into the seconds of either.
"""

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import tyro
from common import (
    Named,
    Numbers,
    Results,
    Training,
    clock_name,
    encoder_hashes,
    flags_by_name,
    in_own_process,
    measure,
    measure_for,
    named,
    number,
    preamble,
    table,
)

TEXT = """\
`latent-triplane` after latent supervision alone and after RGB alignment (one run; schedules end with the stages), means
over held-out views. The ceiling is decode(encode(photo)), the gap what the render is short of it. Seconds are those of
the training loop, without encoding and evaluation; CPU seconds are of the whole process. Consistency and residual of
the object are those of `lns consistency`, with a budget of their own. RGB: `triplane` on the same scenes, with as many
steps as fit into the row's CPU seconds (on a GPU: seconds) at the rate of a short run just before, and the CPU seconds
that these took; runs of nearly equal seconds are shared by rows."""

RGB_TOLERANCE = 0.1
"""An RGB run whose seconds differ from a row's by no more than this share stands beside that row as well."""


@dataclass
class LatentSpaces:
    """Trains and measures each autoencoder on each set of scenes."""

    data: Tuple[str, ...]
    """Sets of scenes, each `NAME=FOLDER`, or in quotes `NAME=FOLDER FLAGS... DATAPARSER FLAGS...`."""
    spaces: Tuple[str, ...]
    """Autoencoders, each `NAME=SOURCE`, or in quotes `NAME=SOURCE FLAGS...`."""
    rgb: Tuple[str, ...] = ()
    """Further flags of the RGB runs on a set of scenes, each `NAME=FLAGS...` in quotes."""
    photos: Optional[Path] = None
    """Folder of real photos that no autoencoder has seen, for their reconstruction."""
    photo_side: int = 128
    """Side of the photos' centre crops, pixels; smaller photos are enlarged."""
    supervision_steps: int = 300
    """Steps of latent supervision."""
    alignment_steps: int = 700
    """Steps of RGB alignment after it."""
    consistency_steps: int = 200
    """Steps of the fit that consistency is measured by; numbers of other steps are not comparable."""
    output: Path = Path("benchmarks")
    """Folder of the table and the numbers."""
    resume: bool = False
    """Keep what an interrupted run with the same settings has measured."""

    def __post_init__(self) -> None:
        self.encoders: Dict[str, str] = {}

    def main(self) -> None:
        """Measures, and writes latent_spaces.md and latent_spaces.json.

        Raises:
            ValueError: a flag of another form.
            FileNotFoundError: scenes or an autoencoder that are not there.
        """
        sets, spaces = [named(text) for text in self.data], [named(text) for text in self.spaces]
        rgb = flags_by_name(self.rgb)
        unknown = sorted(set(rgb) - {data.name for data in sets})
        if unknown:
            raise ValueError(f"rgb: expected names of --data, got {', '.join(unknown)}; use the names given there")
        missing = [data.source for data in sets if not Path(data.source).exists()]
        if missing:
            raise FileNotFoundError(f"{missing[0]}: expected a folder of scenes, got nothing there; check --data")
        hashes = in_own_process(encoder_hashes, [space.source for space in spaces])
        self.encoders = {space.name: encoder for space, encoder in zip(spaces, hashes, strict=True)}
        results = Results(self.output / "latent_spaces.json", page, self.resume)
        for space in spaces:
            self.reconstruct(results, space)
        for data in sets:
            for space in spaces:
                rows = self.train(results, data, space)
                self.measure_consistency(results, data, space)
                for row in rows:
                    train_rgb(results, data, rgb.get(data.name, ()), row[clock_name()])
        print(results.path.with_suffix(".md").read_text(encoding="utf-8"))

    def names(self, kind: str, data: Optional[Named], space: Named) -> Dict[str, Any]:
        """What a record is about."""
        own = {"kind": kind, "space": space.name, "encoder": self.encoders[space.name]}
        return own if data is None else {**own, "data": data.name}

    def train(self, results: Results, data: Named, space: Named) -> List[Numbers]:
        """Latent supervision, then RGB alignment."""
        start = self.supervision_steps
        source = ("--pipeline.model.autoencoder.source", space.source)
        flags = (*source, "--pipeline.rgb-alignment-start", str(start), *space.flags)
        training = Training("latent-triplane", data, flags)
        at = [start, start + self.alignment_steps]
        settings = {**self.names("latent", data, space), "flags": training.arguments(at[-1])}
        return results.record(settings, lambda: in_own_process(measure, training, at))

    def measure_consistency(self, results: Results, data: Named, space: Named) -> None:
        """Consistency between views, of scenes that the dataparser `scenes` reads."""
        if data.dataparser:
            return
        steps = self.consistency_steps
        settings = {**self.names("consistency", data, space), "folder": data.source, "steps": steps}
        results.record(settings, lambda: in_own_process(consistency, Path(data.source), space.source, steps))

    def reconstruct(self, results: Results, space: Named) -> None:
        """Reconstruction of photos."""
        if self.photos is None:
            return
        photos, side = self.photos, self.photo_side
        settings = {**self.names("photos", None, space), "folder": str(photos), "side": side}
        results.record(settings, lambda: in_own_process(reconstruction, space.source, photos, side))


def train_rgb(results: Results, data: Named, flags: Tuple[str, ...], seconds: float) -> None:
    """RGB for as many seconds, unless a run on the same scenes took as long."""
    if nearest_rgb(results, data.name, seconds) is not None:
        return
    training = Training("triplane", data, flags)
    settings = {"kind": "rgb", "data": data.name, "seconds": seconds, "flags": training.arguments(0)}
    results.record(settings, lambda: in_own_process(measure_for, training, seconds))


def nearest_rgb(results: Results, data: str, seconds: float) -> Optional[Numbers]:
    """The RGB run for the seconds nearest to those asked for; None where none is near."""
    found = [(abs(own["seconds"] / seconds - 1), numbers) for own, numbers in results.find(kind="rgb", data=data)]
    distance, numbers = min(found, key=lambda pair: pair[0], default=(1.0, None))
    return numbers if distance <= RGB_TOLERANCE else None


def consistency(data: Path, source: str, steps: int) -> Dict[str, Any]:
    """The numbers of `lns consistency`."""
    from latent_nerfstudio.engine.consistency import Budget, check_scenes, measure_consistency
    from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

    autoencoder = AutoencoderConfig(source=source)
    scenes = check_scenes(data, None, [autoencoder.setup().downscale_factor])
    return asdict(measure_consistency(data, scenes, autoencoder, Budget(steps=steps)))["together"]


def reconstruction(source: str, photos: Path, side: int) -> Numbers:
    """PSNR and SSIM of decode(encode(photo)), means over centre crops of photos."""
    import torch

    from latent_nerfstudio.data.real_images import find_images, read_image
    from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
    from latent_nerfstudio.latent_space.latent_space import as_float
    from latent_nerfstudio.models.metrics import ImageMetrics

    device = "cuda" if torch.cuda.is_available() else "cpu"
    autoencoder: Any = AutoencoderConfig(source=source).setup().to(device)
    metrics, rows = ImageMetrics(), []
    with torch.no_grad():
        for path in find_images(photos):
            photo = as_float(torch.from_numpy(centre_crop(read_image(path), side))).to(device)
            output = autoencoder.decode(autoencoder.encode(photo[None]))[0, :side, :side].clamp(0, 1)
            rows.append((metrics.psnr(output, photo), metrics.ssim(output, photo)))
    psnr, ssim = torch.tensor(rows, dtype=torch.float64).mean(dim=0).tolist()
    return {"psnr": psnr, "ssim": ssim, "photos": len(rows)}


def centre_crop(picture: Any, side: int) -> Any:
    """The middle of a picture [H, W, 3] of uint8, enlarged before where it is too small."""
    import numpy as np
    from PIL import Image

    scale = side / min(picture.shape[:2])
    if scale > 1:
        size = [max(side, round(extent * scale)) for extent in (picture.shape[1], picture.shape[0])]
        picture = np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.BICUBIC))
    top, left = ((extent - side) // 2 for extent in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def page(results: Results) -> str:
    """The tables as Markdown."""
    latent, rgb = results.find(kind="latent"), results.find(kind="rgb")
    captures = sorted({own["data"] for own, _ in latent} - {own["data"] for own, _ in results.find(kind="consistency")})
    lines = [*preamble("Latent spaces side by side, and RGB at the same time"), TEXT, ""]
    if captures:
        lines += [
            f"Consistency is measured on scenes that the dataparser `scenes` reads: not on {', '.join(captures)}.",
            "",
        ]
    lines += table(*training_table(results, latent))
    lines += ["", "## Reconstruction", "", "PSNR of decode(encode(picture)), dB.", ""]
    lines += table(*reconstruction_table(results, latent))
    if rgb:
        lines += ["", "## RGB runs", "", *table(*rgb_table(rgb))]
    return "\n".join([*lines, ""])


def training_table(results: Results, latent: Sequence[Tuple[Dict[str, Any], Any]]) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row a set of scenes, autoencoder and stage."""
    perceived = next((name for _, pair in latent for name in pair[0] if name.startswith("lpips")), None)
    quality = ["SSIM", *([] if perceived is None else [perceived.upper().replace("_", " ")])]
    head = [
        "scenes",
        "autoencoder",
        "stage",
        "steps",
        "seconds",
        "CPU seconds",
        "PSNR",
        *quality,
        "latent PSNR",
        "ceiling",
    ]
    head += ["gap", "consistency, dB", "residual object", "RGB PSNR", *(f"RGB {q}" for q in quality), "RGB CPU seconds"]
    rows = []
    for own, pair in latent:
        found = results.find(kind="consistency", data=own["data"], space=own["space"])
        consistent = found[0][1] if found else None
        for stage, numbers in zip(("supervision", "alignment"), pair, strict=True):
            rgb = nearest_rgb(results, own["data"], numbers[clock_name()])
            gap = {"gap": numbers["autoencoder_psnr"] - numbers["psnr"]}
            cells = [own["data"], own["space"], stage, str(numbers["steps"])]
            cells += [number(numbers, name, "{:.0f}") for name in ("seconds", "cpu_seconds")]
            names = ["ssim", perceived][: len(quality)]
            cells += [number(numbers, "psnr"), *(number(numbers, str(name), "{:.3f}") for name in names)]
            cells += [number(numbers, "latent_psnr"), number(numbers, "autoencoder_psnr"), number(gap, "gap")]
            cells += [number(consistent, "consistency"), number(consistent, "residual_object", "{:.3f}")]
            cells += [number(rgb, "psnr"), *(number(rgb, str(name), "{:.3f}") for name in names)]
            rows.append([*cells, number(rgb, "cpu_seconds", "{:.0f}")])
    return head, rows


def reconstruction_table(
    results: Results, latent: Sequence[Tuple[Dict[str, Any], Any]]
) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row an autoencoder."""
    photos = {own["space"]: numbers for own, numbers in results.find(kind="photos")}
    sets = list(dict.fromkeys(own["data"] for own, _ in latent))
    count = next((numbers["photos"] for numbers in photos.values()), 0)
    rows = []
    for space in dict.fromkeys([*photos, *(own["space"] for own, _ in latent)]):
        ceilings = {own["data"]: pair[0] for own, pair in latent if own["space"] == space}
        rows.append(
            [space, number(photos.get(space), "psnr"), *(number(ceilings.get(s), "autoencoder_psnr") for s in sets)]
        )
    return ["autoencoder", f"{count} photos, centre crops", *(f"{name}, held-out views" for name in sets)], rows


def rgb_table(rgb: Sequence[Tuple[Dict[str, Any], Any]]) -> Tuple[List[str], List[List[str]]]:
    """Head and rows: one row an RGB run."""
    head = ["scenes", "steps", "seconds wanted", "seconds", "CPU seconds", "PSNR", "SSIM"]
    rows = []
    for own, numbers in rgb:
        seconds = [number(numbers, name, "{:.0f}") for name in ("seconds_wanted", "seconds", "cpu_seconds")]
        cells = [
            own["data"],
            str(numbers["steps"]),
            *seconds,
            number(numbers, "psnr"),
            number(numbers, "ssim", "{:.3f}"),
        ]
        rows.append(cells)
    return head, rows


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tyro.cli(LatentSpaces).main()
