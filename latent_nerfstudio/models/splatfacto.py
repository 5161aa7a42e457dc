"""Nerfstudio's Splatfacto, of any number of channels: gaussians that are rasterised by gsplat, which needs CUDA. There
are no rays: whole latent pictures are rendered at once, see `render_cameras`."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple, Type, Union

import torch
from gsplat.rendering import rasterization
from gsplat.strategy import DefaultStrategy
from gsplat.strategy.ops import reset_opa
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.splatfacto import SplatfactoModel, SplatfactoModelConfig, random_quat_tensor
from torch import Tensor
from torch.nn import Parameter, ParameterDict

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.boxes import farthest_corner
from latent_nerfstudio.fields.heads import bound
from latent_nerfstudio.latent_space.cameras import check_pinhole, intrinsics_of, pinhole_directions, size_of
from latent_nerfstudio.latent_space.latent_space import to_device
from latent_nerfstudio.models.channel_nerf import check_single_scene

DENSIFICATION = ("grad2d", "count", "radii")
"""Of the state of gsplat's strategy: what is summed up between two refinements."""

GROUPS = ("means", "scales", "quats", "features", "opacities")
"""Parameter groups; each has an optimizer of its own, which densification looks up by this name."""


@dataclass
class LatentSplatfactoModelConfig(SplatfactoModelConfig):
    """Gaussians of C channels that do not depend on the view direction. Flags of Splatfacto that speak of colours have
    no effect: `sh-degree`, `background-color`, `ssim-lambda`, `camera-optimizer`, `use-bilateral-grid`, and the
    resolution schedule."""

    _target: Type = field(default_factory=lambda: LatentSplatfactoModel)
    num_random: int = 10000
    """Gaussians at first, evenly in the scene box, where the data bring no points (Splatfacto: 50000 in a cube)."""
    random_scale: float = 1.0
    """Size of the box that they are spread in, relative to the scene box."""
    cull_alpha_thresh: float = 0.005
    """Opacity below which gaussians are removed; Splatfacto's 0.1 leaves holes where latents are nearly background."""

    def check_device(self, device: Union[str, torch.device]) -> None:
        if torch.device(device).type != "cuda" or not torch.cuda.is_available():
            got = device if torch.cuda.is_available() else "none"
            do = "use latent-nerfacto or latent-triplane, which also run on the CPU"
            raise ValueError(problem("latent-splatfacto", "a CUDA device, as gsplat needs", got, do))


