"""What renders the cameras of a latent model: rays of latent pictures, decoding, many scenes in one batch.

Axes: `n` cameras of one size, `height width` of their pictures, `h w` of their latent pictures, both divided by the
downscale factor and rounded up."""

import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.model_components import renderers
from nerfstudio.utils.math import intersect_obb
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from latent_nerfstudio.data.pixels import pixel_rays
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.latent_space import resolution
from latent_nerfstudio.latent_space.cameras import is_panorama, is_stereo, size_of
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.models.channel_nerf import check_outputs

MARGIN = 8
"""Latent pixels from beyond its borders that a panorama is decoded with, so that its sides meet without a seam."""

FEWEST_RAYS = 64
"""Rays of a chunk that is not halved any more."""


class CameraRenderer:
    """Renders cameras with the NeRF inside a latent model, and decodes the result. `metadata` is the training data's
    (`image_height`, `pixels_per_radian`); `render_rays` is `LatentModel.get_outputs`. A NeRF without rays, which
    `renders_cameras`, makes whole pictures."""

    def __init__(self, model: Any, metadata: Mapping[str, Any]):
        self.config, self.render_rays, self.metadata = model.config, model.get_outputs, metadata
        self.space: LatentSpace = model.latent_space
        self.nerf: Any = model.nerf
        self.renders_cameras = hasattr(self.nerf, "render_cameras")

    # In training

    def render_latents(
        self, cameras: Cameras, size: Optional[Tuple[int, int]] = None, scenes: Optional[Int[Tensor, "scenes"]] = None
    ) -> Tuple[Float[Tensor, "n h w channels"], Dict[str, Any]]:
        """Latent pictures of image cameras of one size, with gradients, and the NeRF's outputs for the regularisers. If
        `size` and `scenes` (rising, on the host) of pinhole cameras are given, no device is waited for."""
        if self.renders_cameras:
            outputs = self.render_cameras(cameras)
            return outputs["latent"], outputs
        height, width = size or size_of(cameras)
        rays = self.rays_of(cameras, (height, width), is_plain=None if size is None else True)
        outputs = self.render_rays(rays, scenes=scenes)
        return outputs["latent"].view(-1, *self.latent_size(height, width), self.space.num_channels), outputs

    def rays_of(
        self,
        cameras: Cameras,
        size: Tuple[int, int],
        obb_box: Optional[OrientedBox] = None,
        is_plain: Optional[bool] = None,
    ) -> RayBundle:
        """Rays of all pixels of the latent pictures of image cameras of one height and width, picture by picture, row
        by row; each carries the background of its pixel. For `is_plain` see `pixel_rays`."""
        scaled, (h, w) = self.latent_cameras(cameras), self.latent_size(*size)
        if len(scaled) == 1 and is_stereo(scaled):
            rays = scaled.generate_rays(camera_indices=0, keep_shape=True).flatten()
        else:
            places = torch.cartesian_prod(*(torch.arange(count, device=self.device) for count in (len(scaled), h, w)))
            rays = pixel_rays(scaled, places.view(-1, 3), is_plain)
        rays.metadata["background"] = self.background_picture(h, w).flatten(0, 1).repeat(len(scaled), 1)
        if obb_box is not None:
            nears, fars = intersect_obb(rays.origins.contiguous(), rays.directions.contiguous(), obb_box)
            rays.nears, rays.fars = nears.view(-1, 1), fars.view(-1, 1)
        return rays

    def latent_cameras(self, cameras: Cameras) -> Cameras:
        return resolution.latent_cameras(cameras.reshape((-1,)), self.space.downscale_factor).to(self.device)

    def latent_size(self, height: int, width: int) -> Tuple[int, int]:
        return resolution.latent_size(height, width, self.space.downscale_factor)

    def background_picture(self, height: int, width: int) -> Float[Tensor, "height width channels"]:
        """The background's latents for a latent picture of this size. In RGB, crop boxes of viewer and ns-render bring
        their own colour; a decoder only knows that of training."""
        override = renderers.BACKGROUND_COLOR_OVERRIDE
        if self.space.is_identity and override is not None:
            return override.to(self.device).expand(height, width, 3)
        sides = (torch.arange(extent, device=self.device) for extent in (height, width))
        places = torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1)
        size = torch.stack([torch.full_like(places[..., 0], extent) for extent in (height, width)], dim=-1)
        return self.space.background_at(places, size)

    @property
    def device(self) -> torch.device:
        return self.space.background.device

    def render_cameras(self, cameras: Cameras, obb_box: Optional[OrientedBox] = None) -> Dict[str, Tensor]:
        """`latent`, `accumulation` and `depth` [n, h, w, _] by a NeRF without rays, on the latent of the background."""
        outputs = self.nerf.render_cameras(self.latent_cameras(cameras), obb_box)
        check_outputs(type(self.nerf).__name__, outputs, self.space.num_channels)
        background = self.background_picture(*outputs["latent"].shape[1:3])
        return {**outputs, "latent": outputs["latent"] + (1 - outputs["accumulation"]) * background}

    # Pictures

    @torch.no_grad()
    def render_scenes(
        self,
        cameras: Cameras,
        scenes: Optional[Sequence[Union[int, SceneView]]] = None,
        with_latents: bool = False,
        obb_box: Optional[OrientedBox] = None,
    ) -> Dict[str, Tensor]:
        """Pictures of n cameras of one size and kind, each of a scene or a view; a single camera serves all `scenes`.
        The default is the scene of the cameras' metadata, or the current one. Returns `rgb` and `latent` [n, H, W, 3]
        in [0, 1], `depth` and `accumulation` [n, H, W, 1] and, if asked for, normalised `latent_channels` [n, h, w,
        C]."""
        height, width = size_of(cameras)
        outputs, cameras = self.scene_latents(cameras, scenes, obb_box)
        rows, columns = size_of(cameras)
        latents, shape = outputs["latent"], (self.space.downscale_factor, rows, columns)
        parts = latents.split(self.space.autoencoder.at_once(16, rows, columns))
        pictures = {
            "rgb": torch.cat([self.decode_pictures(part, cameras[:1]) for part in parts]),
            "latent": self.latent_picture(latents, rows, columns),
            **{name: resolution.repeat_pixels(outputs[name], *shape) for name in ("depth", "accumulation")},
        }
        if (rows, columns) != (height, width):
            pictures = {name: resolution.resized(value, height, width) for name, value in pictures.items()}
        return {**pictures, "latent_channels": latents} if with_latents else pictures

    @torch.no_grad()
    def scene_latents(
        self,
        cameras: Cameras,
        scenes: Optional[Sequence[Union[int, SceneView]]] = None,
        obb_box: Optional[OrientedBox] = None,
    ) -> Tuple[Dict[str, Tensor], Cameras]:
        """What `render_scenes` decodes: `latent_outputs`, and the n cameras in the size that is rendered."""
        cameras, views = (cameras.reshape((-1,)), ()) if scenes is None else in_views(cameras, scenes)
        size = self.rendered_size(cameras[:1])
        if size != size_of(cameras):
            cameras = resolution.resized_cameras(cameras, *size)
        return self.latent_outputs(cameras, obb_box, views), cameras

    def latent_outputs(
        self, cameras: Cameras, obb_box: Optional[OrientedBox], views: Sequence[SceneView]
    ) -> Dict[str, Tensor]:
        """`latent` [n, h, w, C], `depth` and `accumulation` [n, h, w, 1] of image cameras of one size."""
        if self.renders_cameras:
            return self.render_cameras(cameras, obb_box)
        rays = self.rays_of(cameras, size_of(cameras), obb_box)
        if self.is_latent_panorama(cameras[:1]):
            del rays.metadata["background"]  # a panorama has no borders
        chunk = self.config.nerf.eval_num_rays_per_chunk
        chunks = in_chunks(lambda part: self.render_rays(part, views=views), rays, chunk)
        shape = (len(cameras), *self.latent_size(*size_of(cameras)), -1)
        return {name: torch.cat([c[name] for c in chunks]).view(shape) for name in ("latent", "depth", "accumulation")}

    def decode_pictures(
        self, latents: Float[Tensor, "n h w channels"], camera: Cameras
    ) -> Float[Tensor, "n height width 3"]:
        """Pictures in [0, 1] of latents of such cameras; panoramas are decoded with what lies beyond their borders."""
        height, width = size_of(camera)
        if not self.is_latent_panorama(camera):
            return self.decode(latents, height, width)
        margin = min(MARGIN, *latents.shape[1:3])
        around = torch.stack([resolution.around_sphere(picture, margin) for picture in latents])
        beyond = margin * self.space.downscale_factor
        wide = self.decode(around, height + 2 * beyond, width + 2 * beyond)
        return wide[:, beyond : beyond + height, beyond : beyond + width]

    def latent_picture(
        self, latents: Float[Tensor, "*batch h w channels"], height: int, width: int
    ) -> Float[Tensor, "*batch height width 3"]:
        """Normalised latents as pictures, by a projection that does not change from frame to frame."""
        return resolution.repeat_pixels(self.space.preview(latents), self.space.downscale_factor, height, width)

    def decode(
        self, latents: Float[Tensor, "batch h w channels"], height: int, width: int
    ) -> Float[Tensor, "batch height width 3"]:
        with torch.autocast(self.device.type, enabled=False):
            return self.space.decode(latents, height, width).clamp(0, 1)

    def is_latent_panorama(self, camera: Cameras) -> bool:
        """Whether a decoder must be shown that a picture goes on beyond its borders."""
        return is_panorama(camera) and not self.space.is_identity

    def rendered_size(self, camera: Cameras) -> Tuple[int, int]:
        """Height and width at which a camera is rendered before its picture is resized, see `max_render_height`. The
        limit of a panorama is half a turn at the training pictures' pixels per radian; its sides only meet if it is
        filled by whole latent pixels in an even number of columns."""
        height, width = size_of(camera)
        if self.space.is_identity:
            return height, width
        if not is_panorama(camera):
            rows = min(height, self.render_height_limit() or height)
            return rows, max(1, round(width * rows / height))
        factor, pixels = self.space.downscale_factor, self.metadata.get("pixels_per_radian")
        limit = self.config.max_render_height or (pixels and round(math.pi * pixels)) or height
        rows = max(1, round(min(height, limit) / factor))
        return rows * factor, 2 * max(1, round(width / height * rows / 2)) * factor

    def render_height_limit(self) -> Optional[int]:
        return self.config.max_render_height or self.metadata.get("image_height")


