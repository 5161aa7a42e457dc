"""Trains a standard autoencoder on generated scenes and real photos, on a CPU or a GPU: the bundled standard ones, and
the start of the 3D-aware one.

    lns demo-scenes --output data/autoencoder/train --num-scenes 300 --views 12 --seed 1000
    lns demo-scenes --output data/autoencoder/test --num-scenes 12 --views 10 --seed 2000
    python scripts/train_autoencoder.py --scenes data/autoencoder/train --test-scenes data/autoencoder/test \\
        --photos PHOTOS --widths 16 32 64 --minutes 58     # bundled-standard, f = 4
    python scripts/train_autoencoder.py ... --widths 16 32 64 88 --minutes 54     # f = 8

`scripts/train_bundled.sh` runs all of it.

The last `num_test_photos` photos in the order of their names are held out. The run can be stopped and started again:
it goes on from `out/training.pt`.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from torch import Tensor


@dataclass
class TrainAutoencoder:
    """Trains a small AutoencoderKL and writes it in diffusers' format, in half precision."""

    scenes: Path
    """Folder of generated scenes (RGBA) to train on."""
    test_scenes: Path
    """Folder of generated scenes that are only measured on."""
    photos: Path
    """Folder of real photos, at least `resolution` pixels high and wide."""
    out: Path = Path("outputs/autoencoder")
    """Folder of the result and of `training.pt`, from which a stopped run goes on."""
    minutes: float = 54.0
    """Length of training; the learning rate falls to zero in the last 40 percent of it."""
    resolution: int = 128
    """Side of the images it is made for and measured on, in pixels."""
    crop: int = 64
    """Side of the crops of the first part of training: four times the steps in the same time."""
    crop_until: float = 0.65
    """Share of the time that trains on crops."""
    num_test_photos: int = 74
    """Photos held out."""
    batch_size: int = 16
    """Images a step, half of them photos."""
    lr: float = 2e-3
    """Learning rate of AdamW."""
    widths: Tuple[int, ...] = (16, 32, 64, 88)
    """Channels of the levels; four are f = 8, three are f = 4."""
    latent_channels: int = 16
    """Channels of the latent."""
    ema: float = 0.998
    """Decay of the averaged weights that are evaluated and written."""
    seed: int = 0
    """Seed of initialisation and batches."""

    def main(self) -> None:
        torch.manual_seed(self.seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        data = load_data(self)
        model = build_model(self).to(device)
        quieten_residuals(model)
        train(self, model, data, device)


def read_images(paths, mode: str) -> Tensor:
    """Images of one size as uint8 [n, H, W, C]."""
    return torch.from_numpy(np.stack([np.asarray(Image.open(path).convert(mode)) for path in paths]))


def load_data(config: TrainAutoencoder) -> Dict[str, Tensor]:
    """Training and test images of both kinds, uint8."""
    photos = sorted(config.photos.glob("*.jpg")) + sorted(config.photos.glob("*.png"))
    if len(photos) <= config.num_test_photos:
        raise ValueError(f"photos: expected more than {config.num_test_photos} images, got {len(photos)}")
    split = len(photos) - config.num_test_photos
    return {
        "objects": read_images(sorted(config.scenes.glob("*/images/*.png")), "RGBA"),
        "test_objects": read_images(sorted(config.test_scenes.glob("*/images/*.png")), "RGBA"),
        "photos": read_images(photos[:split], "RGB"),
        "test_photos": read_images(photos[split:], "RGB"),
    }


def build_model(config: TrainAutoencoder) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    levels = len(config.widths)
    build: Any = AutoencoderKL  # its annotations say tuples of one
    return build(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.widths,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def composite(images: Tensor, colors: Tensor) -> Tensor:
    """RGBA uint8 [n, H, W, 4] over colours [n, 3] in [0, 1] -> [n, 3, H, W] in [-1, 1]."""
    rgb, alpha = images[..., :3].float() / 255, images[..., 3:].float() / 255
    return (rgb * alpha + colors[:, None, None] * (1 - alpha)).permute(0, 3, 1, 2) * 2 - 1


def object_batch(images: Tensor, n: int, size: int) -> Tensor:
    """Random views, three quarters of them on white, the rest on random colours; crops show some of the object."""
    chosen = [crop_around_object(images[index], size) for index in torch.randint(len(images), (n,)).tolist()]
    colors = torch.where(torch.rand(n, 1) < 0.75, torch.ones(n, 3), torch.rand(n, 3))
    return flip(composite(torch.stack(chosen), colors))


def crop_around_object(image: Tensor, size: int) -> Tensor:
    """A crop of an RGBA picture [H, W, 4] around a random pixel of the object, moved to lie within the picture."""
    if size >= image.shape[0]:
        return image
    solid = (image[..., 3] > 0).nonzero()
    centre = solid[torch.randint(len(solid), ())]
    top, left = ((centre - size // 2).clamp(min=0).minimum(torch.tensor(image.shape[:2]) - size)).tolist()
    return image[top : top + size, left : left + size]


def photo_batch(images: Tensor, n: int, size: int) -> Tensor:
    """Random square crops of random photos, a third of them shrunk by up to a fifth before."""
    crops = []
    for index in torch.randint(len(images), (n,)).tolist():
        image = images[index].permute(2, 0, 1)[None].float()
        if torch.rand(()) < 1 / 3:
            side = int(torch.randint(max(size, 100), image.shape[-1] + 1, ()))
            image = F.interpolate(image, size=(side, side), mode="bilinear", antialias=True)
        top, left = (int(torch.randint(extent - size + 1, ())) for extent in image.shape[-2:])
        crops.append(image[..., top : top + size, left : left + size])
    return flip(torch.cat(crops) / 127.5 - 1)


def flip(images: Tensor) -> Tensor:
    """Half of the images mirrored left to right."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(-1), images)


def psnr_of(model, images: Tensor, device: torch.device) -> float:
    """Mean over images [n, 3, H, W] in [-1, 1] of the PSNR of decode(mean of encode), as 8-bit pictures are seen."""
    values = []
    with torch.no_grad():
        for batch in images.split(32):
            batch = batch.to(device)
            output = model.decode(model.encode(batch).latent_dist.mode()).sample.clamp(-1, 1)
            values.append(-10 * ((output - batch) / 2).square().mean(dim=(1, 2, 3)).log10())
    return float(torch.cat(values).mean())


def evaluate(model, data: Dict[str, Tensor], size: int, device: torch.device) -> Dict[str, float]:
    objects, photos = data["test_objects"], data["test_photos"]
    margin = (photos.shape[1] - size) // 2
    photos = photos[:, margin : margin + size, margin : margin + size].permute(0, 3, 1, 2).float() / 127.5 - 1
    return {
        "objects_psnr": psnr_of(model, composite(objects, torch.ones(len(objects), 3)), device),
        "photos_psnr": psnr_of(model, photos, device),
    }


def quieten_residuals(model) -> None:
    """Zeroes the last convolution of every residual branch: the network starts out nearly linear and learns faster."""
    for name, module in model.named_modules():
        if name.endswith("conv2"):
            torch.nn.init.zeros_(module.weight)


def rate(progress: float) -> float:
    """Factor of the learning rate: a short rise, constant, then linearly to zero in the last 40 percent."""
    return min(1.0, progress / 0.01, max(0.0, (1 - progress) / 0.4))


def loss_of(model, images: Tensor) -> Tensor:
    """Mean of the images' root mean squared errors: between MSE (ruled by the hard images) and PSNR (by the easy)."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        moments = model.encode(images).latent_dist.mean
        output = model.decode(moments).sample
    return ((output.float() - images).square().mean(dim=(1, 2, 3)) + 1e-6).sqrt().mean()


def average(target, source, decay: float) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), 1 - decay)


def train(config: TrainAutoencoder, model, data: Dict[str, Tensor], device: torch.device) -> None:
    averaged = build_model(config).to(device)
    averaged.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    step, seconds = restore(config, model, averaged, optimizer)
    started, half = time.monotonic() - seconds, config.batch_size // 2
    while (seconds := time.monotonic() - started) < config.minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * rate(max(seconds, 1.0) / (config.minutes * 60))
        size = config.crop if seconds < config.crop_until * config.minutes * 60 else config.resolution
        batch = torch.cat([object_batch(data["objects"], half, size), photo_batch(data["photos"], half, size)])
        loss = loss_of(model, batch.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"loss: expected a finite number, got {loss.item()} at step {step}")
        optimizer.step()
        average(averaged, model, min(config.ema, (step + 1) / (step + 10)))
        step += 1
        if step % 500 == 0:
            save(config, model, averaged, optimizer, step, seconds)
            report(config, averaged, data, device, step, seconds, loss.item())
    save(config, model, averaged, optimizer, step, seconds)
    write(config, averaged, data, device, report(config, averaged, data, device, step, seconds, None))


def restore(config: TrainAutoencoder, model, averaged, optimizer) -> Tuple[int, float]:
    path = config.out / "training.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def save(config: TrainAutoencoder, model, averaged, optimizer, step: int, seconds: float) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "step": step, "seconds": seconds}, config.out / "training.tmp")
    (config.out / "training.tmp").replace(config.out / "training.pt")


def report(config, model, data, device, step: int, seconds: float, loss: Optional[float]) -> Dict[str, float]:
    numbers = {"step": step, "minutes": round(seconds / 60, 1), **evaluate(model, data, config.resolution, device)}
    with open(config.out / "log.jsonl", "a") as file:
        file.write(json.dumps({**numbers, "loss": loss}) + "\n")
    print(json.dumps(numbers), flush=True)
    return numbers


def write(config: TrainAutoencoder, model, data: Dict[str, Tensor], device: torch.device, numbers: Dict) -> None:
    """Writes the averaged model in half precision, measured as written, with `latent_space.json` and model card."""
    folder = config.out / "autoencoder"
    model.half().save_pretrained(folder, safe_serialization=True)
    model.float()
    measured = {**numbers, **evaluate(model, data, config.resolution, device)}
    raw = latents_of(model, data, config.resolution, device)
    space = {
        "downscale_factor": 2 ** (len(config.widths) - 1),
        "channels": config.latent_channels,
        "mean": raw.mean(dim=0).tolist(),
        "std": raw.std(dim=0).tolist(),
        "measured": measured,
    }
    (folder / "latent_space.json").write_text(json.dumps(space, indent=2) + "\n")
    (folder / "README.md").write_text(model_card(config, data, measured))
    (folder / "diffusion_pytorch_model.safetensors").chmod(0o644)


@torch.no_grad()
def latents_of(model, data: Dict[str, Tensor], size: int, device: torch.device) -> Tensor:
    """Raw latents [n, C] of some training pictures, half of them photos."""
    generator = torch.Generator().manual_seed(0)
    objects = data["objects"][torch.randperm(len(data["objects"]), generator=generator)[:256]]
    photos = data["photos"][:256, :size, :size].permute(0, 3, 1, 2).float() / 127.5 - 1
    batches = [*composite(objects, torch.ones(len(objects), 3)).split(32), *photos.split(32)]
    means = [model.encode(batch.to(device)).latent_dist.mode().cpu() for batch in batches]
    return torch.cat([mean.permute(0, 2, 3, 1).flatten(0, 2) for mean in means])


def model_card(config: TrainAutoencoder, data: Dict[str, Tensor], measured: Dict) -> str:
    """What the autoencoder is, what it saw, and what was measured."""
    return f"""---
license: apache-2.0
library_name: diffusers
---
# Standard autoencoder of latent-nerfstudio

A small `AutoencoderKL` (downscale factor {2 ** (len(config.widths) - 1)}, {config.latent_channels} channels, widths
{config.widths}, no attention), stored in half precision, so that latent NeRFs can be learned offline and on a CPU.
It is a standard autoencoder: nothing in its training made its latents consistent between views.

## Data

- {len(data["objects"])} pictures of generated cars (`lns demo-scenes`, seed 1000), on white and on random colours;
- {len(data["photos"])} photos of 160 x 160 pixels (a sample of ImageNet), cropped.

The demo scenes of other seeds and {len(data["test_photos"])} of the photos were held out.

## Training

`scripts/train_autoencoder.py`: mean over images of the root mean squared error, no adversarial or perceptual loss, no
KL term, AdamW at {config.lr}, {config.batch_size} images a step, bfloat16 autocast, crops of {config.crop} pixels for
{config.crop_until:.0%} of the time, averaged weights; {measured["step"]} steps in {measured["minutes"]:.0f} minutes on
one CPU core.

## Measured, at {config.resolution} x {config.resolution}, on pictures it has not seen

| pictures | PSNR of decode(encode) |
| --- | --- |
| {len(data["test_objects"])} views of 12 generated cars (seed 2000), on white | {measured["objects_psnr"]:.2f} dB |
| {len(data["test_photos"])} photos, centre crops | {measured["photos_psnr"]:.2f} dB |

## Use

`--pipeline.model.autoencoder.source FOLDER` (`bundled-standard`), or
`AutoencoderKL.from_pretrained(FOLDER)` of diffusers. Pictures are in [-1, 1]; `latent_space.json` holds mean and
standard deviation of each channel's raw latents.

## Limits

Cars and photos at about 128 pixels; fine texture and text are blurred. Not meant for generating pictures.

## Licence

Apache-2.0.
"""


if __name__ == "__main__":
    tyro.cli(TrainAutoencoder).main()
