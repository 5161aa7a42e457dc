"""`lns render-latents` and `lns decode-latents`: raw latents of a path of cameras, and pictures of such."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import tyro

from latent_nerfstudio.cli.words import Device, OfScenes, Overwrite, Size
from latent_nerfstudio.errors import check_least
from latent_nerfstudio.escaping import for_terminal
from latent_nerfstudio.files.places import check_file, check_folder, check_free

if TYPE_CHECKING:
    from latent_nerfstudio.api.codec import Codec
    from latent_nerfstudio.api.latent_files import LatentFile


@dataclass
class RenderLatents(OfScenes):
    """Writes the raw, un-normalised latents of a path of cameras, in the convention of the autoencoder: `vae.decode` of
    diffusers takes them as they are. `lns decode-latents` is the way back."""

    output: Path
    """File to write, .safetensors."""
    scene: Optional[str] = None
    """Name of the scene; by default the first."""
    camera_path: Optional[Path] = None
    """Camera path of the viewer (JSON); by default `path`."""
    path: Literal["orbit", "training"] = "orbit"
    """Path without a camera path of the viewer: a walk around the scene, or its training cameras."""
    views: int = 60
    """Pictures of the walk."""
    size: Size = None
    precision: Literal["float32", "float16"] = "float32"
    """Precision of the latents."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_file(self.output, ".safetensors")
        from latent_nerfstudio.api.cameras import camera_path, check_side
        from latent_nerfstudio.api.latent_files import render_latents, write_latents

        check_free([self.output], self.overwrite)
        check_least(self, views=1)
        check_side(self.size)
        cameras = None if self.camera_path is None else camera_path(self.camera_path)
        scenes = self.open()
        scene = self.scene or scenes.names[0]
        if cameras is None:
            is_orbit = self.path == "orbit"
            cameras = scenes.orbit(scene, self.views, self.size) if is_orbit else scenes.cameras(scene)
        file = render_latents(scenes, scene, cameras)
        count = write_latents(self.output, file, self.precision)
        shape = " x ".join(map(str, file.latents.shape))
        print(f"Wrote latents {shape} of {scene}, for pictures of {file.height} x {file.width}: {count:,} bytes")


@dataclass
class DecodeLatents:
    """Decodes a file of latents: those of `lns render-latents`, edited or not, or any safetensors file that holds
    `latents` [n, C, h, w] as an autoencoder of diffusers has them."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """File of latents, .safetensors."""
    autoencoder: str
    """Autoencoder that decodes: run, with its decoder; a shared bundle; `bundled`; a folder of diffusers; a Hub id."""
    output: Path
    """Video (.mp4 or .gif), or folder for pictures: with the cameras of the file it is a scene to learn."""
    fps: int = 24
    """Frames a second of a video."""
    device: Device = None
    overwrite: Overwrite = False

    def main(self) -> None:
        from latent_nerfstudio.api.latent_files import read_latents
        from latent_nerfstudio.models.shared_bundle import source_for
        from latent_nerfstudio.videos.writing import SETTINGS, check_video

        is_video = self.output.suffix.lower() in SETTINGS
        if is_video:
            check_video(self.output, self.fps)
        else:
            check_folder(self.output)
            check_free([self.output], self.overwrite)
        file = read_latents(self.source)
        codec = codec_of(source_for(self.autoencoder, file.autoencoder.get("encoder_hash")), self.device)
        check_encoder(file, codec)
        follow_enlarge(file, codec)
        write_pictures(self.output, file, codec, self.fps if is_video else None)


def codec_of(source: str, device: Optional[str] = None) -> "Codec":
    """The autoencoder of a run or of a bundle with the decoder of what they render, or a plain one."""
    from latent_nerfstudio.api.codec import load_autoencoder
    from latent_nerfstudio.api.loading import is_run, load, load_bundle
    from latent_nerfstudio.latent_space.autoencoder import check_not_retired
    from latent_nerfstudio.models.bundle_folder import find_folder
    from latent_nerfstudio.models.shared_bundle import BUNDLED_BUNDLES

    check_not_retired(source)
    path = Path(source).expanduser()
    if is_run(path):
        return load(source, device=device).codec
    if source in BUNDLED_BUNDLES or find_folder(path) is not None:
        return load_bundle(source, device).codec
    return load_autoencoder(source, device=device)


def check_encoder(file: "LatentFile", codec: "Codec") -> None:
    """Warns where latents come from another encoder of the same shape."""
    theirs, ours = file.autoencoder.get("encoder_hash"), codec.autoencoder.encoder_hash()
    if theirs is not None and theirs != ours:
        shown = for_terminal(theirs, 40)
        print(f"Warning: the latents come from the encoder {shown}, and this is {ours}", file=sys.stderr)


def follow_enlarge(file: "LatentFile", codec: "Codec") -> None:
    """Has an autoencoder make pictures smaller as often as those were enlarged that a file's latents stand for."""
    from latent_nerfstudio.latent_space.autoencoder import is_enlargement

    autoencoder, factor = codec.autoencoder, file.autoencoder.get("downscale_factor")
    if is_enlargement(factor, autoencoder.factor):  # as what both make together is the network's
        autoencoder.enlarge = autoencoder.factor // factor


def write_pictures(output: Path, file: "LatentFile", codec: "Codec", fps: Optional[int]) -> None:
    """Decodes and writes: a video where there are frames a second, else a folder."""
    from latent_nerfstudio.api.scene_folder import save_scene
    from latent_nerfstudio.api.scenes import save_pictures
    from latent_nerfstudio.latent_space.latent_space import as_bytes
    from latent_nerfstudio.videos.writing import even, write_video

    pictures = codec.decode(file.latents, file.height, file.width)
    if fps is not None:
        write_video(output, iter(even(as_bytes(pictures))), fps)
    elif file.cameras is not None:
        save_scene(output, pictures, file.cameras, file.box)
    else:
        save_pictures(output, pictures)
    what = "a video" if fps is not None else "a scene" if file.cameras is not None else "files"
    print(f"Wrote {len(pictures)} picture(s) of {pictures.shape[1]} x {pictures.shape[2]} as {what} to {output}")
