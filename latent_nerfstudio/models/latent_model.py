"""LatentModel: owns a latent space and wraps a Nerfstudio model that renders its channels."""

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox, SceneBox
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.fields.placement import Placement, ScenePlacements, bounded
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.fields.triplane_field import TriplaneField, parameter_bytes
from latent_nerfstudio.latent_space.autoencoder import Autoencoder, AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import BACKGROUND_SIDE, LatentSpace, NormalizerKind, as_float
from latent_nerfstudio.latent_space.resolution import mask_of_latent
from latent_nerfstudio.models import bundle_start
from latent_nerfstudio.models.bundle_encoder import read_scene_encoder
from latent_nerfstudio.models.camera_rendering import CameraRenderer
from latent_nerfstudio.models.channel_nerf import check_nerf, check_outputs
from latent_nerfstudio.models.checkpoint_notes import keep_notes
from latent_nerfstudio.models.metrics import ImageMetrics, latent_psnr
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.models.triplane import TriplaneModel, TriplaneModelConfig
from latent_nerfstudio.models.viewing import ScenePanel
from latent_nerfstudio.scene_encoder.network import SceneEncoder

MARGIN = 0.01
"""How far rays go beyond a scene's own box, as a share of its longest side: latents at an object's edge mix with what
is beside it. RGB pixels are sharper, and have no margin."""

MOVING_HEIGHT = 128
"""Rows of the viewer's pictures while the camera moves, at least; RGB, which costs by the ray, has no such limit."""


@dataclass
class LatentModelConfig(ModelConfig):
    """A latent space, and the NeRF that renders it."""

    _target: Type = field(default_factory=lambda: LatentModel)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """The autoencoder."""
    normalizer: NormalizerKind = "mean-std"
    """`mean-std` a channel, fitted on the training images, or the papers' `tanh` (0.02 z)."""
    nerf: ModelConfig = field(default_factory=TriplaneModelConfig)
    """The NeRF inside."""
    shared_bundle: Optional[str] = None
    """Run to start from, a bundle's folder, `bundled` or a Hub id: its autoencoder, normaliser, MLP and base planes.
    Its settings replace the flags of `nerf.field`, `nerf.scene-contraction` and `normalizer`."""
    scene: str = ""
    """Scene that the viewer and ns-render show; empty for the first. The viewer's dropdown changes it."""
    max_render_height: Optional[int] = None
    """Taller pictures are rendered at this height and enlarged, pixels; by default the tallest training picture's: a
    decoder knows objects at the scale that it has seen, and the viewer asks for any size. Panoramas have as many pixels
    a degree as the training pictures by default. RGB is never enlarged."""
    enable_collider: tyro.conf.Suppress[bool] = False
    """Unused, as the four that follow: the NeRF inside has its own."""
    collider_params: tyro.conf.Suppress[Optional[Dict[str, float]]] = None
    loss_coefficients: tyro.conf.Suppress[Dict[str, float]] = field(default_factory=dict)
    eval_num_rays_per_chunk: tyro.conf.Suppress[int] = 4096
    prompt: tyro.conf.Suppress[Optional[str]] = None

    def __setstate__(self, state: Dict[str, Any]) -> None:
        """From config.yml. What version 0.1 called `bundled` is `bundled-cars` now; its configs are known by a setting
        that later ones do not have."""
        self.__dict__.update(state)
        if "reset_base_planes" in state:
            if self.shared_bundle == "bundled":
                self.shared_bundle = "bundled-cars"
            if self.autoencoder.source == "bundled":
                self.autoencoder = replace(self.autoencoder, source="bundled-cars")


