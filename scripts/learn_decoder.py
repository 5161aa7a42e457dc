"""Teaches a bundle its decoder of rendered latents: scenes are fitted to some of their photos, against the bundle and
some with planes of their own, and the decoder learns what renders of others should have shown.

    python scripts/learn_decoder.py --data data/objects/decoder --bundle outputs/bundle --output outputs/decoder

All else in the bundle stays as it is; its hash becomes another. Renders are kept: the same call goes on.
"""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import torch
import tyro
from add_decoder import write_bundle
from jaxtyping import Float
from rich.progress import track
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

import latent_nerfstudio as lns
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.camera_file import split_of
from latent_nerfstudio.files.replacing import replacing_file
from latent_nerfstudio.latent_space.autoencoder import Autoencoder
from latent_nerfstudio.models.bundle_start import load_decoder
from latent_nerfstudio.models.shared_bundle import DECODER, SharedBundle, read_shared_bundle
from latent_nerfstudio.pictures import read_over_white

BORDER = 6
"""Pixels along the inner borders of a crop that count for nothing: its decoder does not see what lies beyond."""

DISSIMILARITY = 0.1
"""Weight of 1 - SSIM beside the mean absolute error of colours in [0, 1]."""

AVERAGED = 0.995
"""Share of the average of weights that a step keeps."""


@dataclass
class LearnDecoder:
    """Learns the decoder."""

    data: Path
    """Folder of scene folders on the bundle's background, all pictures of one size."""
    bundle: str
    """The bundle, a folder; it gets the decoder in half precision."""
    output: Path
    """Folder of the renders, and of their scenes."""
    photos: Tuple[int, ...] = (4, 16, 8, 2, 20, 4, 1, 6)
    """Photos of the scenes of a group, group by group."""
    enlarge: Tuple[int, ...] = (2, 1)
    """Times that photos are enlarged: scenes are fitted and rendered with each, and steps learn with each by turns."""
    own: int = 4
    """Of so many groups the first is fitted once more where photos are not enlarged, with planes of its own."""
    own_photos: int = 18
    """Photos of the scenes of these."""
    group: int = 8
    """Scenes that are fitted together."""
    views: int = 8
    """Other views of each, which are rendered."""
    steps: int = 5000
    """Of the decoder."""
    crops: int = 6
    """Crops a step."""
    side: int = 32
    """Latent pixels along the sides of a crop."""
    learning_rate: float = 3e-4
    """Of Adam, at its highest; it falls to a fiftieth by half a cosine."""
    seed: int = 0
    """Of the order of scenes and photos, and of crops."""

    def main(self) -> None:
        """Fits, renders, learns, and writes the bundle."""
        bundle = read_shared_bundle(self.bundle)
        renders = {n: [torch.cat(part) for part in zip(*self.renders(n), strict=True)] for n in self.enlarge}
        decoder = self.learned(started(bundle), renders)
        tensors = {name: t for name, t in bundle.tensors.items() if not name.startswith(DECODER)}
        tensors.update({f"{DECODER}{name}": t.half() for name, t in decoder.items()})
        write_bundle(bundle.folder, tensors, bundle.facts.get("seconds", 0.0))
        print(f"{bundle.folder}: {read_shared_bundle(self.bundle).hash}")

    def renders(self, enlarge: int) -> Iterator[Tuple[Tensor, Tensor]]:
        """Group by group, raw latents [n, C, h, w] in half precision and what they should show, [n, H, W, 3] uint8."""
        names = sorted(path.parent.name for path in self.data.glob("*/transforms.json"))
        np.random.default_rng(self.seed).shuffle(names)
        self.output.mkdir(parents=True, exist_ok=True)
        for index, first in enumerate(track(range(0, len(names), self.group), f"Scenes, enlarged {enlarge} times")):
            group = names[first : first + self.group]
            for own in (False, True) if enlarge == 1 and index % self.own == 0 else (False,):
                path = self.output / f"renders-{enlarge}-{'own-' * own}{index:04d}.pt"
                if not path.is_file():
                    photos = self.own_photos if own else self.photos[index % len(self.photos)]
                    with replacing_file(path) as stream, tempfile.TemporaryDirectory() as folder:
                        torch.save(self.rendered(group, photos, enlarge, own, Path(folder)), stream)
                yield torch.load(path, weights_only=True)

    def rendered(self, names: List[str], photos: int, enlarge: int, own: bool, folder: Path) -> Tuple[Tensor, Tensor]:
        """Those of some scenes of so many photos."""
        for name in names:
            write_split(self.data / name, folder, photos, self.views, self.seed)
        fit = fit_own_planes if own else lns.fit
        scenes = fit(folder / "photos", folder / "fits", self.bundle, enlarge=enlarge)
        latents, pictures = [], []
        for name in names:
            views = ScenesDataParserConfig(data=folder / "views" / name).setup().get_dataparser_outputs("train")
            latents.append(scenes.latents(name, views.cameras).half())
            pictures += [read_over_white(file) for file in views.image_filenames]
        return torch.cat(latents), torch.from_numpy(np.stack(pictures))

    def learned(self, ours: Autoencoder, renders: Dict[int, List[Tensor]]) -> Dict[str, Tensor]:
        """The decoder after its training, weights averaged over the last steps."""
        averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGED)
        average = torch.optim.swa_utils.AveragedModel(ours, multi_avg_fn=averaging)
        parameters = ours.decoder_parameters()
        optimizer = torch.optim.Adam(parameters, self.learning_rate, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps, self.learning_rate / 50)
        draw = torch.Generator().manual_seed(self.seed)
        for step in track(range(self.steps), "Decoder"):
            ours.enlarge = self.enlarge[step % len(self.enlarge)]
            latents, pictures = renders[ours.enlarge]
            crops = [self.crop(latents, pictures, draw) for _ in range(self.crops)]
            seen, wanted, counted = (torch.stack(part) for part in zip(*crops, strict=True))
            loss = loss_of(ours.decode(seen), wanted, counted)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(ours)
        last: Any = average.module
        return last.decoder_state()

    def crop(
        self, latents: Tensor, pictures: Tensor, draw: torch.Generator
    ) -> Tuple[Float[Tensor, "h w channels"], Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
        """A crop of a render, what it should show, and which pixels count."""
        factor = pictures.shape[1] // latents.shape[2]
        render = int(torch.randint(len(latents), (1,), generator=draw))
        counted, places = torch.ones(2 * (self.side * factor,)), []
        for axis, extent in enumerate(latents.shape[2:]):
            side = min(self.side, extent)
            beyond = self.side // 4  # so that some crops end where pictures do
            drawn = torch.randint(-beyond, extent - side + beyond + 1, (1,), generator=draw)
            first = int(drawn.clamp(0, extent - side))
            places.append(slice(first, first + side))
            if first > 0:
                counted.narrow(axis, 0, BORDER).zero_()
            if first + side < extent:
                counted.narrow(axis, side * factor - BORDER, BORDER).zero_()
        down, across = (slice(place.start * factor, place.stop * factor) for place in places)
        wanted = pictures[render, down, across].float() / 255
        return latents[render, :, places[0], places[1]].movedim(0, -1).float(), wanted, counted


def loss_of(
    pictures: Float[Tensor, "crops height width 3"],
    wanted: Float[Tensor, "crops height width 3"],
    counted: Float[Tensor, "crops height width"],
) -> Float[Tensor, ""]:
    """Mean absolute error, and what structural similarity is short of 1. What a photo does not show has no one answer:
    squared errors ask for the mean of all, which is blurred (benchmarks/choices.md)."""
    first, second = pictures.movedim(-1, 1), wanted.movedim(-1, 1)
    similarity = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)[1]
    errors = (pictures - wanted).abs().mean(dim=-1) + DISSIMILARITY * (1 - similarity.mean(dim=1))
    return (errors * counted).sum() / counted.sum()


