"""IGAEPipeline: warm-up, then joint training of an autoencoder with its scenes, which makes its latents 3D-aware."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Type

import torch
import tyro
from jaxtyping import Float
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.data.crops import object_latents
from latent_nerfstudio.data.real_images import RealImages
from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.latent_space import to_device
from latent_nerfstudio.latent_space.resolution import mask_of_latent
from latent_nerfstudio.models.channel_nerf import replaced
from latent_nerfstudio.models.metrics import LpipsLoss
from latent_nerfstudio.pipelines.joint_losses import StopGradient, followed, latent_loss, latent_variation
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline, LatentPipelineConfig, Losses, masked_mse

REFRESH_STEPS = 20
"""Steps of joint training after which normaliser and background follow the encoder."""

BACKGROUND = "background_in_training"
"""Name in a checkpoint of the background that training goes on with, which is that of the last refresh."""

REFRESH_MOMENTUM = 0.2
"""How far the normaliser then moves towards the latents of a batch."""


@dataclass
class IGAEPipelineConfig(LatentPipelineConfig):
    """Warm-up and joint training. Losses are means; pictures are in [0, 1], latents normalised."""

    _target: Type = field(default_factory=lambda: IGAEPipeline)
    crop: Optional[int] = 64
    """Side of the crops around the objects that joint training sees first, pixels: four times the steps in the same
    time at 128 px; None for whole pictures throughout."""
    joint_training_start: int = 1500
    """First step of joint training; before it the autoencoder is frozen, and the scenes are fitted to its latents."""
    latent_loss_weight: float = 0.02
    """Weight of L_latent = |E(x) - R|^2 in joint training, which trains encoder and scenes."""
    scale_free_latent_loss: tyro.conf.Suppress[bool] = True
    """Leave the latents' mean and variance out of L_latent's gradient: they cannot shrink to agree (the papers: no)."""
    stop_gradient: StopGradient = "none"
    """Side of L_latent whose gradient is stopped: `none`, `encoder` or `render`."""
    rgb_loss_trains_scenes: bool = True
    """Whether L_RGB = |x - D(R)|^2 trains the scenes as well as the decoder."""
    rgb_loss_trains_encoder: bool = False
    """Whether L_RGB trains the encoder as well, as if a render were its latents and an error that is not its doing: it
    codes what shows against what scenes do not render. L_latent alone has it drop both."""
    separate_decoders: bool = False
    """Whether L_ae trains a decoder of its own, and L_RGB that of renders alone: they differ, and one decoder for both
    is worse for both."""
    update_scenes: bool = True
    """Whether joint training trains the scenes at all; the published code does not, by a stepping defect."""
    autoencoder_loss_weight: float = 0.5
    """Weight of L_ae = |x - D(E(x))|^2 on the scenes' pictures."""
    real_images: Optional[Path] = None
    """Folder of pictures of anything, whose reconstruction is trained as well, so that it is kept. They are encoded as
    they are where scenes' pictures are enlarged, as detail is what enlarged ones lack."""
    real_images_per_batch: int = 8
    """Crops of them a step."""
    real_loss_weight: float = 4.0
    """Weight of L_ae on real images, mean squared error."""
    real_lpips_weight: float = 0.0
    """Weight of L_ae on real images, LPIPS; left out with a warning where its weights cannot be had."""
    real_variation_weight: float = 0.0
    """Weight of the total variation of the raw latents of real images."""

    def check_training(self) -> None:
        super().check_training()
        for name in ("real_lpips_weight", "real_variation_weight"):
            if getattr(self, name) > 0 and self.real_images is None:
                do = "give --pipeline.real-images FOLDER; trained without"
                CONSOLE.print(f"[yellow]{problem(name, '0 without real images', getattr(self, name), do)}")


