"""LatentPipeline: latent supervision, then RGB alignment, of any NeRF that a LatentModel wraps."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Type, Union

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.base_datamanager import DataManagerConfig
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import ModelConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from rich.progress import track
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.data.latent_cache import group_by
from latent_nerfstudio.data.latent_datamanager import LatentDataManager, LatentDataManagerConfig, scene_indices
from latent_nerfstudio.data.nearest_photos import NearestPhotos
from latent_nerfstudio.data.pixels import with_targets
from latent_nerfstudio.errors import check_least, problem
from latent_nerfstudio.fields.triplane_field import TriplaneField
from latent_nerfstudio.files.replacing import replacing_file
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.latent_space.precision import Precision, autocast
from latent_nerfstudio.models.bundle_start import start_decoder
from latent_nerfstudio.models.latent_model import LatentModel, LatentModelConfig
from latent_nerfstudio.pipelines.commands import refuse_path, refuse_unsupported
from latent_nerfstudio.pipelines.saved_state import FAILED, SECONDS, seal, take_failed, unsealed
from latent_nerfstudio.pipelines.scene_start import PredictedScenes, predict_scenes, rates_of, start_scenes
from latent_nerfstudio.pipelines.scene_watch import SceneWatch, check_finite, not_finite

WHOLE_PICTURES_EVERY = 8
"""Every so many steps of crops, one sees whole pictures: what is far from objects is in no crop, and would drift."""

Losses = Tuple[Dict[str, Any], Dict[str, Tensor], Dict[str, Tensor]]
"""Outputs, losses and metrics, as Nerfstudio's trainer takes them."""


@dataclass
class LatentPipelineConfig(VanillaPipelineConfig):
    """The two stages."""

    _target: Type = field(default_factory=lambda: LatentPipeline)
    datamanager: DataManagerConfig = field(default_factory=LatentDataManagerConfig)
    """Pictures, latents, rays."""
    model: ModelConfig = field(default_factory=LatentModelConfig)
    """Latent space and NeRF."""
    rgb_alignment_start: Optional[int] = None
    """First step of RGB alignment, counted from the beginning of the run; None for latent supervision throughout."""
    rgb_loss_weight: float = 1.0
    """Weight of the decoded render's mean squared error in RGB alignment."""
    crop: Optional[int] = None
    """Side of the crops around the objects that the second stage sees first, pixels; None for whole pictures."""
    whole_pictures_start: Optional[int] = None
    """First step from which all pictures are whole; None for crops to the end, but for every eighth step."""
    mixed_supervision: Optional[float] = None
    """t in (0, 1): replaces latent supervision by t L_latent + (1 - t) L_RGB on pictures or crops (3Da-AE, 3.2)."""
    train_decoder: bool = True
    """Whether RGB alignment, or joint training, trains the decoder as well as the NeRF."""
    align_scenes: bool = True
    """Whether RGB alignment trains the scenes and what else renders them; without, it teaches the decoder alone what
    renders look like, for a bundle (`--write-bundle True`) whose new scenes need no RGB alignment of their own."""
    train_base_planes: Optional[bool] = None
    """Whether base planes are trained; by default unless a shared bundle brings them, whose scenes share them still."""
    train_mlp: Optional[bool] = None
    """Whether the tiny MLP is trained; by default unless a shared bundle brings it."""
    autoencoder_precision: Precision = "auto"
    """Arithmetic of the autoencoder where it is trained; `auto` is bfloat16 where the processor has it."""
    fit_scene_weights: int = 3
    """Steps of least squares that fit the weights of new scenes to a shared bundle's base planes before training
    begins; 0 starts them at the mean of the bundle's."""

    def setup(self, **kwargs: Any) -> "LatentPipeline":
        """Builds the pipeline. Every ns-* command does this first, so commands that cannot work are refused here."""
        refuse_unsupported(sys.argv)
        pipeline = super().setup(**kwargs)
        data = pipeline.datamanager
        refuse_path(sys.argv, {"eval": len(data.eval_dataset), "train": len(data.train_dataset)})
        return pipeline

    def check_training(self) -> None:
        """Refuses what would have no effect on a run that begins; those that are only opened are not asked."""
        if not self.align_scenes and self.rgb_alignment_start is None:
            expected, do = "True without RGB alignment", "give --pipeline.rgb-alignment-start, or leave it out"
            raise ValueError(problem("align_scenes", expected, "False", do))

    def __setstate__(self, state: Dict[str, Any]) -> None:
        """Reads config.yml; older runs have a `plateau`, by which scenes ended early."""
        self.__dict__.update({name: value for name, value in state.items() if name != "plateau"})


