"""Hand latents to a method that works in 2D.

`render_latents` gives what cameras see as diffusers has it: `vae.decode` takes these numbers as they are, and between
its encoder and its decoder a diffusers pipeline works on `(latents - shift_factor) * scaling_factor`. The file keeps
both factors and the cameras. Where photos were enlarged, as `lns fit-scenes` does, the pictures are as many times
larger. `lns render-latents` is this as a command.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file

import latent_nerfstudio as lns


def main(source: Path = Path("outputs/demo/latent-triplane/latest"), output: Path = Path("latents")) -> None:
    """Writes latents and the autoencoder, and decodes them by diffusers alone.

    Args:
        source: the run or scene files, whose autoencoder is an AutoencoderKL.
        output: folder for both.
    """
    scenes = lns.load(source)
    name = scenes.names[0]
    cameras = scenes.orbit(name, views=6)
    lns.write_latents(output / "latents.safetensors", lns.render_latents(scenes, name, cameras))
    scenes.codec.save(output / "vae")  # with the decoder as the run trained it

    latents = load_file(output / "latents.safetensors")["latents"]
    vae: Any = AutoencoderKL.from_pretrained(output / "vae", low_cpu_mem_usage=False)
    with torch.no_grad():
        decoded = vae.decode(latents).sample / 2 + 0.5
    decoded = F.avg_pool2d(decoded, scenes.codec.autoencoder.enlarge).clamp(0, 1).permute(0, 2, 3, 1)
    own = scenes.render(name, cameras).rgb
    height, width = own.shape[1:3]
    difference = float((decoded[:, :height, :width] - own).abs().max())
    print(f"latents {tuple(latents.shape)}; diffusers and the renders differ by at most {difference:.1e}")


if __name__ == "__main__":
    tyro.cli(main)