def in_views(cameras: Cameras, scenes: Sequence[Union[int, SceneView]]) -> Tuple[Cameras, Tuple[SceneView, ...]]:
    """A copy of the cameras with their `scene_index`, and the distinct views that it counts; none for whole scenes."""
    flat = cameras.reshape((-1,))
    if len(flat) == 1 and len(scenes) > 1:
        flat = flat[torch.zeros(len(scenes), dtype=torch.long)]
    if len(flat) != len(scenes):
        expected = f"one for each of the {len(flat)} cameras"
        raise ValueError(problem("scenes", expected, len(scenes), "give as many, or one camera"))
    shown = [scene if isinstance(scene, SceneView) else SceneView(scene) for scene in scenes]
    views = () if all(view.is_whole for view in shown) else tuple(dict.fromkeys(shown))
    index = [views.index(view) for view in shown] if views else [view.scene for view in shown]
    flat.metadata = {**(flat.metadata or {}), "scene_index": torch.tensor(index, device=flat.device)[:, None]}
    return flat, views


def in_chunks(render: Callable[[RayBundle], Dict[str, Tensor]], rays: RayBundle, size: int) -> List[Dict[str, Tensor]]:
    """Outputs of rays by chunks of `size` or, where the GPU's memory lacks, half as many, down to `FEWEST_RAYS`."""
    chunks, start = [], 0
    while start < len(rays):
        try:
            chunks.append(render(rays[start : start + size]))
            start += size
            continue
        except torch.cuda.OutOfMemoryError as error:
            reason = str(error).splitlines()[0]
        # Here the error is gone, and with it the memory that its frames held.
        if size <= FEWEST_RAYS:
            do = "render fewer pixels (a lower resolution), or on a GPU with more memory"
            raise MemoryError(problem(f"rendering {size} rays", "room on the GPU", reason, do))
        size = max(FEWEST_RAYS, size // 2)
        torch.cuda.empty_cache()
        CONSOLE.print(f"rendering: not enough memory, {size} rays at once from now on", soft_wrap=True)
    return chunks
