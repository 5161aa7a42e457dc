"""Render a scene.

`load` opens a run of any method, a scene file, an archive or a folder of them, or a Hub id. `orbit` walks around what
the scene's cameras looked at, from as far and as high, with their lens. The data of a run need not be there any more.
"""

from pathlib import Path

import tyro

import latent_nerfstudio as lns


def main(source: Path = Path("outputs/demo/latent-triplane/latest"), output: Path = Path("pictures")) -> None:
    """Renders the first scene of a run.

    Args:
        source: the run.
        output: folder for the pictures.
    """
    scenes = lns.load(source)
    name = scenes.names[0]
    pictures = scenes.render(name, scenes.orbit(name, views=8))
    pictures.save(output)

    print(scenes)
    print(f"colours {tuple(pictures.rgb.shape)}, latents {tuple(pictures.raw_latent.shape)}")
    print(f"{float(pictures.accumulation.mean()):.0%} of the pixels show {name}")


if __name__ == "__main__":
    tyro.cli(main)