class LatentPipeline(VanillaPipeline):
    """Knows the two stages and nothing of the NeRF inside the model. The stage follows from the absolute step, so that
    a resumed run is in the right one."""

    config: LatentPipelineConfig
    datamanager: LatentDataManager
    model: LatentModel  # type: ignore[assignment]
    keeps_bundle = True
    """Whether what a shared bundle brought stays as it is by default."""

    def __init__(self, config: LatentPipelineConfig, device: Union[str, torch.device], *args: Any, **kwargs: Any):
        check_config(config)
        check_device(config, device)
        super().__init__(config, device, *args, **kwargs)  # type: ignore[arg-type]
        self.model.panel.photos = NearestPhotos(self.datamanager.train_dataset, self.datamanager.background_color)
        if not config.train_decoder:
            for parameter in self.space.autoencoder.decoder_parameters():
                parameter.requires_grad_(False)
        if self.model.field is not None:
            self.freeze_shared(self.model.field)
        self.watch = SceneWatch(self.model, self.datamanager)
        self.scenes_are_alone: Dict[str, bool] = {}  # of each stage: whether it trains nothing that they share
        self.is_fresh = True
        self.predicted: Optional[PredictedScenes] = None
        self.start_seconds = 0.0  # of training before the first step: the scenes' start, or processes before this one

    def freeze_shared(self, field: TriplaneField) -> None:
        """Freezes base planes and MLP as the config says; by default those that a shared bundle brought."""
        pairs = zip((self.config.train_base_planes, self.config.train_mlp), self.model.from_bundle, strict=True)
        field.freeze(*(brought and self.keeps_bundle if trained is None else not trained for trained, brought in pairs))

    @property
    def space(self):
        return self.model.latent_space

    def stage_at(self, step: int) -> str:
        start = self.config.rgb_alignment_start
        if start is not None and step >= start and not self.space.is_identity:
            return "RGB alignment"
        return "latent supervision" if self.config.mixed_supervision is None else "mixed supervision"

    def prepare(self) -> None:
        """Loads and encodes the training pictures, once, and starts the scenes, before the first step."""
        if self.datamanager.table is None:
            self.datamanager.prepare(self.space, self.model.meets_box)
            self.start()

    def start(self) -> None:
        """Starts scenes as the bundle's scene encoder predicts them or, without one, with fitted scene weights. If only
        the autoencoder is part of a bundle, renders are decoded by that bundle's decoder of rendered latents."""
        if self.is_fresh and not self.model.from_bundle[1] and not self.space.trains_encoder:
            start_decoder(self.space, self.model.autoencoder_config.source)
        self.predicted = predict_scenes(self.model, self.datamanager)
        if not self.is_fresh:
            return
        known = None if self.predicted is None else self.predicted.known
        if self.model.from_bundle[0]:
            self.start_seconds = start_scenes(self.model, self.datamanager, self.config.fit_scene_weights, known)
        if self.predicted is not None:
            self.predicted.put(self.model.nerf)  # type: ignore[arg-type]

    def load_pipeline(self, loaded_state: Dict[str, Any], step: int) -> None:
        state = unsealed(loaded_state, f"checkpoint of step {step}")
        self.start_seconds = float(state.pop(SECONDS, 0.0))
        self.watch.resume(take_failed(state))
        super().load_pipeline(state, step)
        self.is_fresh = False

    @contextmanager
    def as_saved(self, seconds: float) -> Iterator[None]:
        """Within the block, `state_dict` also has what `saved_state` adds to the weights of a checkpoint."""

        def complete(module: torch.nn.Module, state: Dict[str, Any], prefix: str, metadata: Any) -> None:
            state[SECONDS] = torch.tensor(seconds, dtype=torch.float64)
            if self.watch.failed():
                state[FAILED] = self.watch.failed_at.clone()
            seal(state)

        hook = self.register_state_dict_post_hook(complete)
        try:
            yield
        finally:
            hook.remove()

    def get_training_callbacks(self, training_callback_attributes: TrainingCallbackAttributes):
        """Those of Nerfstudio, and what is done for scenes after a step."""
        optimizers = training_callback_attributes.optimizers
        assert optimizers is not None
        where = [TrainingCallbackLocation.AFTER_TRAIN_ITERATION]
        after = TrainingCallback(where, self.watch.after_step, args=[optimizers.optimizers])
        return [*super().get_training_callbacks(training_callback_attributes), after]

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        groups = super().get_param_groups()
        return {name: group for name, group in groups.items() if any(p.requires_grad for p in group)}

    @property
    def second_stage_start(self) -> Optional[int]:
        """First step of the second stage, to which schedules are tied; None where there is one stage only."""
        return self.config.rgb_alignment_start

    def crop_at(self, step: int) -> Optional[int]:
        """Side of the crops that a step of the second stage trains on, None for whole pictures."""
        start = self.config.whole_pictures_start
        is_whole = step % WHOLE_PICTURES_EVERY == 0 or (start is not None and step >= start)
        return None if is_whole else self.config.crop

    def get_train_loss_dict(self, step: int) -> Losses:
        """Losses of a step, by its stage. If one is not finite, the scenes at fault are dropped, provided that nothing
        shared is trained; otherwise it is a FloatingPointError, and nothing is stepped."""
        self.prepare()
        stage = self.stage_at(step)
        if stage not in self.scenes_are_alone:
            self.scenes_are_alone[stage] = not self.trains_shared(stage)
        outputs, losses, metrics = self.stage_losses(stage, step)
        if not bool(torch.stack(list(losses.values())).isfinite().all()):  # a device is asked once where all is well
            self.drop_failing(stage, step, outputs, losses)
            return self.get_train_loss_dict(step)
        if self.scenes_are_alone[stage]:
            self.watch.keep_rows(outputs["scenes"])
        return outputs, losses, metrics

    def drop_failing(self, stage: str, step: int, outputs: Dict[str, Any], losses: Dict[str, Tensor]) -> None:
        """Drops the scenes whose error is not finite; raises FloatingPointError if none can be dropped or is left."""
        failing = self.watch.failing(outputs)
        if len(failing) and self.scenes_are_alone[stage]:
            return self.watch.fail(failing, step, str(not_finite(losses)))
        check_finite(dict(self.named_parameters()), step, "parameter")
        try:
            check_finite(losses, step, "loss")
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}; {self.watch.in_words(failing, outputs['scenes'])}") from error

    def trains_shared(self, stage: str) -> bool:
        """Whether a stage trains anything that scenes share, so that none of them can fail alone."""
        # stages without decoded pictures, in which the autoencoder has no gradient
        without_decoder = ("encoder", "decoder") if stage in ("latent supervision", "warm-up") else ()
        own = {id(parameter) for parameter in self.watch.parameters}
        groups = self.get_param_groups().items()
        trained = (p for name, group in groups if name not in without_decoder for p in group if p.requires_grad)
        return any(id(parameter) not in own for parameter in trained)

    def scene_rates(self, step: int) -> Optional[Float[Tensor, "scenes"]]:
        """Factors of the learning rate of each scene's planes, in latent supervision against a fixed bundle."""
        return self.frozen_rates if self.stage_at(step) == "latent supervision" else None

    @cached_property
    def frozen_rates(self) -> Optional[Float[Tensor, "scenes"]]:
        if not self.model.from_bundle[1] or self.trains_shared("latent supervision"):
            return None
        scenes = torch.tensor(scene_indices(self.datamanager.train_dataset.cameras))
        return rates_of(scenes.bincount(minlength=len(self.model.scene_names)))

    def stage_losses(self, stage: str, step: int) -> Losses:
        """The losses of a stage, and the pull towards predicted scenes. The outputs hold the compared pair as
        `compared`, the `metadata` of its rays or cameras, and their `scenes`."""
        if stage == "latent supervision":
            outputs, losses, metrics = self.latent_supervision(step)
        elif stage == "RGB alignment":
            outputs, losses, metrics = self.picture_losses(step, 0.0, self.config.rgb_loss_weight)
        else:
            t: Any = self.config.mixed_supervision
            outputs, losses, metrics = self.picture_losses(step, t, 1 - t)
        if self.predicted is not None and outputs["planes"].requires_grad:
            base: Any = self.model.nerf.field.base_planes  # type: ignore[union-attr]
            losses["prediction_pull"] = self.predicted.pull(outputs["planes"], outputs["scenes"], base)
        return outputs, losses, metrics

    def latent_supervision(self, step: int) -> Losses:
        """The NeRF's losses, among them L_latent, on pixels of many scenes or, without rays, on whole pictures."""
        if self.model.renderer.renders_cameras:
            return self.latent_supervision_of_pictures(step)
        rays, batch = with_targets(*self.datamanager.next_train(step), self.model.latent_space)
        outputs = self.model.get_outputs(rays, batch["scenes"])
        losses = self.model.get_loss_dict(outputs, batch)
        outputs.update(compared=(outputs["latent"], batch["latent"]), metadata=rays.metadata, scenes=batch["scenes"])
        return outputs, losses, {"latent_mse": losses["latent_loss"].detach()} if "latent_loss" in losses else {}

    def latent_supervision_of_pictures(self, step: int) -> Losses:
        cameras, batch = self.datamanager.next_train_images(step)
        latents, outputs = self.render_latents(cameras, batch)
        target = self.target_latents(batch)
        losses = self.model.get_loss_dict(outputs, {"latent": target})
        outputs.update(compared=(latents, target), metadata=cameras.metadata, scenes=batch["scenes"])
        return outputs, losses, {"latent_mse": (latents.detach() - target).square().mean()}

    def picture_losses(self, step: int, latent_weight: float, rgb_weight: float) -> Losses:
        """L_RGB of decoded renders, optionally with L_latent, and the NeRF's regularisers. It trains NeRF and decoder
        (Decode-Scene with a trainable decoder; L_align of IG-AE), or only the decoder."""
        cameras, batch = self.datamanager.next_train_images(step, self.crop_at(step))
        with torch.set_grad_enabled(self.config.align_scenes and torch.is_grad_enabled()):
            latents, outputs = self.render_latents(cameras, batch)
        image = batch["image"]
        decoded = self.decode(latents, *image.shape[1:3])
        rgb_mse = masked_mse(decoded, image, batch.get("mask"))
        losses = {"rgb_loss": rgb_weight * rgb_mse}
        if self.config.align_scenes:
            losses.update(self.model.get_regularization_dict(outputs))
        if latent_weight > 0:
            losses["latent_loss"] = latent_weight * (latents - self.target_latents(batch)).square().mean()
        outputs.update(compared=(decoded, image), metadata=cameras.metadata, scenes=batch["scenes"])
        return outputs, losses, {"psnr": -10 * rgb_mse.detach().log10()}

    def render_latents(
        self, cameras: Cameras, batch: Dict[str, Any]
    ) -> Tuple[Float[Tensor, "n h w channels"], Dict[str, Any]]:
        """Latent pictures of a batch, and the NeRF's outputs; sizes and scenes are known, so that no device waits."""
        size = tuple(batch["image"].shape[1:3]) if self.datamanager.is_plain else None
        return self.model.renderer.render_latents(cameras, size, batch["scenes"])

    @torch.no_grad()
    def target_latents(self, batch: Dict[str, Any]) -> Float[Tensor, "n h w channels"]:
        """Normalised latents of a batch: from the cache for whole pictures, from the encoder for crops."""
        if "indices" not in batch:
            with self.autocast():
                return self.space.encode(batch["image"])
        return self.space.normalizer(self.datamanager.raw_latents(batch["indices"]))

    def decode(
        self, latents: Float[Tensor, "n h w channels"], height: int, width: int
    ) -> Float[Tensor, "n {height} {width} 3"]:
        with self.autocast():
            return self.space.decode(latents, height, width).float()

    def autocast(self) -> torch.autocast:
        return autocast(self.config.autoencoder_precision, self.device)

    @torch.no_grad()
    def get_eval_loss_dict(self, step: int) -> Losses:
        self.eval()
        camera, batch = self.datamanager.next_eval_image(step)
        image = as_float(batch["image"])[None]
        latents, outputs = self.model.renderer.render_latents(camera)
        loss = (latents - self.space.encode(image)).square().mean()
        self.train()
        return outputs, {"latent_loss": loss}, {"latent_mse": loss}

    @torch.no_grad()
    def get_average_eval_image_metrics(
        self, step: Optional[int] = None, output_path: Optional[Path] = None, get_std: bool = False
    ) -> Dict[str, float]:
        """Metrics of all held-out pictures, see `summarise`. The folder `output_path` takes pictures: photo, render and
        autoencoder's reconstruction side by side."""
        scenes = scene_indices(self.datamanager.eval_dataset.cameras)
        views = track(range(len(scenes)), description="Evaluating", transient=True)
        return summarise(self.measure(views, output_path), scenes, self.model.scene_names, get_std)

    @torch.no_grad()
    def measure(self, views: Iterable[int], output_path: Optional[Path] = None) -> List[Dict[str, float]]:
        """Metrics of held-out pictures, one row for each."""
        self.eval()
        rows, data = [], self.datamanager
        for view in views:
            outputs = self.model.get_outputs_for_camera(data.eval_dataset.cameras[view : view + 1], with_latents=True)
            metrics, pictures = self.model.get_image_metrics_and_images(outputs, data.cached_eval[view])
            rows.append(metrics)
            if output_path is not None:
                save_pictures(output_path, view, pictures)
        self.train()
        return rows

    def load_state_dict(self, state_dict, strict: Optional[bool] = None):
        """Strict: a checkpoint that lacks the decoder or a plane is refused instead of read halfway."""
        try:
            return super().load_state_dict(state_dict, strict=True)
        except RuntimeError as error:
            do = f"resume with the same data, autoencoder and planes as the run was started with. {error}"
            raise ValueError(problem("checkpoint", "the weights of this model", "others", do)) from error


