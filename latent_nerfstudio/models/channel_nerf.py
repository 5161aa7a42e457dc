"""ChannelNeRF: brings a Nerfstudio model to any number of channels, so that a LatentModel can wrap it; and what is
checked of any NeRF that one wraps."""

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Iterator, Literal, Optional, Tuple

import torch
from jaxtyping import Float, Int
from nerfacc import accumulate_along_rays
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.model_components.ray_samplers import ProposalNetworkSampler
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor, nn

from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.fields.boxes import cropped_box
from latent_nerfstudio.fields.heads import Range, color_heads, widen
from latent_nerfstudio.models.rendering import clip_rays, for_all_rays

CLOCK = "clock"
"""Name in a checkpoint of when proposal networks were last trained: steps since then, and the last step."""

METHODS = ("get_outputs", "get_loss_dict", "get_regularization_dict", "get_param_groups")
"""What the NeRF's class must define, and not only inherit as Nerfstudio's empty ones."""

ADVICE = "put ChannelNeRF before the model's class, see docs/your_nerf.md"


@dataclass
class NoCollider:
    """Put before the config of a Nerfstudio model, whose collider and background `ChannelNeRF` removes."""

    enable_collider: bool = False
    """Unused: rays are cut at the scene box."""
    collider_params: Optional[Dict[str, float]] = None
    """Unused, as `enable_collider`."""
    background_color: Literal["random", "last_sample", "black", "white"] = "white"
    """Unused: the latent space has the background."""


class ChannelRenderer(nn.Module):
    """Stands in for Nerfstudio's RGBRenderer, which clamps, asserts three channels and takes four or more for RGBA.
    Sums of any number of channels under the weights; no background is added, and none blended into a target."""

    background_color = "none"

    def forward(
        self,
        rgb: Float[Tensor, "*batch samples channels"],
        weights: Float[Tensor, "*batch samples 1"],
        ray_indices: Optional[Int[Tensor, "samples"]] = None,
        num_rays: Optional[int] = None,
        background_color: Any = None,
    ) -> Float[Tensor, "*rays channels"]:
        """Weighted sums along rays; samples of all rays in one row need `ray_indices` and `num_rays`."""
        return accumulate_along_rays(weights[..., 0], rgb, ray_indices, num_rays)

    def blend_background(self, image: Tensor, background_color: Any = None) -> Tensor:
        return image

    def blend_background_for_loss_computation(self, pred_image: Tensor, pred_accumulation: Tensor, gt_image: Tensor):
        return pred_image, gt_image


class ChannelNeRF(Model):
    """Put before a Nerfstudio model: `class LatentNerfacto(ChannelNeRF, NerfactoModel)`, the host.

    The host is built without its metric networks, its colour heads are widened to C channels, its compositing becomes
    a plain sum, and its rays are cut at the scene box (or, with scene contraction, at near and far planes). Rays that
    miss the box cost nothing. Its own losses hold in both stages, with latents in place of pictures.

    The owner passes `num_channels`, `value_range` and `num_scenes`. See docs/your_nerf.md for hosts that need more."""

    pictures: ClassVar[Tuple[Tuple[str, str], ...]] = (("latent", "accumulation"),)
    """Outputs that the owner composites on the background, each with its accumulation; what the host calls `rgb` and
    `rgb_...` is `latent` and `latent_...` here."""
    reconstruction_loss: ClassVar[str] = "rgb_loss"
    """Which of the host's losses compares `rgb` with the picture."""
    box: Tensor

    def populate_modules(self):
        """The host, then everything in it that knows of three channels."""
        check_single_scene(self.kwargs)
        check_rays_of_pictures(self.config)
        with without_metric_networks(type(self)):
            super().populate_modules()
        self.collider = None  # `forward` cuts rays
        self.register_buffer("box", self.scene_box.aabb.clone().float())
        self.widen_heads(self.kwargs.get("num_channels", 3), self.kwargs.get("value_range", (0.0, 1.0)))
        self.replace_renderers()
        keep_clocks(self)

    def widen_heads(self, num_channels: int, value_range: Range) -> None:
        """Widens what gives colours; to be overridden for heads that are not Nerfstudio's, which are refused here."""
        heads = color_heads(self)
        if not heads:
            expected = "a colour head, which is an RGBFieldHead or an MLP with three outputs and a sigmoid"
            do = "override `widen_heads(num_channels, value_range)`, see docs/your_nerf.md"
            raise TypeError(problem(type(self).__name__, expected, "none", do))
        for head in heads:
            widen(head, num_channels, value_range)

    def replace_renderers(self) -> None:
        """Replaces RGB compositing; to be overridden for hosts without an RGBRenderer, which are refused here."""
        names = [name for name, module in self.named_children() if isinstance(module, RGBRenderer)]
        if not names:
            do = "override `replace_renderers`, see docs/your_nerf.md"
            raise TypeError(problem(type(self).__name__, "an RGBRenderer as an attribute", "none", do))
        for name in names:
            setattr(self, name, ChannelRenderer())

    def forward(self, ray_bundle: RayBundle) -> Dict[str, Any]:  # type: ignore[override]
        """The host's outputs, its pictures as `latent`; `depth` and `pictures` of all rays, others of the hits."""
        rays, hit = self.clip(ray_bundle)
        outputs = {name.replace("rgb", "latent"): value for name, value in self.get_outputs(rays).items()}
        names = {"depth", *(name for pair in self.pictures for name in pair)} & set(outputs)
        return {**outputs, **for_all_rays({n: outputs[n] for n in names}, hit, ray_bundle, self.box)}  # type: ignore[dict-item]

    def clip(self, ray_bundle: RayBundle) -> Tuple[RayBundle, Optional[Int[Tensor, "hits"]]]:
        is_contracted = not getattr(self.config, "disable_scene_contraction", True)
        box = None if is_contracted else self.box
        if self.render_aabb is not None and not self.training:
            crop = self.render_aabb.aabb.to(self.box)
            box = crop if box is None else cropped_box(box, crop)
        near, far = getattr(self.config, "near_plane", 0.05), getattr(self.config, "far_plane", 1000.0)
        rays, hit = clip_rays(ray_bundle, box, near, far)
        if rays.camera_indices is None:  # without which Nerfacto's field does not work
            rays.camera_indices = torch.zeros_like(rays.origins[:, :1], dtype=torch.long)
        return rays, hit

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> Dict[str, Tensor]:
        """The host's losses against `batch["latent"]` [rays, C]; that of its picture is called `latent_loss`."""
        losses = self.host_losses(outputs, batch["latent"])
        return {"latent_loss": losses.pop(self.reconstruction_loss), **losses}

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        """The losses of both stages: the host's, without the reconstruction. The target is the render itself, without
        gradient, so that in RGB alignment coarse networks follow the fine one."""
        losses = self.host_losses(outputs, outputs["latent"].detach())
        losses.pop(self.reconstruction_loss)
        return losses

    def host_losses(self, outputs: Dict[str, Any], target: Float[Tensor, "rays channels"]) -> Dict[str, Tensor]:
        """The host's losses with any channels as the picture; some of them it keeps among its metrics."""
        batch = {"image": target}
        outputs = {name.replace("latent", "rgb"): value for name, value in outputs.items()}
        return dict(super().get_loss_dict(outputs, batch, super().get_metrics_dict(outputs, batch)))


