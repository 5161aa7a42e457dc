"""Read the planes and the weights of a scene, and render what they share.

A scene is its micro planes, and weights W_s by which it takes part in the base planes that all scenes share. Blends and
parts of scenes are views: nothing of the model is changed by them.
"""

from pathlib import Path

import torch
import tyro

import latent_nerfstudio as lns


def main(source: Path = Path("outputs/demo/latent-triplane/latest"), output: Path = Path("planes")) -> None:
    """Prints what two scenes have in common, and renders what lies between them.

    Args:
        source: a run of two scenes or more with micro and macro planes.
        output: folder for the pictures.
    """
    scenes = lns.load(source)
    first, second = scenes.names[:2]
    planes = scenes.planes(first)  # [3, features, rows, columns]: XY, XZ and YZ
    weights = torch.stack([scenes.weights(name) for name in (first, second)])
    print(f"planes {tuple(planes.shape)}, {weights.shape[1]} base planes")
    print(f"weights of {first} and {second} differ by {float((weights[0] - weights[1]).norm()):.3f}")

    camera = scenes.orbit(first, views=1)
    shown = {first: first, "half": scenes.blend(first, second), second: second}
    shown["macro planes alone"] = scenes.part(first, "macro")
    for name, scene in shown.items():
        scenes.render(scene, camera).save(output / name.replace(" ", "_"))


if __name__ == "__main__":
    tyro.cli(main)
