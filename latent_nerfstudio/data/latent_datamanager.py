"""Datamanager: pictures as uint8, their latents in half precision, rays of latent pixels of many scenes."""

import math
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Literal, Optional, Sequence, Tuple, Type

import torch
from jaxtyping import Bool, Int, Shaped
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.configs.dataparser_configs import AnnotatedDataParserUnion
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanager, FullImageDatamanagerConfig
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from tyro.conf import Suppress

from latent_nerfstudio.data.box_checks import LOOKED_AT, share_left_out, warn_of_boxes
from latent_nerfstudio.data.crops import ObjectPixels, cropped, cropped_cameras, draw_crops, object_latents, sees_object
from latent_nerfstudio.data.latent_cache import cache_folder, scene_latents
from latent_nerfstudio.data.picture_dataset import PictureDataset
from latent_nerfstudio.data.pixels import (
    PixelTable,
    draw_pictures,
    draw_pixels,
    draw_scenes,
    pixel_rays,
    pixel_table,
    restricted,
)
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.data.storage import KEPT_BYTES, Lazy, Prefetched, Storage, free_host_bytes, must_stream
from latent_nerfstudio.errors import check_least, problem
from latent_nerfstudio.latent_space.cameras import is_pinhole, pixels_per_radian
from latent_nerfstudio.latent_space.latent_space import (
    LatentSpace,
    as_float,
    background_color_of,
    over_background,
    to_device,
)
from latent_nerfstudio.latent_space.resolution import latent_cameras, mask_of_latent

SceneLatents = Iterator[Tuple[List[int], List[Tensor]]]
"""For each scene, the positions of its pictures and their latents."""

Meets = Callable[[RayBundle], Bool[Tensor, "rays"]]
"""Which rays a NeRF renders at all."""

RAYS_AT_ONCE = 1 << 17
"""Rays that are tested against the box at once."""

FIT_SAMPLE = 1 << 20
"""Latent pixels that the normaliser is fitted to, at most."""


@dataclass
class LatentDataManagerConfig(FullImageDatamanagerConfig):
    """Pictures, latents, rays."""

    _target: Type = field(default_factory=lambda: LatentDataManager)
    dataparser: AnnotatedDataParserUnion = field(default_factory=ScenesDataParserConfig)
    """Which scenes on disk."""
    cache_images_type: Suppress[Literal["uint8", "float32"]] = "uint8"
    """Kept as uint8: float32 takes four times the memory and brings nothing."""
    data: Suppress[Optional[Path]] = None
    """Set by `--data`."""
    masks_on_gpu: Suppress[bool] = False
    """Unused, as the six that follow: which pictures a step sees is drawn here."""
    images_on_gpu: Suppress[bool] = False
    eval_num_images_to_sample_from: Suppress[int] = -1
    eval_num_times_to_repeat_images: Suppress[int] = -1
    eval_image_indices: Suppress[Optional[Tuple[int, ...]]] = (0,)
    train_cameras_sampling_strategy: Suppress[Literal["random", "fps"]] = "random"
    fps_reset_every: Suppress[int] = 100
    train_cameras_sampling_seed: Suppress[int] = 42
    """Of draws outside of training; in training it is `--machine.seed`."""
    latent_cache: str = "disk"
    """Where latents are kept: `memory`, `disk` (the user's cache folder) or a folder."""
    latent_storage: Storage = "auto"
    """How pictures and latents are held: in `memory`; as a `stream`, latents in a temporary file that is mapped into
    memory, pictures decoded when a step asks for them; `auto`: streamed where they need 60 % of the free memory."""
    encode_batch_size: Suppress[int] = 32
    """Pictures that are encoded at once, at most; on a CPU no more than `PIXELS_ON_CPU` of the autoencoder allow."""
    rays_per_batch: int = 4096
    """Latent pixels a step of latent supervision, of all pictures of the step's scenes; those whose rays miss the box
    count, and are not drawn."""
    images_per_batch: int = 4
    """Whole latent pictures a step of RGB alignment."""
    scenes_per_batch: int = 16
    """Scenes a step; their planes are composed once for all rays of the step."""
    background_color: Suppress[str] = "white"
    """Colour behind pictures with an alpha channel, where the dataparser names none."""