class LatentSplatfactoModel(SplatfactoModel):
    """Gaussians with C channels; densification and its callbacks are Splatfacto's."""

    config: LatentSplatfactoModelConfig
    box: Tensor

    def populate_modules(self):
        """Gaussians and their densification, without Splatfacto's constructor: its colours are spherical harmonics of
        three channels, and it builds metric networks."""
        super(SplatfactoModel, self).populate_modules()
        check_single_scene(self.kwargs)
        self.value_range: Tuple[float, float] = self.kwargs.get("value_range", (0.0, 1.0))
        self.register_buffer("box", self.scene_box.aabb.clone().float())
        self.gauss_params = ParameterDict(self.fresh_gaussians(self.kwargs.get("num_channels", 3)))
        self.strategy = strategy_of(self.config, self.num_train_data)
        self.strategy_state = self.strategy.initialize_state(scene_scale=1.0)
        self.step = 0
        self.info: Dict[str, Any] = {}
        self.register_state_dict_post_hook(_keep_densification)
        self.register_load_state_dict_pre_hook(_restore)

    def fresh_gaussians(self, num_channels: int) -> Dict[str, Parameter]:
        """Gaussians at the points of the data or evenly in the scene box, as wide as their neighbours are far."""
        if self.seed_points is not None and not self.config.random_init:
            means = self.seed_points[0].float().cpu()
        else:
            extent = (self.box[1] - self.box[0]) * self.config.random_scale
            means = self.box.mean(dim=0) + (torch.rand(self.config.num_random, 3) - 0.5) * extent
        distances, _ = self.k_nearest_sklearn(means, 3)
        spread, count = torch.from_numpy(distances).mean(dim=-1, keepdim=True).clamp(min=1e-6), len(means)
        return {
            "means": Parameter(means),
            "scales": Parameter(spread.log().repeat(1, 3)),
            "quats": Parameter(random_quat_tensor(count)),
            "features": Parameter(torch.zeros(count, num_channels)),
            "opacities": Parameter(torch.logit(torch.full((count, 1), 0.1))),  # as in Splatfacto
        }

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """torch's own: Splatfacto's replaces the parameters, which a resumed run's optimizers hold already."""
        return super(SplatfactoModel, self).load_state_dict(*args, **kwargs)

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        return {name: [self.gauss_params[name]] for name in GROUPS}

    @property
    def channels(self) -> Float[Tensor, "gaussians channels"]:
        return bound(self.gauss_params["features"], self.value_range)

    def get_outputs(self, ray_bundle: Any) -> Dict[str, Any]:  # type: ignore[override]
        do = "gaussians are rasterised, call render_cameras"
        raise NotImplementedError(problem(type(self).__name__, "cameras", type(ray_bundle).__name__, do))

    def render_cameras(self, cameras: Cameras, obb_box: Optional[OrientedBox] = None) -> Dict[str, Tensor]:
        """Pictures of perspective cameras of one size, whose pixels are latent pixels: `latent` [n, h, w, C] without
        background, `accumulation` and `depth` [n, h, w, 1]. Gaussians outside of a crop box are left out."""
        host = on_host(cameras)
        height, width = size_of(host)
        check_pinhole(host, "latent-splatfacto", "use latent-nerfacto, whose rays can be anything")
        far = farthest_corner(cameras.camera_to_worlds[..., 3], self.box)[:, None, None]
        values = self.shown(obb_box)
        if not len(values["means"]):
            self.info = {}
            return nothing(host, values["channels"].shape[1], far)
        picture, alpha, self.info = rasterization(
            means=values["means"],
            quats=values["quats"],
            scales=values["scales"].exp(),
            opacities=values["opacities"].sigmoid()[:, 0],
            colors=values["channels"],
            viewmats=world_to_camera(cameras.camera_to_worlds),
            Ks=to_device(host.get_intrinsics_matrices(), self.device),
            width=width,
            height=height,
            packed=False,
            near_plane=0.01,  # as in Splatfacto
            render_mode="RGB+ED",
            sh_degree=None,
            absgrad=self.config.use_absgrad,
            rasterize_mode=self.config.rasterize_mode,
        )
        if self.training and self.is_trained:
            own = self.gauss_params, self.optimizers, self.strategy_state
            self.strategy.step_pre_backward(*own, self.step, self.info)
        lengths = pinhole_directions(intrinsics_of(host), height, width).norm(dim=-1, keepdim=True).to(picture.dtype)
        distance = picture[..., -1:] * to_device(lengths, picture.device)  # gsplat's depth is along z
        depth = distance * alpha + (1 - alpha) * far
        return {"latent": picture[..., :-1], "accumulation": alpha, "depth": depth}

    def step_post_backward(self, step: int) -> None:
        """Densifies, and resets opacities every `reset_every` steps but not at step 0; nothing is done without
        gradients.

        gsplat 1.4.0, which Nerfstudio pins, resets them at step 0 as well, so that a run begins with a tenth of its
        opacity. gsplat 1.5.3, which Blackwell cards need, never does, because its condition `step % every == 0 & step >
        0` is always false. A second reset changes nothing."""
        if not self.is_trained:
            return
        own = self.gauss_params, self.optimizers, self.strategy_state
        self.strategy.step_post_backward(*own, max(step, 1), self.info, packed=False)
        if 0 < step < self.strategy.refine_stop_iter and step % self.strategy.reset_every == 0:
            reset_opa(*own, value=2 * self.strategy.prune_opa)

    @property
    def is_trained(self) -> bool:
        """Whether the rasteriser's notes on the last pictures have gradients: not if nothing is trained or in sight."""
        told = self.info.get(self.strategy.key_for_gradient)
        return torch.is_tensor(told) and told.requires_grad

    def shown(self, obb_box: Optional[OrientedBox]) -> Dict[str, Float[Tensor, "gaussians _"]]:
        """The gaussians that a crop leaves, with their `channels`; all in training."""
        names = ("means", "scales", "quats", "opacities")
        values = {**{name: self.gauss_params[name] for name in names}, "channels": self.channels}
        if obb_box is None or self.training:
            return values
        kept = obb_box.within(values["means"]).reshape(-1).nonzero()[:, 0]
        return {name: value[kept] for name, value in values.items()}

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> Dict[str, Tensor]:
        """Mean absolute difference from `batch["latent"]`, of any shape, and the regularisers: Splatfacto's own loss
        but for its SSIM, whose window of 11 pixels is as large as a latent picture."""
        loss = (outputs["latent"] - batch["latent"]).abs().mean()
        return {"latent_loss": loss, **self.get_regularization_dict(outputs)}

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        """What holds in both stages: gaussians that are long and thin, if the config asks for it (PhysGaussian)."""
        if not self.config.use_scale_regularization:
            return {}
        scales = self.gauss_params["scales"].exp()
        ratio = scales.amax(dim=-1) / scales.amin(dim=-1)
        return {"scale_regularization": 0.1 * (ratio - self.config.max_gauss_ratio).clamp(min=0).mean()}


