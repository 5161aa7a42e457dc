"""The tri-plane field of one or many scenes: planes, then a tiny MLP that all scenes share."""

from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Any, Callable, Dict, List, Literal, Optional, Sequence, Tuple, Type

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from nerfstudio.configs.base_config import InstantiateConfig
from nerfstudio.field_components.mlp import MLP
from nerfstudio.utils.external import TCNN_EXISTS
from torch import Tensor, nn
from torch.nn import Parameter

from latent_nerfstudio.fields.planes import (
    EG3D_AXES,
    PLANE_AXES,
    Aggregation,
    compose_planes,
    sample_scenes,
    total_variation,
)
from latent_nerfstudio.fields.rows import SceneStorage, apply_but_for, gather_rows, row_bytes, stays_on_host
from latent_nerfstudio.fields.scene_view import Parts, SceneView, view_planes
from latent_nerfstudio.kernels.triplane_torch import TinyMLP, triplane_mlp

MLPImplementation = Literal["auto", "torch", "tcnn"]

FieldImplementation = Literal["auto", "torch", "triton", "tcnn"]

SCENE_PARAMETERS = ("micro_planes", "scene_weights")
"""Parameters with one row a scene."""

UNSHARED = ("_target", "scene_storage", "negligible_gradient")
"""Fields of the config that shape no parameter; a shared bundle leaves them out."""

INITIAL_SCALE = {"sum": (0.0, 0.1), "product": (1.0, 0.1), "concat": (0.0, 0.1)}
"""Mean and standard deviation of fresh planes for each aggregation; a product of features around 0 would vanish."""


@dataclass
class TriplaneFieldConfig(InstantiateConfig):
    """Planes and tiny MLP."""

    _target: Type = field(default_factory=lambda: TriplaneField)
    micro_features: int = 16
    """F_mic: features a plane that belong to one scene; 0 for macro only (the papers: 10)."""
    macro_features: int = 0
    """F_mac: features a plane that are composed from base planes; 0 for micro only (the papers: 22)."""
    num_base_planes: int = 0
    """M: base planes that all scenes share; 0 for micro only (the papers: 50)."""
    resolution: int = 32
    """T: texels along the side of a plane; about twice the latent's side is enough (the papers: 64)."""
    aggregation: Aggregation = "sum"
    """How the three planes' features become one vector (the papers: sum)."""
    eg3d_axes: bool = False
    """Sample XY, XZ, ZX as the published code does, for parity runs only: it has no YZ plane."""
    hidden_width: int = 64
    """Width of the tiny MLP's hidden layer."""
    hidden_layers: int = 1
    """Hidden layers of the tiny MLP (the papers: 1)."""
    implementation: FieldImplementation = "auto"
    """Of lookup and MLP: `auto` is `triton` on a GPU where it can run these planes, and `torch` elsewhere; both have
    the same parameters. `tcnn`, where tiny-cuda-nn is installed, has an MLP of its own."""
    negligible_gradient: float = 0.03
    """Points whose gradient is below this share of a step's mean are left out of its backward pass; 0 for none."""
    density_scale: float = 25.0
    """Factor of the density: surfaces need values of 100 a unit and more, which the MLP would reach slowly."""
    scene_storage: SceneStorage = "auto"
    """Where a run on a GPU keeps micro planes, scene weights and their optimizer's state: on the `device`; on the
    `host`, from which a step copies its scenes; `auto`: on the host where they need half of the free GPU memory."""