class LatentModel(Model):
    """Latents from the NeRF inside, pictures through the decoder. `get_outputs` takes any rays and never decodes;
    `get_outputs_for_camera` renders a whole latent picture, decodes it and returns `rgb`, `latent` (a fixed
    projection), `depth` and `accumulation`, all of the camera's size."""

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
            kind = bundle.normalizer
            if self.autoencoder_config.source == AutoencoderConfig.source:  # the user has named no other
                self.autoencoder_config = replace(bundle.autoencoder_config, enlarge=self.autoencoder_config.enlarge)
        self.latent_space = LatentSpace(self.autoencoder_config, kind, color)
        if bundle is not None:
            bundle_start.start_latent_space(self.latent_space, bundle)
        self.place([Placement()] * len(self.scene_names))
        self.nerf: Model = self._build_nerf(bundle)
        self.from_bundle = (bundle is not None and bundle.has_base_planes, bundle is not None)
        self._scene_encoder = [] if bundle is None else self._encoder_of(bundle)
        self.bundle_facts: Dict[str, Any] = {} if bundle is None else bundle.facts
        self.metrics = ImageMetrics()
        self._has_rendered = False
        self.picture_decoder: Optional[Autoencoder] = None
        self._autoencoder_as_it_came: List[Autoencoder] = []  # in a list, which keeps it out of the state dict
        self.renderer = CameraRenderer(self, metadata)
        limit = self.renderer.render_height_limit() or MOVING_HEIGHT
        moving = 0 if self.latent_space.is_identity else min(MOVING_HEIGHT, limit)
        self.panel = ScenePanel(self.scene_names, self._initial_scene(), self.field, moving)
        keep_notes(self)

    def _build_nerf(self, bundle: Optional[SharedBundle]) -> Model:
        """The NeRF inside, fresh or started from a bundle; the config is left as it is, for config.yml."""
        config, box = self.config.nerf, self.scene_box
        if isinstance(config, TriplaneModelConfig):
            known = (self.kwargs.get("metadata") or {}).get("scene_boxes") or [box.aabb.cpu()] * len(self.scene_names)
            boxes = [np.asarray(own) for own in known]
            if bundle is not None:
                self.place(bundle_start.placements_for(bundle, self.scene_names, boxes))
                config, box = bundle_start.nerf_for(bundle, config), SceneBox(aabb=bundle.box)
            elif not config.scene_contraction:
                self.place([bounded(Placement(), own, box.aabb.cpu().numpy()) for own in boxes])
        nerf = config.setup(
            scene_box=box,
            num_train_data=self.num_train_data,
            num_channels=self.latent_space.num_channels,
            value_range=self.latent_space.value_range,
            num_scenes=len(self.scene_names),
            **self.kwargs,
        )
        if bundle is not None and isinstance(nerf, TriplaneModel):
            bundle_start.start_nerf(nerf.field, bundle)
        return nerf

    def _encoder_of(self, bundle: SharedBundle) -> List[SceneEncoder]:
        """The bundle's scene encoder, in a list, which keeps it out of the state dict; none with other latents."""
        same = self.latent_space.autoencoder.encoder_hash() == bundle.autoencoder["encoder_hash"]
        encoder = read_scene_encoder(bundle) if same and isinstance(self.nerf, TriplaneModel) else None
        return [] if encoder is None else [encoder]

    @property
    def scene_encoder(self) -> Optional[SceneEncoder]:
        """The scene encoder of the shared bundle that the model starts from, if there is one."""
        return self._scene_encoder[0].to(self.device) if self._scene_encoder else None

    def forget_scene_encoder(self) -> None:
        """Goes on without predictions, as those are of latents of another encoder."""
        self._scene_encoder = []

    def _initial_scene(self) -> str:
        name = self.config.scene or self.scene_names[0]
        if name not in self.scene_names:
            expected = f"one of {few_of(self.scene_names, 20)}"
            raise ValueError(problem("scene", expected, repr(name), "choose one with --pipeline.model.scene"))
        return name

    @property
    def field(self) -> Optional[TriplaneField]:
        """The field of a tri-plane NeRF; None for other NeRFs."""
        return self.nerf.field if isinstance(self.nerf, TriplaneModel) else None

    @property
    def current_scene(self) -> int:
        return self.panel.current_scene

    def place(self, placements: Sequence[Placement]) -> None:
        """Sets where each scene stands in the NeRF's box and what part it fills. Cameras, rays and depths stay in the
        scene's own units."""
        self.placements = ScenePlacements(placements, margin=0.0 if self.latent_space.is_identity else MARGIN)

    def ray_boxes(self) -> Float[Tensor, "scenes 2 3"]:
        """The box at which each scene's rays end, in the units of the NeRF's box."""
        return self.placements.boxes(self.nerf.aabb)  # type: ignore[arg-type]

    def box_of(self, scene: int) -> Float[Tensor, "2 3"]:
        """A scene's own box, or the NeRF's if it has none, in the scene's own units."""
        return self.placements.box_of(scene, getattr(self.nerf, "aabb", self.scene_box.aabb))

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """The groups of the NeRF inside, and `decoder`."""
        groups = self.nerf.get_param_groups()
        decoder = self.latent_space.autoencoder.decoder_parameters()
        return {**groups, "decoder": decoder} if decoder else groups

    def scene_parameters(self) -> List[Parameter]:
        """Parameters with one row a scene; NeRFs that know of no scenes have none."""
        return [] if self.field is None else list(self.field.scene_parameters().values())

    def fill_box(self) -> None:
        """Lets every scene fill the NeRF's box: later scenes without a box of their own share what is learned here, so
        it must be empty where these are empty."""
        self.place([replace(placement, box=None) for placement in self.placements])

    def get_training_callbacks(self, training_callback_attributes):
        return self.nerf.get_training_callbacks(training_callback_attributes)

    def update_to_step(self, step: int) -> None:
        """Resizes parameters whose size depends on the step, which some NeRFs have."""
        self.nerf.update_to_step(step)

    def get_outputs(
        self, ray_bundle: RayBundle, scenes: Optional[Int[Tensor, "scenes"]] = None, views: Sequence[SceneView] = ()
    ) -> Dict[str, Any]:
        """The outputs of the NeRF inside; its pictures (`latent`, and what else it names in `pictures`) are composited
        on `metadata["background"]` [rays, C], by default the middle of the background's latents.

        `scenes`, if known, are all scenes of the rays, rising, on the host. With `views`, `metadata["scene_index"]`
        counts these instead of scenes."""
        rays, middle = ray_bundle[...], BACKGROUND_SIDE // 2
        rays.metadata = dict(rays.metadata or {})
        background = rays.metadata.pop("background", None)
        background = self.latent_space.background[middle, middle] if background is None else background
        if "scene_index" not in rays.metadata:
            scenes = torch.tensor([self.current_scene])
            rays.metadata["scene_index"] = torch.full_like(rays.origins[..., :1], self.current_scene, dtype=torch.long)
        rows = None
        if self.placements.are_moved:
            rays, rows = self.placements.rays(rays, views, self.nerf.aabb)  # type: ignore[arg-type]
        if not self.training:
            self.nerf.render_aabb = self.placements.crop(self.render_aabb, self.current_scene)
        if isinstance(self.nerf, TriplaneModel):
            outputs = self.nerf.get_outputs(rays, scenes, views)
        else:
            check_no_views(self.nerf, views)
            outputs = self.nerf(rays)
        if not self._has_rendered:
            check_outputs(type(self.nerf).__name__, outputs, self.latent_space.num_channels)
            self._has_rendered = True
        if rows is not None:
            outputs = {**outputs, "depth": outputs["depth"] / rows[..., :1].to(outputs["depth"])}
        pictures = getattr(self.nerf, "pictures", (("latent", "accumulation"),))
        over = {name: outputs[name] + (1 - outputs[opacity]) * background for name, opacity in pictures}
        return {**outputs, **over}

    @torch.no_grad()
    def meets_box(self, rays: RayBundle) -> Bool[Tensor, "rays"]:
        """Which rays meet the NeRF's box and that of their scene, which their metadata name."""
        result = torch.ones_like(rays.origins[:, 0], dtype=torch.bool)
        if not hasattr(self.nerf, "clip"):
            return result
        if self.placements.are_moved:
            rays, _ = self.placements.rays(rays)
        _, hit = self.nerf.clip(rays)  # type: ignore[operator]
        return result if hit is None else torch.zeros_like(result).index_fill(0, hit, True)

    @torch.no_grad()
    def get_outputs_for_camera(
        self,
        camera: Cameras,
        obb_box: Optional[OrientedBox] = None,
        with_latents: bool = False,
        view: Optional[SceneView] = None,
    ) -> Dict[str, Tensor]:
        """The pictures of one camera, which is not changed; see `CameraRenderer.render_scenes`."""
        views = None if view is None else [view]
        pictures = self.renderer.render_scenes(camera, views, with_latents, obb_box)
        return {name: value[0] for name, value in pictures.items()}

    def get_rgba_image(self, outputs: Dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        return torch.cat([outputs[output_name], outputs["accumulation"]], dim=-1)

    @torch.no_grad()
    def reconstruct(self, photo: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3"]:
        """decode(encode(photo)), the best that latents can show, by the decoder of pictures."""
        if self.latent_space.is_identity:
            return photo
        return self.decode_encoded(self.latent_space.encode(photo[None]), *photo.shape[:2])[0].clamp(0, 1)

    def decode_encoded(
        self, latents: Float[Tensor, "n h w channels"], height: int, width: int
    ) -> Float[Tensor, "n {height} {width} 3"]:
        """Decodes normalised latents of pictures (not of renders) to around [0, 1]."""
        decoder = self.decoder_of_pictures()
        decoder.enlarge = self.latent_space.autoencoder.enlarge
        return self.latent_space.decode(latents, height, width, by=decoder)

    def decoder_of_pictures(self) -> Autoencoder:
        """The decoder for latents of pictures. RGB alignment turns the run's decoder towards renders, so it would
        understate what latents can show: the autoencoder's original decoder is taken instead. If the encoder is
        trained, it is the run's own decoder, or the separate one."""
        if self.picture_decoder is not None:
            return self.picture_decoder
        if self.latent_space.is_identity or self.latent_space.trains_encoder:
            return self.latent_space.autoencoder
        if not self._autoencoder_as_it_came:
            self._autoencoder_as_it_came.append(self.autoencoder_config.setup().to(self.device))
        return self._autoencoder_as_it_came[0]

    def separate_decoders(self) -> None:
        """Gives latents of pictures a decoder of their own, which starts as the autoencoder's original one."""
        self.picture_decoder = self.autoencoder_config.setup().decoding_copy().to(self.device)

    def scene_bytes(self) -> int:
        """Bytes that one more scene takes in float32; all of a NeRF that shares nothing among scenes."""
        if self.field is not None:
            return self.field.scene_bytes()
        return parameter_bytes(p for group in self.nerf.get_param_groups().values() for p in group)

    def shared_bytes(self) -> int:
        """Bytes of what scenes share (decoder, base planes, MLP), in float32, without the encoder."""
        every = parameter_bytes(p for group in self.get_param_groups().values() for p in group)
        return every - self.scene_bytes() * len(self.scene_names)

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> Dict[str, Tensor]:
        return self.nerf.get_loss_dict(outputs, batch, metrics_dict)

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        return self.nerf.get_regularization_dict(outputs)  # type: ignore[operator]

    def photo_and_mask(self, picture: Dict[str, Any]) -> Tuple[Float[Tensor, "h w 3"], Optional[Bool[Tensor, "h w 1"]]]:
        """A datamanager's picture in [0, 1] and its mask of pixels that count (None for all), on the model's device."""
        kept = picture["mask"].to(self.device) if "mask" in picture else None
        return as_float(picture["image"]).to(self.device), kept

    @torch.no_grad()
    def get_image_metrics_and_images(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Any]
    ) -> Tuple[Dict[str, float], Dict[str, Tensor]]:
        """Metrics of a rendered camera against its photo, and pictures to look at; `batch["mask"]` says what counts.
        `psnr`, `ssim` and, where its weights are there, `lpips` of the decoded render; `autoencoder_psnr` of
        `reconstruct`, the ceiling; `latent_psnr` if the outputs hold `latent_channels`. Pictures: `img`, photo, render
        and ceiling side by side, and `latent`."""
        photo, kept = self.photo_and_mask(batch)
        ceiling, space = self.reconstruct(photo), self.latent_space
        metrics = self.metrics(outputs["rgb"], photo, kept)
        metrics["autoencoder_psnr"] = self.metrics.psnr(ceiling, photo, kept)
        if "latent_channels" in outputs:
            encoded = space.encode(photo[None])[0]
            latents_kept = None if kept is None else mask_of_latent(kept[..., 0], space.downscale_factor)[..., None]
            metrics["latent_psnr"] = latent_psnr(outputs["latent_channels"], encoded, space.value_range, latents_kept)
        side_by_side = torch.cat([photo, outputs["rgb"], ceiling], dim=1)
        return metrics, {"img": side_by_side, "latent": outputs["latent"]}


def check_no_views(nerf: Model, views: Sequence[SceneView]) -> None:
    """Refuses views, such as blends, for a NeRF without planes of scenes."""
    if views:
        expected = f"a whole scene of {type(nerf).__name__}, which has no planes of scenes"
        raise ValueError(problem("view", expected, views[0], "blend and take apart scenes of tri-planes"))
