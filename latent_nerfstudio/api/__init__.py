"""The Python API; `import latent_nerfstudio as lns` offers it lazily, see docs/python.md."""

from latent_nerfstudio.api.cameras import Ring, camera_path, depth_along_ray, depth_along_z, look_at, orbit
from latent_nerfstudio.api.codec import Codec, load_autoencoder
from latent_nerfstudio.api.fitting import fit
from latent_nerfstudio.api.latent_files import LatentFile, read_latents, render_latents, write_latents
from latent_nerfstudio.api.loading import Bundle, load, load_bundle
from latent_nerfstudio.api.scene_folder import save_scene
from latent_nerfstudio.api.scenes import Pictures, Scenes, save_pictures

__all__ = [
    "Bundle",
    "Codec",
    "LatentFile",
    "Pictures",
    "Ring",
    "Scenes",
    "camera_path",
    "depth_along_ray",
    "depth_along_z",
    "fit",
    "load",
    "load_autoencoder",
    "load_bundle",
    "look_at",
    "orbit",
    "read_latents",
    "render_latents",
    "save_pictures",
    "save_scene",
    "write_latents",
]