class TriplaneField(nn.Module):
    """Density and C channels of points of N scenes.

    Args:
        config: planes and MLP.
        num_scenes: N.
        num_channels: C.
        value_range: bounds of the channels; infinite ones leave the MLP's output as it is.

    Raises:
        ValueError: a config without any features.
    """

    def __init__(
        self,
        config: TriplaneFieldConfig,
        num_scenes: int,
        num_channels: int,
        value_range: Tuple[float, float] = (-float("inf"), float("inf")),
    ):
        super().__init__()
        self.config = config
        self.num_scenes = num_scenes
        self.num_channels = num_channels
        self.value_range = value_range
        self.axes = EG3D_AXES if config.eg3d_axes else PLANE_AXES
        self.micro_planes, self.base_planes, self.scene_weights = make_planes(config, num_scenes)
        features = config.micro_features + (config.macro_features if self.base_planes is not None else 0)
        self.mlp = MLP(
            in_dim=features * (3 if config.aggregation == "concat" else 1),
            num_layers=config.hidden_layers + 1,
            layer_width=config.hidden_width,
            out_dim=1 + num_channels,
            activation=nn.ReLU(),
            implementation="tcnn" if config.implementation == "tcnn" else "torch",
        )
        check_fused(config)

    def scene_planes(self, scenes: Int[Tensor, "scenes"]) -> Float[Tensor, "scenes planes features rows cols"]:
        """The composed planes of the given scenes."""
        micro = None if self.micro_planes is None else gather_rows(self.micro_planes, scenes)
        weights = None if self.scene_weights is None else gather_rows(self.scene_weights, scenes)
        return compose_planes(micro, self.base_planes, weights)

    def view_planes(self, views: Sequence[SceneView]) -> Float[Tensor, "views planes features rows cols"]:
        """The composed planes of views, see `scene_view.view_planes`; the parameters are left as they are.

        Raises:
            ValueError: a view of scenes or planes that are not there.
        """
        return torch.cat([self._view_planes(view) for view in views])

    def _view_planes(self, view: SceneView) -> Float[Tensor, "1 planes features rows cols"]:
        check_view(view, self.num_scenes, self.parts, 0 if self.base_planes is None else len(self.base_planes))
        scenes = torch.tensor(view.scenes, device=next(self.mlp.parameters()).device)
        micro = None if self.micro_planes is None else gather_rows(self.micro_planes, scenes)
        weights = None if self.scene_weights is None else gather_rows(self.scene_weights, scenes)
        return view_planes(view, micro, self.base_planes, weights, INITIAL_SCALE[self.config.aggregation][0])

    @property
    def parts(self) -> Tuple[Parts, ...]:
        """What a view can show alone."""
        if self.base_planes is None:
            return ("all",)
        return ("all", "base plane") if self.micro_planes is None else ("all", "macro", "micro", "base plane")

    def forward(
        self,
        positions: Float[Tensor, "points 3"],
        slots: Int[Tensor, "points"],
        planes: Float[Tensor, "scenes planes features rows cols"],
    ) -> Tuple[Float[Tensor, "points"], Float[Tensor, "points channels"]]:
        """Density a unit of length, and the channels, of points in [-1, 1]^3.

        Args:
            positions: points.
            slots: which of `planes` each point belongs to.
            planes: composed planes of the scenes at hand, from `scene_planes`.
        """
        raw = self.outputs(positions, slots, planes).to(positions)
        density = self.config.density_scale * F.softplus(raw[:, 0] - 1)
        return density, bound(raw[:, 1:], self.value_range)

    def outputs(
        self,
        positions: Float[Tensor, "points 3"],
        slots: Int[Tensor, "points"],
        planes: Float[Tensor, "scenes planes features rows cols"],
    ) -> Float[Tensor, "points outputs"]:
        """What the MLP makes of points; the arguments are those of `forward`.

        Kernels give positions no gradient, so where one is wanted, autograd goes the long way.
        """
        config = self.config
        if not is_fused(config) or positions.requires_grad:
            return self.mlp(sample_scenes(planes, positions, slots, config.aggregation, self.axes))
        mlp = TinyMLP(*self.mlp.parameters())
        kernel = kernel_of(config.implementation, positions.device, mlp)
        with torch.autocast(positions.device.type, enabled=False):
            return kernel(
                planes.permute(0, 1, 3, 4, 2).contiguous(), positions, slots, mlp, self.axes, config.negligible_gradient
            )

    def total_variation(self, planes: Tensor) -> Tensor:
        """See `planes.total_variation`."""
        return total_variation(planes)

    def scene_bytes(self) -> int:
        """Bytes of the parameters that belong to one scene alone, in float32."""
        own = [p for p in (self.micro_planes, self.scene_weights) if p is not None]
        return sum(4 * p.numel() // self.num_scenes for p in own)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TriplaneField":
        """What `.to` does; micro planes and scene weights stay on the host where `scene_storage` says so."""
        own = {name: getattr(self, name) for name in SCENE_PARAMETERS if getattr(self, name) is not None}
        stay = stays_on_host(self.config.scene_storage, row_bytes(*own.values()), fn(torch.empty(0)).device)
        apply_but_for(self, tuple(own) if stay else (), lambda: super(TriplaneField, self)._apply(fn, recurse))
        return self

    def plane_parameters(self) -> List[Parameter]:
        return [p for p in (self.micro_planes,) if p is not None]

    def shared_plane_parameters(self) -> List[Parameter]:
        return [p for p in (self.base_planes, self.scene_weights) if p is not None]

    def freeze(self, base_planes: bool, mlp: bool) -> None:
        """Stops training the base planes or the MLP; scene weights and micro planes go on."""
        frozen = [self.base_planes] if base_planes and self.base_planes is not None else []
        for parameter in [*frozen, *(self.mlp.parameters() if mlp else ())]:
            parameter.requires_grad_(False)

    def shared_settings(self) -> Dict[str, Any]:
        """The settings that shape the parameters, by name; the MLP's implementation is the one that was built."""
        settings = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name not in UNSHARED}
        return {**settings, "implementation": "torch" if self.mlp.tcnn_encoding is None else "tcnn"}

    def shared_state(self) -> Dict[str, Tensor]:
        """What all scenes share: `base_planes`, where there are some, and `mlp.*`."""
        mlp: Dict[str, Tensor] = {f"mlp.{name}": value for name, value in self.mlp.state_dict().items()}
        return mlp if self.base_planes is None else {"base_planes": self.base_planes.detach(), **mlp}

    @torch.no_grad()
    def load_shared_state(self, state: Dict[str, Tensor]) -> None:
        """Takes the MLP, and the base planes if they are in it, from what `shared_state` gave.

        Raises:
            RuntimeError: tensors of another field.
        """
        self.mlp.load_state_dict({n.removeprefix("mlp."): v for n, v in state.items() if n.startswith("mlp.")})
        if self.base_planes is not None and "base_planes" in state:
            self.base_planes.copy_(state["base_planes"])


