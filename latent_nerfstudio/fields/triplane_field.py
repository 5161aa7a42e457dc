"""The tri-plane field of one or many scenes: planes, then a tiny MLP that all scenes share.

Axes: `scenes` S, those at hand; `points`; `channels` C; planes are S x 3 x F x T x T, see `planes`."""

from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Literal, Mapping, Optional, Sequence, Tuple, Type

import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Float, Int
from nerfstudio.configs.base_config import InstantiateConfig
from nerfstudio.field_components.mlp import MLP
from torch import Tensor, nn
from torch.nn import Parameter

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.heads import UNBOUNDED, Bounded, Range
from latent_nerfstudio.fields.planes import EG3D_AXES, PLANE_AXES, compose_planes, gather_rows
from latent_nerfstudio.fields.scene_view import Parts, SceneView, view_planes
from latent_nerfstudio.kernels.triplane_torch import TinyMLP, triplane_mlp

FieldImplementation = Literal["auto", "torch", "triton"]

SCENE_PARAMETERS = ("micro_planes", "scene_weights")
"""Parameters with one row a scene."""

REMOVED = {"aggregation": "sum", "hidden_layers": 1}
"""Settings of older versions, and the only value that there still is."""

NEGLIGIBLE_GRADIENT = 0.03
"""Points whose gradient is below this share of a step's mean are left out of its backward pass (step_time.md)."""


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
    hidden_width: int = 64
    """Width of the tiny MLP's hidden layer."""
    implementation: FieldImplementation = "auto"
    """Code of lookup and MLP, same parameters: `torch`, `triton`, or `auto`, `triton` on a GPU where it can."""
    eg3d_axes: tyro.conf.Suppress[bool] = False
    """Whether XY, XZ, ZX are sampled, as the published code does; it has no YZ plane."""
    density_scale: tyro.conf.Suppress[float] = 25.0
    """Factor of the density: surfaces need values of 100 a unit and more, which the MLP would reach slowly."""


class TriplaneField(nn.Module):
    """Density and C channels of points of N scenes; an infinite `value_range` leaves the MLP's output as it is.
    `sparse_rows` names the parameters with one row a scene whose optimizer takes sparse gradients."""

    def __init__(self, config: TriplaneFieldConfig, num_scenes: int, num_channels: int, value_range: Range = UNBOUNDED):
        super().__init__()
        check_removed(vars(config))
        self.config = config
        self.num_scenes = num_scenes
        self.num_channels = num_channels
        self.to_range = nn.Identity() if value_range == UNBOUNDED else Bounded(value_range)
        self.axes = EG3D_AXES if config.eg3d_axes else PLANE_AXES
        self.micro_planes, self.base_planes, self.scene_weights = make_planes(config, num_scenes)
        self.sparse_rows: FrozenSet[str] = frozenset()
        features = config.micro_features + (config.macro_features if self.base_planes is not None else 0)
        hidden, outputs = config.hidden_width, 1 + num_channels
        self.mlp = MLP(features, 2, hidden, outputs, activation=nn.ReLU(), implementation="torch")

    def scene_planes(self, scenes: Int[Tensor, "scenes"]) -> Float[Tensor, "scenes planes features rows cols"]:
        """The composed planes of scenes, given by index on the host."""
        micro, weights = self.rows_of(scenes)
        return compose_planes(micro, self.base_planes, weights)

    def rows_of(self, scenes: Int[Tensor, "scenes"]) -> List[Optional[Float[Tensor, "scenes *row"]]]:
        """Micro planes and scene weights of scenes; None for those that there are not."""
        tables = ((name, getattr(self, name)) for name in SCENE_PARAMETERS)
        return [None if t is None else gather_rows(t, scenes, name in self.sparse_rows) for name, t in tables]

    def view_planes(self, views: Sequence[SceneView]) -> Float[Tensor, "views planes features rows cols"]:
        """The composed planes of views, see `scene_view.view_planes`; refuses views of what is not there."""
        planes = []
        for view in views:
            check_view(view, self.num_scenes, self.parts, 0 if self.base_planes is None else len(self.base_planes))
            micro, weights = self.rows_of(torch.tensor(view.scenes))
            planes.append(view_planes(view, micro, self.base_planes, weights))
        return torch.cat(planes)

    @property
    def parts(self) -> Tuple[Parts, ...]:
        """What a view can show alone."""
        if self.base_planes is None:
            return ("all",)
        return ("all", "base plane") if self.micro_planes is None else ("all", "macro", "micro", "base plane")

    def forward(
        self,
        positions: Float[Tensor, "*points 3"],
        slots: Int[Tensor, "..."],
        planes: Float[Tensor, "scenes planes features rows cols"],
    ) -> Tuple[Float[Tensor, "*points"], Float[Tensor, "*points channels"]]:
        """Density per unit of length, and channels, of points in [-1, 1]^3, which get no gradient. `slots` are the
        points' scenes, as indices into the composed planes at hand (`scene_planes`)."""
        mlp = TinyMLP(*self.mlp.parameters())
        kernel = kernel_of(self.config.implementation, positions.device, mlp)
        with torch.autocast(positions.device.type, enabled=False):
            raw = kernel(
                planes.permute(0, 1, 3, 4, 2).contiguous(),
                positions.reshape(-1, 3),
                slots.expand(positions.shape[:-1]).reshape(-1),
                mlp,
                self.axes,
                NEGLIGIBLE_GRADIENT,
            ).view(*positions.shape[:-1], -1)
        density, channels = raw.split([1, self.num_channels], dim=-1)  # whose gradients are joined, not added up
        return self.config.density_scale * F.softplus(density[..., 0] - 1), self.to_range(channels)

    def scene_bytes(self) -> int:
        return parameter_bytes(self.scene_parameters().values()) // self.num_scenes

    def scene_parameters(self) -> Dict[str, Parameter]:
        own = {name: getattr(self, name) for name in SCENE_PARAMETERS}
        return {name: parameter for name, parameter in own.items() if parameter is not None}

    def freeze(self, base_planes: bool, mlp: bool) -> None:
        """Stops training the base planes or the MLP; scene weights and micro planes go on."""
        frozen = [self.base_planes] if base_planes and self.base_planes is not None else []
        for parameter in [*frozen, *(self.mlp.parameters() if mlp else ())]:
            parameter.requires_grad_(False)

    def shared_settings(self) -> Dict[str, Any]:
        """The settings that shape the parameters, by name, and those that older versions expect."""
        settings = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name != "_target"}
        return {**settings, **REMOVED, "implementation": "torch"}

    def shared_state(self) -> Dict[str, Tensor]:
        """What all scenes share: `base_planes`, where there are some, and `mlp.*`."""
        mlp: Dict[str, Tensor] = {f"mlp.{name}": value for name, value in self.mlp.state_dict().items()}
        return mlp if self.base_planes is None else {"base_planes": self.base_planes.detach(), **mlp}

    @torch.no_grad()
    def load_shared_state(self, state: Dict[str, Tensor]) -> None:
        """Takes what `shared_state` gave; a RuntimeError for tensors of another field."""
        self.mlp.load_state_dict({n.removeprefix("mlp."): v for n, v in state.items() if n.startswith("mlp.")})
        if self.base_planes is not None and "base_planes" in state:
            self.base_planes.copy_(state["base_planes"])


