"""Videos of many scenes, and of one that becomes another.

Frames come one at a time, so a video of hundreds of scenes takes the memory of one frame. `lns orbit` and `lns blend`
are these calls as commands.
"""

from pathlib import Path

import tyro

import latent_nerfstudio as lns
from latent_nerfstudio.videos.turning import blending, turning
from latent_nerfstudio.videos.writing import write_video


def main(
    source: Path = Path("outputs/demo/latent-triplane/latest"), output: Path = Path("videos"), views: int = 48
) -> None:
    """Writes two videos of a run with tri-planes.

    Args:
        source: the run, of two scenes or more with tri-planes.
        output: folder for the videos.
        views: frames of each.
    """
    scenes = lns.load(source)
    rows = ("rgb", "latent", "depth")
    write_video(output / "all.gif", turning(scenes, scenes.names, rows, views), fps=12)
    first, second = scenes.names[:2]
    write_video(output / "blend.mp4", blending(scenes, first, second, rows, views), fps=12)


if __name__ == "__main__":
    tyro.cli(main)