class IGAEPipeline(LatentPipeline):
    """Trains encoder, decoder, planes, scene weights and tiny MLP together (IG-AE; 3Da-AE; Scaled Inverse Graphics).
    With the identity latent space, where base planes are learned in RGB, warm-up lasts throughout."""

    config: IGAEPipelineConfig
    keeps_bundle = False

    def __init__(self, config: IGAEPipelineConfig, *args: Any, **kwargs: Any):
        for name in ("rgb_alignment_start", "mixed_supervision"):
            if (value := getattr(config, name)) is not None:
                raise ValueError(problem(name, "None with ig-ae", value, "leave it out, or use latent-triplane"))
        super().__init__(config, *args, **kwargs)
        self.space.train_encoder()
        if config.separate_decoders and not self.space.is_identity:
            self.model.separate_decoders()
            if not config.train_decoder:
                self.model.decoder_of_pictures().requires_grad_(False)
        self.loaded_step = -1
        self.loaded_background: Optional[Tensor] = None
        self.real_images: Optional[RealImages] = None
        self.lpips: Optional[LpipsLoss] = None

    def check_batch(self) -> None:
        """Refuses data with fewer scenes or pictures than a batch; runs that are only opened are not checked."""
        have = {"scenes": len(self.model.scene_names), "images": len(self.datamanager.train_dataset)}
        for what, count in have.items():
            flag = f"{what}_per_batch"
            wanted = getattr(self.datamanager.config, flag)
            if count < wanted:
                do = f"add {what} or lower --pipeline.datamanager.{flag.replace('_', '-')}"
                raise ValueError(problem(flag, f"at most the {count} training {what} of the data", wanted, do))

    @property
    def second_stage_start(self) -> Optional[int]:
        return None if self.space.is_identity else self.config.joint_training_start

    def stage_at(self, step: int):
        start = self.second_stage_start
        return "warm-up" if start is None or step < start else "joint training"

    def prepare(self) -> None:
        """Loads the training pictures; encodes them for the warm-up, or for a normaliser that is not fitted yet."""
        self.check_batch()
        if self.loaded_background is not None:
            self.space.background.copy_(self.loaded_background)
            self.loaded_background = None
        self.prepare_real_images()
        if self.stage_at(self.loaded_step + 1) == "warm-up" or not bool(self.space.fitted):
            super().prepare()
        else:
            self.datamanager.prepare_pictures()

    def prepare_real_images(self) -> None:
        """Finds the real images once, before training; evaluation needs neither them nor LPIPS."""
        config, cameras = self.config, self.datamanager.train_dataset.cameras
        if config.real_images is not None and self.real_images is None:
            largest = int(cameras.height.max()), int(cameras.width.max())
            self.real_images = RealImages(config.real_images, *largest, seed=self.datamanager.seed)
            self.lpips = LpipsLoss() if config.real_lpips_weight > 0 else None

    def load_pipeline(self, loaded_state: Dict[str, Any], step: int) -> None:
        super().load_pipeline(loaded_state, step)
        self.loaded_step = step

    def load_state_dict(self, state_dict, strict: Optional[bool] = None):
        """The weights; the background of training is kept for a run that goes on."""
        self.loaded_background = state_dict.get(BACKGROUND)
        return super().load_state_dict({k: v for k, v in state_dict.items() if k != BACKGROUND}, strict)

    @contextmanager
    def as_saved(self, seconds: float) -> Iterator[None]:
        """Within the block, the background fits the encoder as it is now; training goes on with its own."""
        background = self.space.background.clone()
        self.space.encode_background()
        hook = self.register_state_dict_post_hook(lambda module, state, *_: state.update({BACKGROUND: background}))
        try:
            with super().as_saved(seconds):
                yield
        finally:
            hook.remove()
            self.space.background.copy_(background)

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """The groups of latent-triplane, and `encoder`; all decoders are in one."""
        groups, encoder = super().get_param_groups(), self.space.autoencoder.encoder_parameters()
        if self.model.picture_decoder is not None and self.config.train_decoder:
            groups["decoder"] = [*groups["decoder"], *self.model.picture_decoder.decoder_parameters()]
        return {**groups, "encoder": encoder} if encoder else groups

    def stage_losses(self, stage: str, step: int) -> Losses:
        return self.latent_supervision(step) if stage == "warm-up" else self.joint_training(step)

    def joint_training(self, step: int) -> Losses:
        """L_latent, L_RGB and L_ae on pictures of the scenes, and L_ae on real images."""
        if step % REFRESH_STEPS == 0:
            self.refresh(step)
        cameras, batch = self.datamanager.next_train_images(step, self.crop_at(step))
        with torch.set_grad_enabled(self.config.update_scenes):
            rendered, outputs = self.render_latents(cameras, batch)
        with self.autocast():
            encoded = self.space.encode(batch["image"])
        errors = self.errors(batch, encoded, rendered)
        if self.real_images is not None:
            photos = self.real_images.batch(step, self.config.real_images_per_batch, self.crop_at(step))
            errors.update(self.real_errors(to_device(photos, self.device)))
        losses = {name: getattr(self.config, f"{name}_weight") * error for name, error in errors.items()}
        if self.config.update_scenes:
            regularizers = self.model.get_regularization_dict(outputs)  # in the same ratio to L_latent as before
            losses.update({name: self.config.latent_loss_weight * value for name, value in regularizers.items()})
        with torch.no_grad():
            residual = latent_loss(encoded, rendered) / encoded.var()
            psnr = -10 * errors["rgb_loss"].log10()
        outputs.update(compared=(rendered, encoded), metadata=cameras.metadata, scenes=batch["scenes"])
        return outputs, losses, {"psnr": psnr, "residual": residual, "latent_std": self.space.normalizer.std.min()}

    @torch.no_grad()
    def refresh(self, step: int) -> None:
        """Moves normaliser and background after the encoder, by whole pictures, as `LatentDataManager.prepare` does."""
        batch, factor = self.datamanager.next_train_images(step)[1], self.space.downscale_factor
        with self.autocast():
            raw = self.space.autoencoder.encode(batch["image"]).float()
        kept = mask_of_latent(batch["mask"][..., 0], factor) if "mask" in batch else None
        shown = object_latents(raw, batch["image"], self.space.background_color, factor, kept)
        self.space.normalizer.follow(shown, REFRESH_MOMENTUM)
        self.space.encode_background()

    def errors(
        self,
        batch: Dict[str, Any],
        encoded: Float[Tensor, "n h w channels"],
        rendered: Float[Tensor, "n h w channels"],
    ) -> Dict[str, Tensor]:
        """L_latent, L_RGB and L_ae of the scenes' pictures, unweighted."""
        config, image, mask = self.config, batch["image"], batch.get("mask")
        seen = rendered if config.rgb_loss_trains_scenes else rendered.detach()
        if config.rgb_loss_trains_encoder:
            seen = followed(seen, encoded)
        kept = slice(None) if mask is None else mask_of_latent(mask[..., 0], self.space.downscale_factor)
        render, reconstruction = self.decode_both(seen, encoded, *image.shape[1:3])
        how = config.stop_gradient, config.scale_free_latent_loss
        return {
            "latent_loss": latent_loss(encoded[kept], rendered[kept], *how),
            "rgb_loss": masked_mse(render, image, mask),
            "autoencoder_loss": masked_mse(reconstruction, image, mask),
        }

    def decode_both(
        self, rendered: Float[Tensor, "n h w channels"], encoded: Float[Tensor, "n h w channels"], *size: int
    ) -> Sequence[Float[Tensor, "n height width 3"]]:
        """Decoded renders and decoded encodings, in one call if one decoder makes both."""
        if self.model.picture_decoder is None:
            return self.decode(torch.cat([rendered, encoded]), *size).chunk(2)
        return self.decode(rendered, *size), self.decode_encoded(encoded, *size)

    def decode_encoded(
        self, latents: Float[Tensor, "n h w channels"], height: int, width: int
    ) -> Float[Tensor, "n {height} {width} 3"]:
        """Decodes encoded pictures with the arithmetic of the config."""
        with self.autocast():
            return self.model.decode_encoded(latents, height, width).float()

    def real_errors(self, image: Float[Tensor, "n height width 3"]) -> Dict[str, Tensor]:
        """L_ae of real images, unweighted; they are not enlarged."""
        with replaced(self.space.autoencoder, "enlarge", 1):
            with self.autocast():
                encoded = self.space.encode(image)
            decoded = self.decode_encoded(encoded, *image.shape[1:3])
        errors = {"real_loss": masked_mse(decoded, image)}
        if self.lpips is not None:
            errors["real_lpips"] = self.lpips(decoded, image)
        if self.config.real_variation_weight > 0:
            errors["real_variation"] = latent_variation(self.space.normalizer.inverse(encoded))
        return errors