def parameter_bytes(parameters: Iterable[Tensor]) -> int:
    """Bytes of parameters in float32."""
    return sum(4 * p.numel() for p in parameters)


def check_view(view: SceneView, scenes: int, parts: Sequence[Parts], bases: int) -> None:
    what = (
        ("scene", view.scenes, range(scenes)),
        ("parts", (view.parts,), parts),
        ("base plane", (view.base_plane,) if view.parts == "base plane" else (), range(bases)),
    )
    for name, wanted, there in what:
        if not set(wanted) <= set(there):
            known = f"{there.start} to {there.stop - 1}" if isinstance(there, range) else ", ".join(there)
            raise ValueError(problem("view", f"{name} of {known}", ", ".join(map(str, wanted)), "choose another"))


def check_removed(settings: Mapping[str, Any]) -> None:
    """Refuses settings of older versions that are gone: `REMOVED` with other values, and tiny-cuda-nn."""
    gone = {name: only for name, only in REMOVED.items() if settings.get(name, only) != only}
    if settings.get("implementation") == "tcnn":
        gone["implementation"] = "torch"
    for name, only in gone.items():
        do = "open it with latent-nerfstudio 0.1.0, or train it anew"
        raise ValueError(problem(f"tri-plane field, {name}", str(only), settings[name], do))


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
    """Fresh micro planes and base planes, of N(0, 0.1^2), and scene weights; None for what the config leaves out. Scene
    weights are of N(0, 1 / M), so that macro planes start at the base planes' scale for every M."""
    micro, macro, bases, side = config.micro_features, config.macro_features, config.num_base_planes, config.resolution
    if micro < 0 or macro < 0 or bases < 0 or side < 2 or micro + min(macro, bases) == 0:
        expected = "micro_features > 0, or macro_features > 0 and num_base_planes > 0, and a resolution of at least 2"
        got = f"micro_features={micro}, macro_features={macro}, num_base_planes={bases}, resolution={side}"
        do = "set --pipeline.model.nerf.field.micro-features or the other two"
        raise ValueError(problem("tri-plane field", expected, got, do))

    def fresh(count: int, features: int) -> Parameter:
        return Parameter(torch.randn(count, 3, features, side, side).mul_(0.1))  # in place: no copies

    shared = macro > 0 and bases > 0
    return (
        fresh(num_scenes, micro) if micro else None,
        fresh(bases, macro) if shared else None,
        Parameter(torch.randn(num_scenes, bases) / bases**0.5) if shared else None,
    )