def check_config(config: LatentPipelineConfig) -> None:
    """Refuses what cannot work before anything is loaded."""
    t = config.mixed_supervision
    if t is not None and not 0 < t < 1:
        do = "leave it out: 1 would be latent supervision, 0 RGB alignment"
        raise ValueError(problem("mixed_supervision", "t between 0 and 1", t, do))
    if not config.align_scenes and (t is not None or not config.train_decoder):
        expected = "True with train_decoder False or mixed_supervision, which train scenes on renders or nothing at all"
        raise ValueError(problem("align_scenes", expected, "False", "leave these out"))
    check_least(config, "give the first step of RGB alignment, or None", rgb_alignment_start=0)


def check_device(config: LatentPipelineConfig, device: Union[str, torch.device]) -> None:
    """Refuses a GPU that is not there, and lets the NeRF's config refuse a device."""
    check = getattr(getattr(config.model, "nerf", None), "check_device", None)
    if check is not None:
        check(device)
    kind, is_there = torch.device(device).type, {"cuda": torch.cuda, "mps": torch.backends.mps}
    if kind in is_there and not is_there[kind].is_available():
        do = "pass --machine.device-type cpu, or install a driver and a torch that fit the GPU"
        raise ValueError(problem("machine.device_type", f"cpu on a machine without {kind}", kind, do))