class LatentDataManager(FullImageDatamanager[PictureDataset]):
    """Draws are a function of seed and step alone, so that a resumed run goes on as it would have. Nothing is loaded or
    encoded before `prepare`: ns-eval, ns-viewer and ns-render build this class as well."""

    config: LatentDataManagerConfig

    def __init__(self, config: LatentDataManagerConfig, *args: Any, **kwargs: Any):
        check_least(config, "leave it out for the default", rays_per_batch=1, images_per_batch=1, encode_batch_size=1)
        super().__init__(config, *args, **kwargs)
        color = self.train_dataparser_outputs.alpha_color
        self.background_color = background_color_of(config.background_color) if color is None else color.float().cpu()
        for dataset in (self.train_dataset, self.eval_dataset):
            check_camera_count(dataset, type(config.dataparser).__name__)
            dataset.metadata["background_color"] = tuple(self.background_color.tolist())
            dataset.metadata["image_height"] = int(self.train_dataset.cameras.height.max())
            dataset.metadata["pixels_per_radian"] = pixels_per_radian(self.train_dataset.cameras)
        self.table: Optional[PixelTable] = None
        self.scenes_present = self.first_pictures = torch.zeros(0, dtype=torch.long)
        self.picture_sizes = self.picture_scenes = torch.zeros(0, dtype=torch.long)
        self.drawn_scenes: Optional[Tensor] = None
        self.active: Optional[Tensor] = None  # their places in `scenes_present`; both are None while all are drawn from
        self.seed = config.train_cameras_sampling_seed  # in training that of the run, `--machine.seed`
        self.object_pixels = ObjectPixels(self.background_color)
        self.doubts: Dict[str, str] = {}  # what looks wrong of scenes, by name

    def _load_images(self, split: Literal["train", "eval"], cache_images_device: Literal["cpu", "gpu"]):
        """Pictures as Nerfstudio loads and undistorts them, transparent ones on the background. It pins memory, which
        needs CUDA, and leaves the cameras of undistorted pictures distorted: both are mended here."""
        if self.streams:
            return self._streamed_images(split)
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

    @cached_property
    def streams(self) -> bool:
        """Whether pictures and latents are read from disk; decided when pictures are first asked for. Distorted ones
        never are: their cameras are known only once all pictures have been undistorted."""
        config = self.config
        distortions = [dataset.cameras.distortion_params for dataset in (self.train_dataset, self.eval_dataset)]
        is_distorted = any(one is not None and bool(one.any()) for one in distortions)
        if is_distorted and config.latent_storage == "stream":
            do = "undistort them (ns-process-data, COLMAP), or use --pipeline.datamanager.latent-storage memory"
            raise ValueError(problem("latent_storage 'stream'", "pictures without distortion", "distorted ones", do))
        result = not is_distorted and must_stream(config.latent_storage, self.memory_bytes(), free_host_bytes())
        if result:
            CONSOLE.log("pictures: decoded when a step asks for them; latents: mapped from a file")
        return result

    def memory_bytes(self) -> int:
        """Bytes of all pictures, and of as many for latents (RGB is as large), if nothing is streamed."""
        cameras = [self.train_dataset.cameras, self.eval_dataset.cameras]
        pixels = sum(int((c.height * c.width).sum()) for c in cameras)
        return 2 * pixels * 3 * (4 if self.config.cache_images_type == "float32" else 1)

    def _streamed_images(self, split: Literal["train", "eval"]) -> Prefetched[Dict[str, Any]]:
        """Pictures as `_load_images` gives them, decoded when they are asked for."""
        dataset = self.train_dataset if split == "train" else self.eval_dataset
        sizes = torch.cat([dataset.cameras.height, dataset.cameras.width], dim=1).tolist()

        def load(index: int) -> Dict[str, Any]:
            picture = dataset.get_data(index, image_type=self.config.cache_images_type)
            picture["image"] = over_background(picture["image"], self.background_color)
            if list(picture["image"].shape[:2]) != sizes[index]:
                got = "{} x {}".format(*picture["image"].shape[:2])
                expected = "the {} x {} pixels of its camera".format(*sizes[index])
                raise ValueError(problem(dataset.image_filenames[index], expected, got, "correct the camera file"))
            return picture

        largest = 3 * max((height * width for height, width in sizes), default=1)
        return Prefetched(len(dataset), load, kept=max(2 * self.config.images_per_batch, KEPT_BYTES // largest))

    @property
    def fixed_indices_eval_dataloader(self) -> Sequence[Tuple[Cameras, Dict[str, Any]]]:  # type: ignore[override]
        """Cameras and pictures of all held-out views, one at a time where they are streamed."""
        if not self.streams:
            return super().fixed_indices_eval_dataloader

        def make(index: int) -> Tuple[Cameras, Dict[str, Any]]:
            picture = self.cached_eval[index]
            camera = self.eval_dataset.cameras[index : index + 1].to(self.device)
            return camera, {**picture, "image": picture["image"].to(self.device)}

        return Lazy(len(self.eval_dataset), make)

    def prepare_pictures(self) -> None:
        """Loads the training pictures once, or gets ready to stream them: all that steps without latents need."""
        if len(self.picture_scenes):
            return
        _ = self.cached_train  # which undistorts the cameras as well
        cameras = self.train_dataset.cameras
        self.cameras, self.is_plain = cameras.to(self.device), is_pinhole(cameras)
        self.picture_sizes = torch.cat([cameras.height, cameras.width], dim=1)
        self.picture_scenes = torch.tensor(scene_indices(cameras))
        self.scenes_present, counts = torch.unique_consecutive(self.picture_scenes, return_counts=True)
        self.first_pictures = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
        wanted = self.config.scenes_per_batch
        self.scenes_per_step = min(wanted, len(counts)) if wanted > 0 else len(counts)
        self.draw_only(self.drawn_scenes)

    def prepare(self, space: LatentSpace, meets: Optional[Meets] = None) -> None:
        """Loads the training pictures and their latents, encoding what is not cached, and fits a new latent space.
        Later only rays that `meets` accepts are drawn, by default all: those that miss the box dilute L_latent."""
        self.prepare_pictures()
        pictures = self.cached_train
        images = Lazy(len(pictures), lambda i: pictures[i]["image"].cpu())
        scenes = self.picture_scenes.tolist()
        options = (self.config.latent_cache, self.config.encode_batch_size)
        encoded = self.checked_latents(scene_latents(images, scenes, space.autoencoder, *options))
        masks = None
        if len(pictures) and "mask" in pictures[0]:
            masks = [mask_of_latent(p["mask"][..., 0].cpu(), space.downscale_factor) for p in pictures]
        folder = None  # streamed latents lie beside the latent cache, or where the system has temporary files
        if self.streams:
            folder = cache_folder(self.config.latent_cache) or Path(tempfile.gettempdir())
        table = pixel_table((latent for _, latents in encoded for latent in latents), scenes, masks, folder)
        if not bool(space.fitted):
            space.fit(self.latents_to_fit(table, space))
        self.latent_cameras = latent_cameras(self.train_dataset.cameras, space.downscale_factor).to(self.device)
        index = to_device(self.picture_scenes, self.device)[:, None]
        self.latent_cameras.metadata = {**(self.latent_cameras.metadata or {}), "scene_index": index}
        if meets is not None:
            table = self.within_boxes(table, meets, folder, space.downscale_factor)
        self.table = table

    def within_boxes(self, table: PixelTable, meets: Meets, folder: Optional[Path], factor: int) -> PixelTable:
        """The table, restricted to rays that meet their scene's box; warns of boxes that leave out what photos show."""
        parts = torch.arange(len(table.values)).split(RAYS_AT_ONCE)
        places = (to_device(table.locate(part), self.device) for part in parts)
        flags = torch.cat([meets(pixel_rays(self.latent_cameras, part, self.is_plain)).cpu() for part in places])
        known = self.train_dataset.metadata.get("scene_names")
        names = [known[i] if known else "scene" for i in self.scenes_present.tolist()]
        table = restricted(table, flags, names, folder)
        if table.drawn is not None and not self.streams:
            ends = self.first_pictures.tolist()
            spans = zip(names, ends, ends[1:], strict=False)
            self.doubts = warn_of_boxes({name: self.left_out(table, flags, factor, *span) for name, *span in spans})
        return table

    def left_out(self, table: PixelTable, flags: Bool[Tensor, "pixels"], factor: int, first: int, end: int) -> float:
        """Share of the object that a scene's box leaves out, in a few of its pictures `first` to `end`."""
        pictures = []
        for index in range(first, end, -(-(end - first) // LOOKED_AT)):
            picture = self.cached_train[index]
            shown = sees_object(as_float(picture["image"].cpu())[None], self.background_color, factor, share=0.5)[0]
            if "mask" in picture:
                shown &= mask_of_latent(picture["mask"][..., 0].cpu(), factor)
            pictures.append((shown, flags[table.starts[index] : table.starts[index + 1]].view_as(shown)))
        return share_left_out(pictures)

    def latents_to_fit(self, table: PixelTable, space: LatentSpace) -> Shaped[Tensor, "pixels channels"]:
        """Raw latents of objects in evenly chosen pictures; an identity space needs only one picture."""
        count = len(table.heights)
        stride = count if space.is_identity else max(1, -(-len(table.values) // FIT_SAMPLE))
        latents = []
        for index in range(0, count, stride):
            picture, factor = self.cached_train[index], space.downscale_factor
            image, mask = as_float(picture["image"].cpu())[None], picture.get("mask")
            kept = None if mask is None else mask_of_latent(mask[..., 0].cpu(), factor)[None]
            raw, color = as_float(table.picture(index))[None], space.background_color
            latents.append(object_latents(raw, image, color, factor, kept))
        return torch.cat(latents)

    def checked_latents(self, encoded: SceneLatents) -> SceneLatents:
        """Passes latents on, and refuses those that are not finite: half precision ends at 65504."""
        for members, latents in encoded:
            for picture, latent in zip(members, latents, strict=True):
                if latent.is_floating_point() and not bool(latent.sum(dtype=torch.float32).isfinite()):
                    where = f"latent of {self.train_dataset.image_filenames[picture]}"
                    do = "look at the picture, or name another autoencoder"
                    raise ValueError(problem(where, "finite numbers", "NaN or infinity", do))
            yield members, latents

    def draw_only(self, scenes: Optional[Int[Tensor, "active"]]) -> None:
        """Draws only these scenes from now on, given by rising index; None for all."""
        self.drawn_scenes = scenes
        self.active = None if scenes is None else torch.isin(self.scenes_present, scenes).nonzero()[:, 0]

    @property
    def num_active_scenes(self) -> int:
        return len(self.scenes_present if self.active is None else self.active)

    def generator_at(self, step: int) -> torch.Generator:
        """The random generator of a step, on the host."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + step)

    def next_train(self, step: int) -> Tuple[RayBundle, Dict[str, Tensor]]:  # type: ignore[override]
        """Rays of random latent pixels of many pictures and scenes, and a batch with `raw_latent` [n, C], `position`
        [n, 4]: row, column, and the latent picture's height and width, and `scenes`: theirs, rising, on the host."""
        assert self.table is not None, "prepare() comes before the first batch"
        generator, count = self.generator_at(step), self.config.rays_per_batch
        return self.batch_of(draw_pixels(self.table, count, self.scenes_per_step, generator, self.active))

    def sample_of(self, scenes: Int[Tensor, "scenes"], each: int) -> Tuple[RayBundle, Dict[str, Tensor]]:
        """Like `next_train`, but `each` pixels of every given scene (rising index), always the same ones."""
        chosen = torch.isin(self.scenes_present, scenes).nonzero()[:, 0]
        count, table = len(chosen), self.table
        assert table is not None
        return self.batch_of(draw_pixels(table, each * count, count, self.generator_at(0), chosen))

    def batch_of(self, pixels: Int[Tensor, "n"]) -> Tuple[RayBundle, Dict[str, Tensor]]:
        """Rays and batch of latent pixels of the table, see `next_train`."""
        table = self.table
        assert table is not None
        places = table.locate(pixels)
        pictures = places[:, 0]
        sizes = torch.stack([table.heights[pictures], table.widths[pictures]], dim=1)
        position = to_device(torch.cat([places, sizes], dim=1), self.device)
        rays = pixel_rays(self.latent_cameras, position[:, :3], self.is_plain)
        scenes = torch.unique(self.picture_scenes[pictures])
        raw = to_device(table.values[pixels], self.device)
        return rays, {"raw_latent": raw, "position": position[:, 1:], "scenes": scenes}

    def next_train_images(self, step: int, crop: Optional[int] = None) -> Tuple[Cameras, Dict[str, Any]]:
        """Cameras of pictures of one size, and a batch with `image` [n, H, W, 3] in [0, 1], `scenes` (theirs, rising,
        on the host) and, where there are masks, `mask` [n, H, W, 1]. With `crop`, parts of at most this side, each
        around a random pixel of the object; without, whole pictures, whose `indices` [n] are in the batch as well."""
        generator = self.generator_at(step)
        indices = self._draw_pictures(generator)
        places = torch.tensor(indices)
        cameras = self.cameras[to_device(places, self.device)]
        pictures = self._pictures(indices, step)
        parts = {name: [p[name] for p in pictures] for name in ("image", "mask") if name in pictures[0]}
        batch: Dict[str, Any] = {"scenes": torch.unique(self.picture_scenes[places])}
        if crop is None:
            batch["indices"] = places
        else:
            objects = [self.object_pixels.of(*pair) for pair in zip(indices, parts["image"], strict=True)]
            height, width = parts["image"][0].shape[:2]
            corners = draw_crops(objects, (height, width), crop, generator)
            cameras = cropped_cameras(cameras, corners, crop)
            parts = {name: cropped(values, corners, crop) for name, values in parts.items()}
        batch.update({name: to_device(torch.stack(values), self.device) for name, values in parts.items()})
        return cameras, {**batch, "image": as_float(batch["image"])}

    def _pictures(self, indices: List[int], step: int) -> List[Dict[str, Any]]:
        """Training pictures. While streaming, those of the next step are decoded in the background."""
        pictures = self.cached_train
        if not isinstance(pictures, Prefetched):
            return [pictures[i] for i in indices]
        result = pictures.many(indices)
        pictures.expect(self._draw_pictures(self.generator_at(step + 1)))
        return result

    def raw_latents(self, indices: Int[Tensor, "n"]) -> Shaped[Tensor, "n h w channels"]:
        """The cached latents of whole training pictures of one size."""
        assert self.table is not None
        return to_device(torch.stack([self.table.picture(i) for i in indices.tolist()]), self.device)

    def _draw_pictures(self, generator: torch.Generator) -> List[int]:
        """Pictures of the step's scenes, of one size."""
        assert len(self.picture_scenes), "prepare_pictures() comes before the first pictures"
        chosen = draw_scenes(len(self.scenes_present), self.scenes_per_step, generator, self.active)
        spans = zip(self.first_pictures[chosen].tolist(), self.first_pictures[chosen + 1].tolist(), strict=True)
        members = torch.cat([torch.arange(first, end) for first, end in spans])
        count = math.ceil(self.config.images_per_batch * len(chosen) / self.scenes_per_step)  # a scene's share is kept
        return members[draw_pictures(self.picture_sizes[members], count, generator)].tolist()

    def get_train_rays_per_batch(self) -> int:
        """Latent pixels a step; nothing is loaded for the answer."""
        return self.config.rays_per_batch


def scene_indices(cameras: Cameras) -> List[int]:
    """The scene of each camera; 0 for all where the dataparser knows of no scenes."""
    index = (cameras.metadata or {}).get("scene_index")
    return [0] * len(cameras) if index is None else index.flatten().tolist()


def check_camera_count(dataset: PictureDataset, parser: str) -> None:
    """Refuses pictures without a camera for each, as Nerfstudio's InstantNGP makes them where it holds one out."""
    count, shape = len(dataset.image_filenames), tuple(dataset.cameras.shape)
    if shape != (count,):
        do = "hold out two or more (--train-split-fraction 0.5 last), or leave out the dataparser's name"
        raise ValueError(problem(f"cameras of {parser}", f"one for each of {count} pictures", f"shape {shape}", do))
