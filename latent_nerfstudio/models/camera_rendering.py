"""What renders the cameras of a latent model: rays of latent pictures, decoding, many scenes in one batch."""

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.model_components import renderers
from nerfstudio.models.base_model import Model
from torch import Tensor

from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.latent_space.precision import autocast
from latent_nerfstudio.latent_space.resolution import (
    around_sphere,
    enlarge,
    is_panorama,
    latent_cameras,
    resized_cameras,
)
from latent_nerfstudio.models.chunks import in_chunks
from latent_nerfstudio.models.interface import check_outputs

DECODED_AT_ONCE = 16
"""Pictures that a decoder is given together."""

MARGIN = 8
"""Latent pixels from beyond its borders that a panorama is decoded with, so that its sides meet without a seam."""


class CameraRenderer(Model):
    """Renders cameras by the NeRF inside, and decodes what it renders."""

    config: Any
    latent_space: LatentSpace
    nerf: Model

    def get_outputs(self, ray_bundle: RayBundle, views: Sequence[SceneView] = ()) -> Dict[str, Any]:
        """What rays collect, on the background; see `LatentModel.get_outputs`."""
        raise NotImplementedError

    def rays_of(self, cameras: Cameras, obb_box: Optional[OrientedBox] = None) -> RayBundle:
        """Rays of whole latent pictures of cameras of one size: [h, w] for one camera, else [n, h, w] flattened to
        [n h, w]; each carries the background of its pixel.

        Args:
            cameras: image cameras (of the picture's size, not of the latent's).
            obb_box: crop box of ns-render and of the viewer.
        """
        scaled = latent_cameras(cameras.reshape((-1,)), self.latent_space.downscale_factor).to(self.device)
        height, width = int(scaled.height[0]), int(scaled.width[0])
        bundles = [scaled.generate_rays(camera_indices=i, keep_shape=True, obb_box=obb_box) for i in range(len(scaled))]
        bundle = bundles[0] if len(bundles) == 1 else concatenate(bundles)
        bundle.metadata["background"] = self.background_picture(height, width).repeat(len(bundles), 1, 1)
        return bundle

    def background_picture(self, height: int, width: int) -> Float[Tensor, "height width channels"]:
        """The latent of the background for a latent picture of the given size.

        In RGB a crop box of the viewer or of ns-render brings its own colour; a decoder knows that of training alone.
        """
        override = renderers.BACKGROUND_COLOR_OVERRIDE
        if self.latent_space.is_identity and override is not None:
            return override.to(self.device).expand(height, width, 3)
        rows, columns = torch.meshgrid(
            torch.arange(height, device=self.device), torch.arange(width, device=self.device), indexing="ij"
        )
        size = torch.full_like(rows, height), torch.full_like(rows, width)
        return self.latent_space.background_at(rows, columns, *size)

    @property
    def renders_cameras(self) -> bool:
        """Whether the NeRF inside has no rays and renders whole pictures, by `render_cameras`."""
        return hasattr(self.nerf, "render_cameras")

    def render_cameras(self, cameras: Cameras, obb_box: Optional[OrientedBox] = None) -> Dict[str, Tensor]:
        """What a NeRF without rays renders of image cameras of one size, on the latent of the background.

        Returns:
            `rgb` [n, h, w, C], `accumulation` and `depth` [n, h, w, 1].
        """
        scaled = latent_cameras(cameras.reshape((-1,)), self.latent_space.downscale_factor).to(self.device)
        outputs = self.nerf.render_cameras(scaled, obb_box)  # type: ignore[operator]
        check_outputs(type(self.nerf).__name__, outputs, self.latent_space.num_channels)
        background = self.background_picture(*outputs["rgb"].shape[1:3])
        return {**outputs, "rgb": outputs["rgb"] + (1 - outputs["accumulation"]) * background}

    def render_latents(self, cameras: Cameras) -> Tuple[Float[Tensor, "batch h w channels"], Dict[str, Any]]:
        """Latent pictures of cameras of one size, with gradients, and the NeRF's outputs for the regularisers."""
        if self.renders_cameras:
            outputs = self.render_cameras(cameras)
            return outputs["rgb"], outputs
        bundle = self.rays_of(cameras)
        outputs = self.get_outputs(bundle.flatten())
        height, width = bundle.origins.shape[0] // max(1, cameras.size), bundle.origins.shape[1]
        return outputs["rgb"].view(-1, height, width, self.latent_space.num_channels), outputs

    @torch.no_grad()
    def render_camera(
        self,
        camera: Cameras,
        obb_box: Optional[OrientedBox] = None,
        with_latents: bool = False,
        view: Optional[SceneView] = None,
    ) -> Dict[str, Tensor]:
        """Renders one camera; see `LatentModel.get_outputs_for_camera`."""
        cameras = camera.reshape((-1,))
        cameras, views = (cameras, ()) if view is None else in_views(cameras, [view])
        return {name: value[0] for name, value in self.pictures_of(cameras, obb_box, with_latents, views).items()}

    @torch.no_grad()
    def render_scenes(
        self,
        cameras: Cameras,
        scenes: Optional[Sequence[Union[int, SceneView]]] = None,
        with_latents: bool = False,
    ) -> Dict[str, Tensor]:
        """The pictures that `get_outputs_for_camera` gives, of many cameras and scenes in one batch.

        Args:
            cameras: n cameras of one size and kind; one camera serves all scenes.
            scenes: index of the scene of each, or a view, which may blend two scenes or show a part of one; by default
                the scene of its metadata, or the current one.
            with_latents: also return `raw_latent` [n, h, w, C].

        Returns:
            `rgb`, `latent` [n, H, W, 3] in [0, 1]; `depth`, `accumulation` [n, H, W, 1].

        Raises:
            ValueError: another number of scenes than of cameras, or a view that this NeRF cannot give.
        """
        cameras, views = (cameras.reshape((-1,)), ()) if scenes is None else in_views(cameras, scenes)
        return self.pictures_of(cameras, None, with_latents, views)

    def pictures_of(
        self, cameras: Cameras, obb_box: Optional[OrientedBox], with_latents: bool, views: Sequence[SceneView]
    ) -> Dict[str, Tensor]:
        """`rgb`, `latent`, `depth` and `accumulation` of cameras of one size, all of that size."""
        height, width = size_of(cameras)
        rows, columns = self.rendered_size(cameras[:1])
        if (rows, columns) != (height, width):
            cameras = resized_cameras(cameras, rows, columns)
        outputs = self.latent_outputs(cameras, obb_box, views)
        latents, factor = outputs["rgb"], self.latent_space.downscale_factor
        pictures = {
            "rgb": torch.cat([self.decode_pictures(part, cameras[:1]) for part in latents.split(DECODED_AT_ONCE)]),
            "latent": self.latent_picture(latents, rows, columns),
            "depth": enlarge(outputs["depth"], factor, rows, columns),
            "accumulation": enlarge(outputs["accumulation"], factor, rows, columns),
        }
        if (rows, columns) != (height, width):
            pictures = {name: resize(value, height, width) for name, value in pictures.items()}
        return {**pictures, "raw_latent": latents} if with_latents else pictures

    def latent_outputs(
        self, cameras: Cameras, obb_box: Optional[OrientedBox], views: Sequence[SceneView]
    ) -> Dict[str, Tensor]:
        """Latents as `rgb` [n, h, w, C], `depth` and `accumulation` [n, h, w, 1] of image cameras of one size."""
        if self.renders_cameras:
            return self.render_cameras(cameras, obb_box)
        rays = self.rays_of(cameras, obb_box)
        if self.is_latent_panorama(cameras[:1]):
            del rays.metadata["background"]  # a panorama has no borders
        outputs = self.get_outputs_for_camera_ray_bundle(rays, views)
        return {name: value.unflatten(0, (len(cameras), -1)) for name, value in outputs.items()}

    def decode_pictures(
        self, latents: Float[Tensor, "n h w channels"], camera: Cameras
    ) -> Float[Tensor, "n height width 3"]:
        """The pictures of latents of cameras like the given one, in [0, 1]; panoramas are decoded with what lies beyond
        their borders."""
        height, width = size_of(camera)
        if not self.is_latent_panorama(camera):
            return self.decode(latents, height, width)
        factor, margin = self.latent_space.downscale_factor, min(MARGIN, *latents.shape[1:3])
        beyond = 2 * margin * factor
        around = torch.stack([around_sphere(picture, margin) for picture in latents])
        wide = self.decode(around, height + beyond, width + beyond)
        return wide[:, margin * factor :, margin * factor :][:, :height, :width]

    def latent_picture(
        self, latents: Float[Tensor, "*batch h w channels"], height: int, width: int
    ) -> Float[Tensor, "*batch height width 3"]:
        """Normalised latents as pictures, by a projection that does not change from frame to frame."""
        return enlarge(self.latent_space.preview(latents), self.latent_space.downscale_factor, height, width)

    def decode(
        self, latents: Float[Tensor, "batch h w channels"], height: int, width: int
    ) -> Float[Tensor, "batch height width 3"]:
        """Decoded pictures in [0, 1], with the arithmetic of `render_precision`."""
        with autocast(self.config.render_precision, self.device):
            return self.latent_space.decode(latents, height, width).float().clamp(0, 1)

    def is_latent_panorama(self, camera: Cameras) -> bool:
        """Whether a decoder must be shown that a picture goes on beyond its borders."""
        return is_panorama(camera) and not self.latent_space.is_identity

    def rendered_size(self, camera: Cameras) -> Tuple[int, int]:
        """Height and width that a camera is rendered at before its picture is resized, see `max_render_height`.

        A panorama of the same height shows far more, so its limit is the resolution of the training pictures by angle;
        its sides only meet if whole latent pixels, an even number of columns, fill it.
        """
        height, width = size_of(camera)
        if self.latent_space.is_identity:
            return height, width
        if not is_panorama(camera):
            rows = min(height, self.render_height_limit() or height)
            return rows, max(1, round(width * rows / height))
        factor, limit = self.latent_space.downscale_factor, self.panorama_height_limit() or height
        rows = max(1, round(min(height, limit) / factor))
        return rows * factor, 2 * max(1, round(width / height * rows / 2)) * factor

    def render_height_limit(self) -> Optional[int]:
        """Height of perspective pictures from which on they are enlarged."""
        return self.config.max_render_height or (self.kwargs.get("metadata") or {}).get("image_height")

    def panorama_height_limit(self) -> Optional[int]:
        """Height of panoramas from which on they are enlarged: half a turn at the training pictures' resolution."""
        resolution = (self.kwargs.get("metadata") or {}).get("pixels_per_radian")
        return self.config.max_render_height or (resolution and round(math.pi * resolution))

    @torch.no_grad()
    def get_outputs_for_camera_ray_bundle(
        self, camera_ray_bundle: RayBundle, views: Sequence[SceneView] = ()
    ) -> Dict[str, Tensor]:
        """Latents [h, w, C] as `rgb`, depth and accumulation of a picture of rays, in chunks; nothing is decoded."""
        height, width = camera_ray_bundle.origins.shape[:2]
        flat = camera_ray_bundle.flatten()
        size = self.config.nerf.eval_num_rays_per_chunk
        chunks = in_chunks(lambda part: self.get_outputs(part.to(self.device), views), flat, size)
        names = ("rgb", "depth", "accumulation")
        return {name: torch.cat([c[name] for c in chunks]).view(height, width, -1) for name in names}

    def get_rgba_image(self, outputs: Dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """The picture with the accumulation as its alpha."""
        return torch.cat([outputs[output_name], outputs["accumulation"]], dim=-1)


def size_of(camera: Cameras) -> Tuple[int, int]:
    """Height and width of one camera, pixels."""
    return int(camera.height.flatten()[0]), int(camera.width.flatten()[0])


def in_views(cameras: Cameras, scenes: Sequence[Union[int, SceneView]]) -> Tuple[Cameras, Tuple[SceneView, ...]]:
    """A copy of cameras, each in its scene or view; one camera serves all.

    Returns:
        The cameras, and the distinct views that their `scene_index` counts; none if all are whole scenes.

    Raises:
        ValueError: another number of scenes than of cameras.
    """
    flat = cameras.reshape((-1,))
    if len(flat) == 1 and len(scenes) > 1:
        flat = flat[torch.zeros(len(scenes), dtype=torch.long)]
    if len(flat) != len(scenes):
        raise ValueError(
            f"scenes: expected one for each of the {len(flat)} cameras, got {len(scenes)}; give as many, or one camera"
        )
    shown = [scene if isinstance(scene, SceneView) else SceneView(scene) for scene in scenes]
    views = () if all(view.is_whole for view in shown) else tuple(dict.fromkeys(shown))
    index = [views.index(view) for view in shown] if views else [view.scene for view in shown]
    flat.metadata = {**(flat.metadata or {}), "scene_index": torch.tensor(index, device=flat.device)[:, None]}
    return flat, views


def resize(
    pictures: Float[Tensor, "*batch _ _ channels"], height: int, width: int
) -> Float[Tensor, "*batch height width channels"]:
    """Bilinear enlargement, so that ranges are kept."""
    batch = pictures.reshape(-1, *pictures.shape[-3:]).permute(0, 3, 1, 2)
    resized = F.interpolate(batch, size=(height, width), mode="bilinear").permute(0, 2, 3, 1)
    return resized.reshape(*pictures.shape[:-3], height, width, -1).contiguous()


def concatenate(bundles: List[RayBundle]) -> RayBundle:
    """Joins ray bundles of one width along the first axis."""
    first = bundles[0]

    def join(name: str) -> Optional[Tensor]:
        parts = [getattr(b, name) for b in bundles]
        return None if parts[0] is None else torch.cat(parts)

    metadata = {key: torch.cat([b.metadata[key] for b in bundles]) for key in first.metadata}
    names = ("origins", "directions", "pixel_area", "camera_indices", "nears", "fars")
    return RayBundle(**{name: join(name) for name in names}, metadata=metadata)  # type: ignore[arg-type]
