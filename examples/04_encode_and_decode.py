"""Pictures to latents and back, and what that costs.

A codec is an autoencoder with nothing else in between: its latents are those of diffusers. `scenes.codec` has the
decoder as a run trained it; `load_autoencoder` opens any other.
"""

from pathlib import Path

import tyro

import latent_nerfstudio as lns


def main(
    source: Path = Path("outputs/demo/latent-triplane/latest"),
    autoencoder: str = "bundled",
    output: Path = Path("decoded"),
) -> None:
    """Encodes renders of a scene and decodes them.

    Args:
        source: the run.
        autoencoder: `bundled`, a folder in diffusers format, or a Hub id.
        output: folder for the decoded pictures.
    """
    scenes, codec = lns.load(source), lns.load_autoencoder(autoencoder)
    name = scenes.names[0]
    pictures = scenes.render(name, scenes.orbit(name, views=4))
    latents = codec.encode(pictures.rgb)
    height, width = pictures.rgb.shape[1:3]
    decoded = codec.decode(latents, height, width)
    error = (decoded - pictures.rgb).square().mean()
    print(f"{codec}: {pictures.rgb[0].numel()} numbers of a picture as {latents[0].numel()}")
    print(f"PSNR after the way there and back: {float(-10 * error.log10()):.1f} dB")
    output.mkdir(parents=True, exist_ok=True)
    lns.save_pictures(output, decoded)


if __name__ == "__main__":
    tyro.cli(main)