def masked_mse(
    output: Float[Tensor, "batch height width 3"],
    target: Float[Tensor, "batch height width 3"],
    mask: Optional[Tensor] = None,
) -> Float[Tensor, ""]:
    """Mean squared error over pixels where the mask [batch, H, W, 1] is true; over all without one."""
    squared = (output - target).square()
    if mask is None:
        return squared.mean()
    weight = mask.to(squared).expand_as(squared)
    return (squared * weight).sum() / weight.sum().clamp(min=1)


def summarise(rows: List[Dict[str, float]], scenes: List[int], names: List[str], with_std: bool) -> Dict[str, float]:
    """Means of metrics, one row a picture, over all pictures, and over those of each scene as `SCENE/psnr` where
    several have `names`; `with_std` also standard deviations over all pictures, of two or more, as `NAME_std`."""
    if not rows:
        raise ValueError(problem("evaluation", "at least one held-out picture", "none", "hold some out"))
    result: Dict[str, float] = {}
    for key in rows[0]:
        values = torch.tensor([row[key] for row in rows], dtype=torch.float64)
        result[key] = float(values.mean())
        if with_std and len(values) > 1:  # JSON, in which ns-eval writes it, has no NaN
            result[f"{key}_std"] = float(values.std())
        if len(names) > 1:
            for scene, members in sorted(group_by(scenes).items()):
                result[f"{names[scene]}/{key}"] = float(values[members].mean())
    return result


def save_pictures(folder: Path, index: int, pictures: Dict[str, Tensor]) -> None:
    from torchvision.utils import save_image

    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        with replacing_file(folder / f"eval_{name}_{index:04d}.png") as stream:
            save_image(picture.permute(2, 0, 1).cpu(), stream, format="png")
