"""LatentModel: owns a latent space and wraps a Nerfstudio model that renders its channels."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Optional, Sequence, Tuple, Type

import torch
import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.model_components import renderers
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.viewer.viewer_elements import ViewerDropdown
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.fields.triplane_field import SCENE_PARAMETERS
from latent_nerfstudio.latent_space.autoencoder import Autoencoder, AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace, as_float
from latent_nerfstudio.latent_space.normalizer import NormalizerKind
from latent_nerfstudio.latent_space.resolution import (
    around_sphere,
    enlarge,
    is_panorama,
    latent_cameras,
    resized_cameras,
)
from latent_nerfstudio.models.bundle_start import autoencoder_for, box_for, nerf_for, start_latent_space, start_nerf
from latent_nerfstudio.models.interface import check_nerf, check_outputs
from latent_nerfstudio.models.metrics import ImageMetrics, latent_psnr
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.models.triplane import TriplaneModel, TriplaneModelConfig

ENCODER_HASH = "encoder_hash"
"""Name in a checkpoint of the hash of the encoder that it leaves out."""

DECODED_AT_ONCE = 16
"""Pictures that a decoder is given together."""

MARGIN = 8
"""Latent pixels from beyond its borders that a panorama is decoded with, so that its sides meet without a seam."""


@dataclass
class LatentModelConfig(ModelConfig):
    """A latent space, and the NeRF that renders it."""

    _target: Type = field(default_factory=lambda: LatentModel)
    enable_collider: bool = False
    """Unused: the NeRF inside has its own bounds."""
    collider_params: Optional[Dict[str, float]] = None
    """Unused, as `enable_collider`."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """The autoencoder."""
    normalizer: NormalizerKind = "mean-std"
    """`mean-std` a channel, fitted on the training images, or the papers' `tanh` (0.02 z)."""
    nerf: ModelConfig = field(default_factory=TriplaneModelConfig)
    """The NeRF inside."""
    shared_bundle: Optional[str] = None
    """Run to start from (folder or config.yml), or a bundle's folder: its autoencoder, normaliser, MLP and base planes.
    Its settings replace the flags of `nerf.field`, `nerf.scene-contraction` and `normalizer`."""
    reset_base_planes: bool = False
    """With a shared bundle: leave out its base planes and start from fresh ones (the papers: no prior)."""
    scene: str = ""
    """Scene that the viewer and ns-render show; empty for the first. The viewer's dropdown changes it."""
    max_render_height: Optional[int] = None
    """Taller pictures are rendered at this height and enlarged, pixels; by default the tallest training picture's: a
    decoder knows objects at the scale that it has seen, and the viewer asks for any size. Panoramas have as many pixels
    a degree as the training pictures by default. RGB is never enlarged."""
    render_precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Arithmetic of the decoder in rendering and evaluation; `auto` is bfloat16 on a GPU that has it, else float32."""


class LatentModel(Model):
    """Latents from the NeRF inside, pictures through the decoder.

    `get_outputs` takes any rays and never decodes; `get_outputs_for_camera` renders a whole latent picture, decodes it
    and returns `rgb`, `latent` (a fixed projection), `depth` and `accumulation`, all of the camera's size.
    """

    config: LatentModelConfig

    def populate_modules(self):
        """Latent space first: the NeRF inside takes its channels and their range."""
        super().populate_modules()
        check_nerf(self.config.nerf)
        metadata = self.kwargs.get("metadata") or {}
        self.scene_names: List[str] = list(metadata.get("scene_names") or ["scene"])
        color = metadata.get("background_color", "white")
        bundle = None if self.config.shared_bundle is None else read_shared_bundle(self.config.shared_bundle)
        self.autoencoder_config, kind = self.config.autoencoder, self.config.normalizer
        if bundle is not None:
            self.autoencoder_config, kind = autoencoder_for(bundle, self.config.autoencoder), bundle.normalizer
        self.latent_space = LatentSpace(self.autoencoder_config, kind, color)
        if bundle is not None:
            start_latent_space(self.latent_space, bundle)
        self.nerf: Model = self._build_nerf(bundle)
        reset = self.config.reset_base_planes
        self.from_bundle = (bundle is not None and bundle.has_base_planes and not reset, bundle is not None)
        self.bundle_facts: Dict[str, Any] = {} if bundle is None else bundle.facts
        self.metrics = ImageMetrics()
        self._autoencoder_as_it_came: List[Autoencoder] = []  # in a list, which keeps it out of the state dict
        self.scene_dropdown = ViewerDropdown("Scene", self._initial_scene(), self.scene_names)
        self.register_state_dict_post_hook(_add_encoder_hash)
        self.register_load_state_dict_pre_hook(_check_encoder_hash)

    def _build_nerf(self, bundle: Optional[SharedBundle]) -> Model:
        """The NeRF inside, fresh or started from a bundle; the config is left as it is, for config.yml."""
        config, box, reset = self.config.nerf, self.scene_box, self.config.reset_base_planes
        if bundle is not None:
            box = box_for(bundle, config, box, with_base_planes=bundle.has_base_planes and not reset)
            config = nerf_for(bundle, config)
        nerf = config.setup(
            scene_box=box,
            num_train_data=self.num_train_data,
            num_channels=self.latent_space.num_channels,
            value_range=self.latent_space.value_range,
            num_scenes=len(self.scene_names),
            **self.kwargs,
        )
        if bundle is not None:
            start_nerf(nerf, bundle, reset)
        return nerf

    def _initial_scene(self) -> str:
        name = self.config.scene or self.scene_names[0]
        if name not in self.scene_names:
            raise ValueError(
                f"scene: expected one of {', '.join(self.scene_names[:20])}, got {name!r}; "
                "choose one with --pipeline.model.scene"
            )
        return name

    @property
    def current_scene(self) -> int:
        """Index of the scene of rays that carry none."""
        return self.scene_names.index(self.scene_dropdown.value)

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """The groups of the NeRF inside, and `decoder`."""
        groups = self.nerf.get_param_groups()
        decoder = self.latent_space.autoencoder.decoder_parameters()
        return {**groups, "decoder": decoder} if decoder else groups

    def scene_parameters(self) -> List[Parameter]:
        """Parameters with one row a scene; NeRFs that know of no scenes have none."""
        if not isinstance(self.nerf, TriplaneModel):
            return []
        own = [getattr(self.nerf.field, name) for name in SCENE_PARAMETERS]
        return [parameter for parameter in own if parameter is not None]

    def freeze_shared(self, base_planes: bool, mlp: bool) -> None:
        """Stops training the base planes or the tiny MLP of a tri-plane NeRF; other NeRFs have none."""
        if isinstance(self.nerf, TriplaneModel):
            self.nerf.field.freeze(base_planes, mlp)

    def get_training_callbacks(self, training_callback_attributes):
        return self.nerf.get_training_callbacks(training_callback_attributes)

    def update_to_step(self, step: int) -> None:
        """Some NeRFs have parameters whose size depends on the step."""
        self.nerf.update_to_step(step)

    def forward(self, ray_bundle: RayBundle) -> Dict[str, Any]:
        """Rays to latents, see `get_outputs`."""
        return self.get_outputs(ray_bundle)

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Any]:
        """The outputs of the NeRF inside, with its pictures composited on the latent of the background: `rgb`, and
        what else it names in `pictures`.

        `metadata["background"]` [rays, C] is that latent; rays without it take the middle of the background picture.
        """
        bundle = self._with_scene(ray_bundle)
        background = bundle.metadata.pop("background", None)
        if background is None:
            middle = self.latent_space.background.shape[0] // 2
            background = self.latent_space.background[middle, middle]
        self.nerf.render_aabb = self.render_aabb
        outputs = self.nerf(bundle)
        check_outputs(type(self.nerf).__name__, outputs, self.latent_space.num_channels)
        pictures = getattr(self.nerf, "pictures", (("rgb", "accumulation"),))
        over = {name: outputs[name] + (1 - outputs[opacity]) * background for name, opacity in pictures}
        return {**outputs, **over}

    def _with_scene(self, bundle: RayBundle) -> RayBundle:
        """A copy whose metadata names the scene; the argument is left as it is."""
        bundle = bundle[...]
        bundle.metadata = dict(bundle.metadata or {})
        if "scene_index" not in bundle.metadata:
            shape = (*bundle.origins.shape[:-1], 1)
            bundle.metadata["scene_index"] = torch.full(shape, self.current_scene, device=bundle.origins.device)
        return bundle

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
    def get_outputs_for_camera(
        self, camera: Cameras, obb_box: Optional[OrientedBox] = None, with_latents: bool = False
    ) -> Dict[str, Tensor]:
        """Renders a camera.

        Args:
            camera: one camera; of any size, it is not changed.
            obb_box: crop box.
            with_latents: also return `raw_latent` [h, w, C], the normalised latents, for metrics.

        Returns:
            `rgb` H x W x 3 in [0, 1]; `latent` H x W x 3 in [0, 1]; `depth`, `accumulation` H x W x 1.
        """
        height, width = size_of(camera)
        rendered = self.rendered_size(camera)
        if rendered != (height, width):
            other = self.get_outputs_for_camera(resized_cameras(camera, *rendered), obb_box, with_latents)
            return {
                name: value if name == "raw_latent" else resize(value, height, width) for name, value in other.items()
            }
        if self.renders_cameras:
            outputs = {name: value[0] for name, value in self.render_cameras(camera, obb_box).items()}
        else:
            rays = self.rays_of(camera, obb_box)
            if self.is_latent_panorama(camera):
                del rays.metadata["background"]  # a panorama has no borders
            outputs = self.get_outputs_for_camera_ray_bundle(rays)
        latents = outputs["rgb"]
        factor = self.latent_space.downscale_factor
        pictures = {
            "rgb": self.decode_picture(latents, camera),
            "latent": self.latent_picture(latents, height, width),
            "depth": enlarge(outputs["depth"], factor, height, width),
            "accumulation": enlarge(outputs["accumulation"], factor, height, width),
        }
        return {**pictures, "raw_latent": latents} if with_latents else pictures

    @torch.no_grad()
    def render_scenes(
        self, cameras: Cameras, scenes: Optional[Sequence[int]] = None, with_latents: bool = False
    ) -> Dict[str, Tensor]:
        """The pictures that `get_outputs_for_camera` gives, of many cameras and scenes in one batch.

        Args:
            cameras: n cameras of one size and kind.
            scenes: index of the scene of each; by default that of its metadata, or the current one.
            with_latents: also return `raw_latent` [n, h, w, C].

        Returns:
            `rgb`, `latent` [n, H, W, 3] in [0, 1]; `depth`, `accumulation` [n, H, W, 1].

        Raises:
            ValueError: another number of scenes than of cameras.
        """
        cameras = cameras.reshape((-1,)) if scenes is None else in_scenes(cameras, scenes)
        if self.renders_cameras or self.is_latent_panorama(cameras[:1]):
            rendered = [
                self.get_outputs_for_camera(cameras[i : i + 1], None, with_latents) for i in range(len(cameras))
            ]
            return {name: torch.stack([outputs[name] for outputs in rendered]) for name in rendered[0]}
        height, width = size_of(cameras)
        smaller = resized_cameras(cameras, *self.rendered_size(cameras[:1]))
        rows, columns = size_of(smaller)
        flat = self.get_outputs_for_camera_ray_bundle(self.rays_of(smaller))
        outputs = {name: value.unflatten(0, (len(cameras), -1)) for name, value in flat.items()}
        latents, factor = outputs["rgb"], self.latent_space.downscale_factor
        decoded = [self.decode(part, rows, columns) for part in latents.split(DECODED_AT_ONCE)]
        pictures = {
            "rgb": torch.cat(decoded),
            "latent": torch.stack([self.latent_picture(picture, rows, columns) for picture in latents]),
            "depth": torch.stack([enlarge(picture, factor, rows, columns) for picture in outputs["depth"]]),
            "accumulation": torch.stack(
                [enlarge(picture, factor, rows, columns) for picture in outputs["accumulation"]]
            ),
        }
        if (rows, columns) != (height, width):
            pictures = {
                name: torch.stack([resize(picture, height, width) for picture in value])
                for name, value in pictures.items()
            }
        return {**pictures, "raw_latent": latents} if with_latents else pictures

    def decode_picture(
        self, latents: Float[Tensor, "h w channels"], camera: Cameras
    ) -> Float[Tensor, "height width 3"]:
        """The picture of a camera's latents, in [0, 1]; a panorama's is decoded with what lies beyond its borders."""
        height, width = size_of(camera)
        if not self.is_latent_panorama(camera):
            return self.decode(latents[None], height, width)[0]
        factor, margin = self.latent_space.downscale_factor, min(MARGIN, *latents.shape[:2])
        beyond = 2 * margin * factor
        wide = self.decode(around_sphere(latents, margin)[None], height + beyond, width + beyond)[0]
        return wide[margin * factor :, margin * factor :][:height, :width]

    def decode(
        self, latents: Float[Tensor, "batch h w channels"], height: int, width: int
    ) -> Float[Tensor, "batch height width 3"]:
        """Decoded pictures in [0, 1], with the arithmetic of `render_precision`."""
        device = self.device.type
        wanted = self.config.render_precision
        half = wanted == "bfloat16" or (wanted == "auto" and device == "cuda" and torch.cuda.is_bf16_supported())
        with torch.autocast(device, torch.bfloat16, enabled=half):
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
    def reconstruct(self, photo: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3"]:
        """decode(encode(photo)) by the autoencoder as it came: what its latents can show at best.

        RGB alignment turns the run's own decoder towards rendered latents and away from encoded ones, so that it would
        understate the ceiling. The autoencoder is loaded a second time when this is first called, outside the model.
        Where the encoder is trained as well, the ceiling is that of the run's autoencoder, which made the latents.
        """
        if self.latent_space.is_identity:
            return photo
        autoencoder = self.latent_space.autoencoder if self.latent_space.trains_encoder else self._as_it_came()
        height, width = photo.shape[:2]
        return autoencoder.decode(autoencoder.encode(photo[None]))[0, :height, :width].clamp(0, 1)

    def _as_it_came(self) -> Autoencoder:
        if not self._autoencoder_as_it_came:
            self._autoencoder_as_it_came.append(self.autoencoder_config.setup().to(self.device))
        return self._autoencoder_as_it_came[0]

    def latent_picture(
        self, latents: Float[Tensor, "h w channels"], height: int, width: int
    ) -> Float[Tensor, "height width 3"]:
        """Normalised latents as a picture, by a projection that does not change from frame to frame."""
        return enlarge(self.latent_space.preview(latents), self.latent_space.downscale_factor, height, width)

    def scene_bytes(self) -> int:
        """Bytes that one more scene takes, in float32: of NeRFs that share nothing among scenes, all."""
        if isinstance(self.nerf, TriplaneModel):
            return self.nerf.field.scene_bytes()
        return parameter_bytes(self.nerf.get_param_groups())

    def shared_bytes(self) -> int:
        """Bytes of what scenes share (decoder, base planes, MLP), in float32, without the encoder."""
        return parameter_bytes(self.get_param_groups()) - self.scene_bytes() * len(self.scene_names)

    @torch.no_grad()
    def get_outputs_for_camera_ray_bundle(self, camera_ray_bundle: RayBundle) -> Dict[str, Tensor]:
        """Latents [h, w, C] as `rgb`, depth and accumulation of a picture of rays, in chunks; nothing is decoded."""
        height, width = camera_ray_bundle.origins.shape[:2]
        flat = camera_ray_bundle.flatten()
        chunks = []
        for start in range(0, len(flat), self.config.nerf.eval_num_rays_per_chunk):
            part = flat[start : start + self.config.nerf.eval_num_rays_per_chunk].to(self.device)
            chunks.append(self.get_outputs(part))
        names = ("rgb", "depth", "accumulation")
        return {name: torch.cat([c[name] for c in chunks]).view(height, width, -1) for name in names}

    def get_rgba_image(self, outputs: Dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """The picture with the accumulation as its alpha."""
        return torch.cat([outputs[output_name], outputs["accumulation"]], dim=-1)

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> Dict[str, Tensor]:
        """Latent supervision: the NeRF's own losses on latents."""
        return self.nerf.get_loss_dict(outputs, batch, metrics_dict)

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        """The NeRF's regularisers, which hold in RGB alignment as well."""
        return self.nerf.get_regularization_dict(outputs)  # type: ignore[operator]

    @torch.no_grad()
    def get_image_metrics_and_images(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Any]
    ) -> Tuple[Dict[str, float], Dict[str, Tensor]]:
        """Metrics of a rendered camera against its photo, and pictures to look at.

        Returns:
            `psnr`, `ssim` and, where its weights are there, `lpips` of the decoded render; `autoencoder_psnr` of
            `reconstruct`, the ceiling; `latent_psnr` if the outputs hold `raw_latent`. Pictures: `img`, photo,
            render and ceiling side by side, and `latent`.
        """
        photo = as_float(batch["image"]).to(self.device)
        ceiling = self.reconstruct(photo)
        metrics = self.metrics(outputs["rgb"], photo)
        metrics["autoencoder_psnr"] = self.metrics.psnr(ceiling, photo)
        if "raw_latent" in outputs:
            encoded = self.latent_space.encode(photo[None])[0]
            metrics["latent_psnr"] = latent_psnr(outputs["raw_latent"], encoded, self.latent_space.value_range)
        side_by_side = torch.cat([photo, outputs["rgb"], ceiling], dim=1)
        return metrics, {"img": side_by_side, "latent": outputs["latent"]}