def strategy_of(config: LatentSplatfactoModelConfig, num_train_data: int) -> DefaultStrategy:
    return DefaultStrategy(
        prune_opa=config.cull_alpha_thresh,
        grow_grad2d=config.densify_grad_thresh,
        grow_scale3d=config.densify_size_thresh,
        grow_scale2d=config.split_screen_size,
        prune_scale3d=config.cull_scale_thresh,
        prune_scale2d=config.cull_screen_size,
        refine_scale2d_stop_iter=config.stop_screen_size_at,
        refine_start_iter=config.warmup_length,
        refine_stop_iter=config.stop_split_at,
        reset_every=config.reset_alpha_every * config.refine_every,
        refine_every=config.refine_every,
        pause_refine_after_reset=num_train_data + config.refine_every,
        absgrad=config.use_absgrad,
    )


def nothing(cameras: Cameras, num_channels: int, far: Float[Tensor, "cameras 1 1 1"]) -> Dict[str, Tensor]:
    """What is rendered where there is no gaussian."""
    empty = far.new_zeros(len(cameras), *size_of(cameras), num_channels + 1)
    return {"latent": empty[..., 1:], "accumulation": empty[..., :1], "depth": empty[..., :1] + far}


def world_to_camera(camera_to_worlds: Float[Tensor, "cameras 3 4"]) -> Float[Tensor, "cameras 4 4"]:
    """gsplat's view matrices: world to camera, the camera looking along +z with y down (Nerfstudio: along -z, y up)."""
    right, up, back = camera_to_worlds[:, :, :3].unbind(dim=2)
    rotation = torch.stack([right, -up, -back], dim=1)
    matrix = torch.eye(4).to(rotation).repeat(len(rotation), 1, 1)
    matrix[:, :3] = torch.cat([rotation, -rotation @ camera_to_worlds[:, :, 3:]], dim=2)
    return matrix


def on_host(cameras: Cameras) -> Cameras:
    """Cameras on the host, without their poses; a device is asked once."""
    names = ("fx", "fy", "cx", "cy", "width", "height", "camera_type", "distortion_params")
    values = {name: getattr(cameras, name) for name in names if getattr(cameras, name) is not None}
    numbers = torch.cat([value.double() for value in values.values()], dim=1).cpu()
    parts = numbers.split([value.shape[1] for value in values.values()], dim=1)
    own: Any = {name: part.to(values[name].dtype) for name, part in zip(values, parts, strict=True)}
    return Cameras(camera_to_worlds=torch.eye(3, 4).repeat(len(cameras), 1, 1), **own)


def _keep_densification(model: LatentSplatfactoModel, state: Dict[str, Any], prefix: str, metadata: Any) -> None:
    """Keeps what densification has gathered since its last refinement, so that a resumed run refines alike."""
    for name in DENSIFICATION:
        value = model.strategy_state.get(name)
        if torch.is_tensor(value):
            state[f"{prefix}strategy.{name}"] = value


def _restore(model: LatentSplatfactoModel, state: Dict[str, Any], prefix: str, *_: Any) -> None:
    """Takes that back, and resizes the parameters, which the optimizers hold already, to a checkpoint's gaussians."""
    for name in DENSIFICATION:
        value = state.pop(f"{prefix}strategy.{name}", None)
        if value is not None:
            model.strategy_state[name] = value.to(model.device)
    for name, parameter in model.gauss_params.items():
        saved = state.get(f"{prefix}gauss_params.{name}")
        if saved is not None and saved.shape[1:] == parameter.shape[1:]:
            parameter.data = parameter.data.new_zeros(saved.shape)