def check_nerf(config: ModelConfig) -> None:
    """Refuses a NeRF of which methods are missing, before it is built."""
    missing = [name for name in METHODS if getattr(config._target, name, None) in (None, getattr(Model, name, None))]
    if missing:
        expected = f"a NeRF of any number of channels, with {', '.join(METHODS)}"
        name, got = getattr(config._target, "__name__", config._target), f"none of its own for {', '.join(missing)}"
        raise TypeError(problem(name, expected, got, ADVICE))


def check_outputs(name: str, outputs: Dict[str, Any], num_channels: int) -> None:
    """Refuses outputs that no latent picture can be made of."""
    for key, channels in (("latent", num_channels), ("accumulation", 1), ("depth", 1)):
        got = outputs[key].shape[-1] if key in outputs else None
        if got != channels:
            raise TypeError(problem(name, f"`{key}` with {channels} channels for each ray", got or "none", ADVICE))


def check_single_scene(kwargs: Dict[str, Any]) -> None:
    """Refuses many scenes: the models of Nerfstudio hold one."""
    count = kwargs.get("num_scenes", 1)
    if count > 1:
        names = (kwargs.get("metadata") or {}).get("scene_names") or []
        do = "give the folder of one with --data, name one with `scenes --scenes NAME` last, or use latent-triplane"
        raise ValueError(problem("scenes", "one scene", f"{count} ({few_of(names)})", do))


def check_rays_of_pictures(config: ModelConfig) -> None:
    """Refuses what is learned for each picture: rays of RGB alignment do not know their picture."""
    optimizer = getattr(config, "camera_optimizer", None)
    if optimizer is not None and optimizer.mode != "off":
        raise ValueError(problem("camera_optimizer.mode", "off", optimizer.mode, "leave it out"))
    if getattr(config, "use_appearance_embedding", False):
        raise ValueError(problem("use_appearance_embedding", "False", "True", "leave it out"))


def keep_clocks(model: nn.Module) -> None:
    """Has checkpoints keep the clocks of proposal samplers, without which a resumed run trains them at other steps."""

    def keep(sampler: Any, state: Dict[str, Any], prefix: str, _: Any) -> None:
        state[f"{prefix}{CLOCK}"] = torch.tensor([sampler._steps_since_update, sampler._step])

    def restore(sampler: Any, state: Dict[str, Any], prefix: str, *_: Any) -> None:
        if f"{prefix}{CLOCK}" in state:  # not in checkpoints of older versions
            sampler._steps_since_update, sampler._step = state.pop(f"{prefix}{CLOCK}").tolist()

    for module in model.modules():
        if isinstance(module, ProposalNetworkSampler):
            module.register_state_dict_post_hook(keep)
            module.register_load_state_dict_pre_hook(restore)


@contextmanager
def without_metric_networks(model_class: type) -> Iterator[None]:
    """Within the block, LPIPS does nothing, wherever a model's classes look it up: it would be downloaded and saved."""
    import torchmetrics.image
    import torchmetrics.image.lpip

    name = "LearnedPerceptualImagePatchSimilarity"
    classes = (sys.modules[c.__module__] for c in model_class.__mro__)
    places = {id(place): place for place in (torchmetrics.image, torchmetrics.image.lpip, *classes)}
    with ExitStack() as stack:
        for place in places.values():
            if hasattr(place, name):
                stack.enter_context(replaced(place, name, nn.Identity))
        yield


@contextmanager
def replaced(place: Any, name: str, value: Any) -> Iterator[None]:
    """Within the block, an attribute of a module, a class or an object is another."""
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)