def check_view(view: SceneView, scenes: int, parts: Sequence[Parts], bases: int) -> None:
    """Refuses a view of what is not there.

    Raises:
        ValueError: another scene, part or base plane.
    """
    what = (
        ("scene", view.scenes, range(scenes)),
        ("parts", (view.parts,), parts),
        ("base plane", (view.base_plane,) if view.parts == "base plane" else (), range(bases)),
    )
    for name, wanted, there in what:
        if not set(wanted) <= set(there):
            known = f"{there.start} to {there.stop - 1}" if isinstance(there, range) else ", ".join(there)
            raise ValueError(f"view: expected {name} of {known}, got {', '.join(map(str, wanted))}; choose another")


def mlp_implementation(wanted: MLPImplementation) -> Literal["torch", "tcnn"]:
    """What `auto` means on this machine."""
    if wanted != "auto":
        return wanted
    return "tcnn" if TCNN_EXISTS and torch.cuda.is_available() else "torch"


def is_fused(config: TriplaneFieldConfig) -> bool:
    """Whether there are kernels for a field: the sum of three planes and one hidden layer, not in tiny-cuda-nn."""
    return config.aggregation == "sum" and config.hidden_layers == 1 and config.implementation != "tcnn"


def check_fused(config: TriplaneFieldConfig) -> None:
    """Refuses a kernel that cannot run the field."""
    if config.implementation == "triton" and not is_fused(config):
        raise ValueError(
            "tri-plane field: expected aggregation=sum and hidden_layers=1 with implementation=triton, got "
            f"aggregation={config.aggregation} and hidden_layers={config.hidden_layers}; set "
            "--pipeline.model.nerf.field.implementation torch"
        )


def kernel_of(wanted: FieldImplementation, device: torch.device, mlp: TinyMLP) -> Callable[..., Tensor]:
    """The kernel that `auto` means on a device for an MLP, or the one that is asked for."""
    if wanted == "triton" or (wanted == "auto" and device.type == "cuda" and find_spec("triton") is not None):
        from latent_nerfstudio.kernels import triplane_triton

        if wanted == "triton" or triplane_triton.fits(mlp):
            return triplane_triton.triplane_mlp
    return triplane_mlp


def make_planes(
    config: TriplaneFieldConfig, num_scenes: int
) -> Tuple[Optional[Parameter], Optional[Parameter], Optional[Parameter]]:
    """Fresh micro planes, base planes and scene weights; None for what the config leaves out.

    Scene weights start at N(0, 1) / sqrt(M), so that macro planes start at the base planes' scale for every M.
    """
    micro, macro, bases, side = (
        config.micro_features,
        config.macro_features,
        config.num_base_planes,
        config.resolution,
    )
    if micro < 0 or macro < 0 or bases < 0 or side < 2 or micro + min(macro, bases) == 0:
        raise ValueError(
            "tri-plane field: expected micro_features > 0, or macro_features > 0 and num_base_planes > 0, and a "
            f"resolution of at least 2, got micro_features={micro}, macro_features={macro}, num_base_planes={bases}, "
            f"resolution={side}; set --pipeline.model.nerf.field.micro-features or the other two"
        )
    mean, std = INITIAL_SCALE[config.aggregation]

    def fresh(count: int, features: int) -> Parameter:
        return Parameter(torch.randn(count, 3, features, side, side).mul_(std).add_(mean))  # in place: no copies

    shared = macro > 0 and bases > 0
    return (
        fresh(num_scenes, micro) if micro else None,
        fresh(bases, macro) if shared else None,
        Parameter(torch.randn(num_scenes, bases) / bases**0.5) if shared else None,
    )


def bound(values: Float[Tensor, "*batch channels"], limits: Tuple[float, float]) -> Float[Tensor, "*batch channels"]:
    """A sigmoid onto finite limits, widened by a thousandth so that the limits themselves are reached (mip-NeRF)."""
    low, high = limits
    if low == -float("inf"):
        return values
    margin = 0.001 * (high - low)
    return torch.sigmoid(values) * (high - low + 2 * margin) + low - margin
