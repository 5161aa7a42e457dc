"""Edit latents in 2D, and learn the edited views as a scene.

A recolouring is learned from pictures: a linear map from latents to those of the same pictures with their colours
exchanged, by least squares. It is applied to each latent pixel of a scene's training views, which are decoded and
fitted as a scene of their own. Latents of a 3D-aware autoencoder keep their edit consistent from view to view, and what
is not consistent the fit leaves out.
"""

from pathlib import Path
from typing import Tuple

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

import latent_nerfstudio as lns
from latent_nerfstudio.cli.main import main as command

Latents = Float[Tensor, "n channels height width"]
"""Raw latents."""

EXCHANGED = [2, 0, 1]
"""Red becomes green, green blue, blue red."""


def learn_edit(before: Latents, after: Latents) -> Tuple[Float[Tensor, "channels channels"], Float[Tensor, "channels"]]:
    """Matrix and offset that take latent pixels of pictures to those of the same pictures, edited."""
    given, wanted = (part.permute(0, 2, 3, 1).flatten(0, 2) for part in (before, after))
    ones = torch.ones(len(given), 1)
    solution = torch.linalg.lstsq(torch.cat([given, ones], dim=1), wanted).solution
    return solution[:-1], solution[-1]


def apply_edit(latents: Latents, matrix: Tensor, offset: Tensor) -> Latents:
    """The edit on each latent pixel."""
    return (latents.permute(0, 2, 3, 1) @ matrix + offset).permute(0, 3, 1, 2)


def main(
    source: Path = Path("outputs/demo/latent-triplane/latest"),
    bundle: str = "bundled",
    output: Path = Path("edited"),
    steps: int = 300,
) -> None:
    """Recolours a scene.

    Args:
        source: the run.
        bundle: shared bundle that the edited scene is fitted against.
        output: folder for data, fit and pictures.
        steps: of the fit.
    """
    scenes, codec = lns.load(source), lns.load_bundle(bundle)
    name = scenes.names[0]
    cameras = scenes.cameras(name)
    pictures = scenes.render(name, cameras).rgb

    latents = codec.encode(pictures)
    matrix, offset = learn_edit(latents, codec.encode(pictures[..., EXCHANGED]))
    edited = codec.decode(apply_edit(latents, matrix, offset), *pictures.shape[1:3])
    data = lns.save_scene(output / "data" / f"{name}_edited", edited, cameras, scenes.box)

    fit = ["fit-scenes", "--data", data, "--output", output / "fit", "--bundle", bundle, "--steps", steps]
    command([str(part) for part in fit])
    learned = lns.load(output / "fit" / "scenes", bundle)
    views = learned.render(learned.names[0], cameras).rgb
    error = (views - edited).square().mean()
    print(f"PSNR of the learned scene to the edited views: {float(-10 * error.log10()):.1f} dB")
    learned.render(learned.names[0], scenes.orbit(name, views=8)).save(output / "pictures")


if __name__ == "__main__":
    tyro.cli(main)