def size_of(camera: Cameras) -> Tuple[int, int]:
    """Height and width of one camera, pixels."""
    return int(camera.height.flatten()[0]), int(camera.width.flatten()[0])


def in_scenes(cameras: Cameras, scenes: Sequence[int]) -> Cameras:
    """A copy of cameras, each in its scene; one camera serves all scenes."""
    flat = cameras.reshape((-1,))
    if len(flat) == 1:
        flat = flat[torch.zeros(len(scenes), dtype=torch.long)]
    if len(flat) != len(scenes):
        raise ValueError(
            f"scenes: expected one for each of the {len(flat)} cameras, got {len(scenes)}; give as many, or one camera"
        )
    index = torch.tensor(list(scenes), device=flat.device)[:, None]
    flat.metadata = {**(flat.metadata or {}), "scene_index": index}
    return flat


def parameter_bytes(groups: Dict[str, List[Parameter]]) -> int:
    """Bytes of parameters in float32."""
    return sum(4 * p.numel() for group in groups.values() for p in group)


def _add_encoder_hash(model: Any, state_dict: Dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """Notes which encoder a checkpoint leaves out; one that is trained is in the checkpoint itself."""
    space = model.latent_space
    if not space.trains_encoder:
        digest = bytes.fromhex(space.autoencoder.encoder_hash())
        state_dict[f"{prefix}{ENCODER_HASH}"] = torch.tensor(list(digest), dtype=torch.uint8)


def _check_encoder_hash(model: Any, state_dict: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuses latents of another encoder; checkpoints without the note are taken as they are.

    Other channels are left to the latent space, whose message says more.
    """
    saved = state_dict.pop(f"{prefix}{ENCODER_HASH}", None)
    background = state_dict.get(f"{prefix}latent_space.background")
    space = model.latent_space
    if saved is None or space.trains_encoder or background is None or background.shape != space.background.shape:
        return
    theirs, ours = bytes(saved.tolist()).hex(), space.autoencoder.encoder_hash()
    if theirs != ours:
        config = model.autoencoder_config
        raise ValueError(
            f"checkpoint: expected the encoder {theirs}, which its latents come from, got {ours} from {config.source}; "
            "restore the autoencoder or the shared bundle that the run was started with"
        )


def resize(picture: Float[Tensor, "_ _ channels"], height: int, width: int) -> Float[Tensor, "height width channels"]:
    """Bilinear enlargement, so that ranges are kept."""
    batch = picture.permute(2, 0, 1)[None]
    return F.interpolate(batch, size=(height, width), mode="bilinear")[0].permute(1, 2, 0).contiguous()


def concatenate(bundles: List[RayBundle]) -> RayBundle:
    """Joins ray bundles of one width along the first axis."""
    first = bundles[0]

    def join(name: str) -> Optional[Tensor]:
        parts = [getattr(b, name) for b in bundles]
        return None if parts[0] is None else torch.cat(parts)

    metadata = {key: torch.cat([b.metadata[key] for b in bundles]) for key in first.metadata}
    names = ("origins", "directions", "pixel_area", "camera_indices", "nears", "fars")
    return RayBundle(**{name: join(name) for name in names}, metadata=metadata)  # type: ignore[arg-type]
