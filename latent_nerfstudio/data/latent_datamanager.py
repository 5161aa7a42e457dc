"""Datamanager: pictures as uint8, their latents in half precision, rays of latent pixels of many scenes."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Optional, Tuple, Type

import torch
from jaxtyping import Int, Shaped
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.configs.dataparser_configs import AnnotatedDataParserUnion
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanager, FullImageDatamanagerConfig
from nerfstudio.data.datasets.base_dataset import InputDataset
from torch import Tensor

from latent_nerfstudio.data.crops import cropped, cropped_cameras, draw_crops
from latent_nerfstudio.data.latent_cache import encode_scenes
from latent_nerfstudio.data.pixels import (
    PixelTable,
    draw_pictures,
    draw_pixels,
    draw_scenes,
    mask_of_latent,
    pixel_table,
)
from latent_nerfstudio.data.rays import pixel_rays
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace, as_float, background_color_of
from latent_nerfstudio.latent_space.resolution import latent_cameras

FIT_SAMPLE = 1 << 20
"""Latent pixels that the normaliser is fitted on, at most."""


@dataclass
class LatentDataManagerConfig(FullImageDatamanagerConfig):
    """Pictures, latents, rays."""

    _target: Type = field(default_factory=lambda: LatentDataManager)
    dataparser: AnnotatedDataParserUnion = field(default_factory=ScenesDataParserConfig)
    """Which scenes on disk."""
    cache_images_type: Literal["uint8", "float32"] = "uint8"
    """Kept as uint8: float32 takes four times the memory and brings nothing."""
    latent_cache: str = "disk"
    """Where latents are kept: `memory`, `disk` (the user's cache folder) or a folder."""
    encode_batch_size: int = 32
    """Pictures that are encoded at once."""
    rays_per_batch: int = 4096
    """Latent pixels a step of latent supervision, drawn from all pictures of the step's scenes."""
    images_per_batch: int = 4
    """Whole latent pictures a step of RGB alignment."""
    scenes_per_batch: int = 16
    """Scenes a step; their planes are composed once for all rays of the step."""
    background_color: str = "white"
    """Colour behind pictures with an alpha channel, where the dataparser names none."""


class LatentDataManager(FullImageDatamanager[InputDataset]):
    """Draws are a function of seed and step alone, so that a resumed run goes on as it would have.

    Nothing is loaded or encoded before `prepare`: ns-eval, ns-viewer and ns-render build this class as well.
    """

    config: LatentDataManagerConfig

    def __init__(self, config: LatentDataManagerConfig, *args: Any, **kwargs: Any):
        super().__init__(config, *args, **kwargs)
        color = self.train_dataparser_outputs.alpha_color
        self.background_color = background_color_of(config.background_color) if color is None else color.float().cpu()
        for dataset in (self.train_dataset, self.eval_dataset):
            dataset.metadata["background_color"] = tuple(self.background_color.tolist())
            dataset.metadata["image_height"] = int(self.train_dataset.cameras.height.max())
        self.table: Optional[PixelTable] = None
        self.picture_sizes = self.picture_scenes = torch.zeros(0, dtype=torch.long)

    def _load_images(self, split: Literal["train", "eval"], cache_images_device: Literal["cpu", "gpu"]):
        """Nerfstudio's loading and undistortion, then alpha over the background.

        On the CPU the host is the device: the other way pins memory, which needs a CUDA driver. Nerfstudio leaves the
        cameras of undistorted pictures distorted, fisheye ones as well; they are pinhole cameras then.
        """
        on_host = torch.device(self.device).type != "cuda"
        cameras = (self.train_dataset if split == "train" else self.eval_dataset).cameras
        pictures = super()._load_images(split, "gpu" if on_host else cache_images_device)
        for picture in pictures:
            picture["image"] = over_background(picture["image"], self.background_color)
        if cameras.distortion_params is not None:
            undistorted = (cameras.distortion_params != 0).any(dim=-1, keepdim=True)
            pinhole = torch.full_like(cameras.camera_type, CameraType.PERSPECTIVE.value)
            cameras.camera_type = torch.where(undistorted, pinhole, cameras.camera_type)
            cameras.distortion_params = torch.zeros_like(cameras.distortion_params)
        return pictures

    def prepare_pictures(self) -> None:
        """Loads the training pictures, once; enough for pictures without latents."""
        if len(self.picture_scenes):
            return
        self.picture_sizes = torch.tensor([picture["image"].shape[:2] for picture in self.cached_train])
        self.picture_scenes = torch.tensor(scene_indices(self.train_dataset.cameras))

    def prepare(self, space: LatentSpace) -> None:
        """Loads the training pictures, encodes them or finds their latents, and fits the latent space if it is new."""
        self.prepare_pictures()
        pictures = self.cached_train
        images = [p["image"].cpu() for p in pictures]
        scenes = self.picture_scenes.tolist()
        latents = encode_scenes(
            images, scenes, space.autoencoder, self.config.latent_cache, self.config.encode_batch_size
        )
        masks = None
        if pictures and "mask" in pictures[0]:
            masks = [mask_of_latent(p["mask"][..., 0].cpu(), space.downscale_factor) for p in pictures]
        table = pixel_table(latents, scenes, masks)
        if not bool(space.fitted):
            stride = max(1, len(table.values) // FIT_SAMPLE)
            space.fit(as_float(table.values[::stride]))
        self.latent_cameras = latent_cameras(self.train_dataset.cameras, space.downscale_factor).to(self.device)
        self.table = table

    def generator_at(self, step: int) -> torch.Generator:
        """The randomness of a step, on the host."""
        return torch.Generator().manual_seed(self.config.train_cameras_sampling_seed * 1_000_003 + step)

    def next_train(self, step: int) -> Tuple[RayBundle, Dict[str, Tensor]]:  # type: ignore[override]
        """Random latent pixels of many pictures and scenes.

        Returns:
            Rays, and a batch with `raw_latent` [n, C] and `position` [n, 4]: row, column, and the latent picture's
            height and width.
        """
        table = self._table()
        pixels = draw_pixels(table, self.config.rays_per_batch, self.config.scenes_per_batch, self.generator_at(step))
        places = table.locate(pixels)
        position = torch.stack([places[:, 1], places[:, 2], table.heights[places[:, 0]], table.widths[places[:, 0]]], 1)
        batch = {"raw_latent": table.values[pixels], "position": position}
        return self.rays_at(places.to(self.device)), {k: v.to(self.device) for k, v in batch.items()}

    def rays_at(self, places: Int[Tensor, "rays 3"]) -> RayBundle:
        """Rays through the centres of latent pixels, given as picture, row and column."""
        rays = pixel_rays(self.latent_cameras, places)
        if "scene_index" not in rays.metadata:
            rays.metadata["scene_index"] = torch.zeros_like(places[:, :1])
        return rays

    def next_train_images(self, step: int, crop: Optional[int] = None) -> Tuple[Cameras, Dict[str, Any]]:
        """Pictures of one size.

        Args:
            step: decides which.
            crop: longest side of a part of each picture, around a random place of the object; None for all of it.

        Returns:
            Cameras (of the pictures, not of the latents), and a batch with `image` [n, H, W, 3] in [0, 1] and, where
            there are masks, `mask` [n, H, W, 1]. Whole pictures have `indices` [n], for `raw_latents`.
        """
        generator = self.generator_at(step)
        indices = self._draw_pictures(generator)
        cameras = self.train_dataset.cameras[torch.tensor(indices)].to(self.device)
        pictures = [self.cached_train[i] for i in indices]
        batch = {"image": torch.stack([p["image"].to(self.device) for p in pictures])}
        if "mask" in pictures[0]:
            batch["mask"] = torch.stack([p["mask"].to(self.device) for p in pictures])
        if crop is not None:
            corners = draw_crops(batch["image"], self.background_color, crop, generator)
            cameras = cropped_cameras(cameras, corners, crop)
            batch = {name: cropped(value, corners, crop) for name, value in batch.items()}
        else:
            batch["indices"] = torch.tensor(indices)
        return cameras, {**batch, "image": as_float(batch["image"])}

    def raw_latents(self, indices: Int[Tensor, "n"]) -> Shaped[Tensor, "n h w channels"]:
        """The cached latents of whole training pictures of one size."""
        table = self._table()
        return torch.stack([table.picture(i) for i in indices.tolist()]).to(self.device)

    def _draw_pictures(self, generator: torch.Generator) -> List[int]:
        """Pictures of the step's scenes, of one size."""
        if not len(self.picture_scenes):
            raise RuntimeError("datamanager: expected prepare_pictures() before the first pictures; call it once")
        present = self.picture_scenes.unique()
        chosen = present[draw_scenes(len(present), self.config.scenes_per_batch, generator)]
        members = torch.isin(self.picture_scenes, chosen).nonzero()[:, 0]
        return members[draw_pictures(self.picture_sizes[members], self.config.images_per_batch, generator)].tolist()

    def _table(self) -> PixelTable:
        if self.table is None:
            raise RuntimeError("datamanager: expected prepare(latent_space) before the first batch; call it once")
        return self.table

    def get_train_rays_per_batch(self) -> int:
        """Latent pixels a step; nothing is loaded for the answer."""
        return self.config.rays_per_batch


def over_background(image: Tensor, color: Tensor) -> Tensor:
    """A picture [H, W, 3 or 4] (uint8 or float) without alpha: the colour behind it where it is transparent."""
    if image.shape[-1] == 3:
        return image
    value = as_float(image)
    alpha = value[..., 3:]
    rgb = value[..., :3] * alpha + color.to(value) * (1 - alpha)
    return (rgb * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else rgb


def scene_indices(cameras: Cameras) -> List[int]:
    """The scene of each camera; 0 for all where the dataparser knows of no scenes."""
    index = (cameras.metadata or {}).get("scene_index")
    return [0] * len(cameras) if index is None else index.flatten().tolist()