def fit_own_planes(data: Path, output: Path, bundle: str, enlarge: int) -> lns.Scenes:
    """Fits scenes in the bundle's latent space, and with nothing else of it, to all of their photos."""
    command = ["ns-train", "latent-triplane", "--data", str(data), "--output-dir", str(output), "--timestamp", "own"]
    command += ["--pipeline.model.autoencoder.source", f"{bundle}/autoencoder", "--experiment-name", "scenes"]
    command += ["--pipeline.model.autoencoder.enlarge", str(enlarge), "--pipeline.rgb-alignment-start", "None"]
    command += ["--max-num-iterations", "300", "--contact-sheet", "False", "--vis", "tensorboard"]
    subprocess.run(command, check=True)
    return lns.load(output / "scenes/latent-triplane/own")


def started(bundle: SharedBundle) -> Autoencoder:
    """The bundle's autoencoder with its decoder of rendered latents, where it has one; the decoder alone learns."""
    autoencoder = bundle.autoencoder_config.setup()
    if bundle.decoder:
        load_decoder(autoencoder, bundle)
    return autoencoder


def write_split(source: Path, target: Path, photos: int, views: int, seed: int) -> None:
    """A scene twice: TARGET/photos/SCENE of so many of its photos, drawn at random, and TARGET/views/SCENE of some
    others, at least four."""
    meta = json.loads((source / "transforms.json").read_text(encoding="utf-8"))
    files = sorted(frame["file_path"] for frame in meta["frames"])
    if len(files) < 5:
        raise ValueError(problem(source, "at least five photos", str(len(files)), "leave it out"))
    np.random.default_rng(seed).shuffle(files)
    photos = min(photos, len(files) - 4)
    for name, chosen in (("photos", files[:photos]), ("views", files[photos : photos + views])):
        own = target / name / source.name
        own.mkdir(parents=True)
        frames = [frame for frame in meta["frames"] if frame["file_path"] in chosen]
        text = json.dumps({**meta, "frames": frames, **split_of(chosen, ())})
        (own / "transforms.json").write_text(text, encoding="utf-8")
        (own / "images").symlink_to((source / "images").resolve())


if __name__ == "__main__":
    tyro.cli(LearnDecoder).main()
