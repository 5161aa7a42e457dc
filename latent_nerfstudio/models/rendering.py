"""Rendering in a box: rays against it, compositing of any number of channels, and what our own NeRFs share.

Axes: `rays`, `samples`, `channels`, and `hits` for the rays that meet the box."""

from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

import torch
import tyro
from jaxtyping import Float, Int
from nerfacc import accumulate_along_rays, render_weight_from_density
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor

from latent_nerfstudio.fields.boxes import MIN_SPAN, cropped_box, farthest_corner, intersect_box

SOLID = 0.5
"""Opacity from which on a pixel shows an object, and has a depth."""


@dataclass
class BoxedModelConfig(ModelConfig):
    """A NeRF in the scene box."""

    enable_collider: tyro.conf.Suppress[bool] = False
    """Unused, as the three that follow: rays are cut at the scene box."""
    collider_params: tyro.conf.Suppress[Optional[Dict[str, float]]] = None
    loss_coefficients: tyro.conf.Suppress[Dict[str, float]] = field(default_factory=dict)
    prompt: tyro.conf.Suppress[Optional[str]] = None
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    scene_contraction: bool = False
    """Contract the whole space into the planes, for unbounded captures; what lies in the scene box keeps its shape."""
    near: tyro.conf.Suppress[float] = 0.05
    """Nearest distance that is rendered."""
    far: tyro.conf.Suppress[float] = 100.0
    """Farthest distance that is rendered with scene contraction; without it the box ends the ray."""


class BoxedModel(Model):
    """Renders C channels along the part of each ray in the scene box or, with contraction, along all of it. Outputs are
    sums along the ray; the owner adds the background."""

    config: BoxedModelConfig
    aabb: Tensor

    def populate_modules(self):
        super().populate_modules()
        self.register_buffer("aabb", self.scene_box.aabb.clone().float())
        self.contraction = SceneContraction(order=float("inf")) if self.config.scene_contraction else None

    def clip(self, rays: RayBundle) -> Tuple[RayBundle, Optional[Int[Tensor, "hits"]]]:
        """The rays that meet the scene box, cropped as viewer or ns-render ask; see `clip_rays`."""
        box = None if self.contraction is not None else self.aabb
        if box is not None and self.render_aabb is not None and not self.training:
            box = cropped_box(box, self.render_aabb.aabb.to(box))
        return clip_rays(rays, box, self.config.near, self.config.far)

    def normalize(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World to [-1, 1]^3: the scene box fills it, or its inner half where space is contracted."""
        unit = (positions - self.aabb[0]) / (self.aabb[1] - self.aabb[0]) * 2 - 1
        return unit if self.contraction is None else self.contraction(unit) / 2

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> Dict[str, Tensor]:
        """Mean squared error against `batch["latent"]` [rays, C], and the regularisers."""
        loss = (outputs["latent"] - batch["latent"]).square().mean()
        return {"latent_loss": loss, **self.get_regularization_dict(outputs)}  # type: ignore[operator]


def clip_rays(
    rays: RayBundle, box: Optional[Float[Tensor, "2 3"]], near: float, far: float
) -> Tuple[RayBundle, Optional[Int[Tensor, "hits"]]]:
    """The rays that meet a box, with near and far set, and their indices: None if all do, as in most of training.
    Without a box, rays go from `near` to `far`. Bounds that rays already have, of an oriented crop box, hold as well.

    If no ray meets the box, the first one stands in, with near equal to far; `for_all_rays` leaves it out."""
    if box is None:
        nears, fars = (torch.full_like(rays.origins[:, 0], distance) for distance in (near, far))
    else:
        nears, fars, _ = intersect_box(rays.origins, rays.directions, box, near)
    if rays.nears is not None and rays.fars is not None:
        nears, fars = torch.maximum(nears, rays.nears[:, 0]), torch.minimum(fars, rays.fars[:, 0])
    hit = (fars > nears + MIN_SPAN).nonzero()[:, 0]  # a device is asked once, for how many there are
    if len(hit) == len(nears):
        clipped, hit = rays[...], None
    else:
        kept = hit
        if not len(hit):
            kept = torch.zeros(1, dtype=torch.long, device=hit.device)
            nears = fars = torch.full_like(nears, max(near, MIN_SPAN))
        clipped, nears, fars = rays[kept], nears[kept], fars[kept]
    clipped.nears, clipped.fars = nears[:, None], fars[:, None]
    return clipped, hit


def for_all_rays(
    outputs: Dict[str, Float[Tensor, "kept _"]],
    hit: Optional[Int[Tensor, "hits"]],
    rays: RayBundle,
    aabb: Float[Tensor, "2 3"],
) -> Dict[str, Float[Tensor, "rays _"]]:
    """Outputs of the rays at `hit` (see `clip_rays`) spread to all rays. The others get zero, and as `depth` the
    distance of the box's farthest corner, so that depth pictures have a range."""
    if hit is None:
        return outputs
    full = {name: value.new_zeros(len(rays), value.shape[-1]) for name, value in outputs.items()}
    full["depth"] = farthest_corner(rays.origins, aabb)
    return {name: full[name].index_copy(0, hit, value[: len(hit)].to(full[name])) for name, value in outputs.items()}


def ray_weights(samples: RaySamples, density: Float[Tensor, "rays samples"]) -> Float[Tensor, "rays samples"]:
    """Weights T_i (1 - exp(-sigma_i delta_i)) of samples (NeRF, eq. 3), by nerfacc's dense function."""
    starts, ends = samples.frustums.starts[..., 0], samples.frustums.ends[..., 0]
    weights, _, _ = render_weight_from_density(starts, ends, density)
    return weights


def composite(
    samples: RaySamples, weights: Float[Tensor, "rays samples"], channels: Float[Tensor, "rays samples channels"]
) -> Dict[str, Float[Tensor, "rays _"]]:
    """`latent`, `accumulation` and `depth`: weighted sums of channels, of one and of distance, neither clamped nor on a
    background. What is not opaque counts as far as the ray's end for the depth."""
    middle = (samples.frustums.starts + samples.frustums.ends) / 2
    accumulation = accumulate_along_rays(weights)
    behind = (1 - accumulation) * samples.frustums.ends[:, -1]
    return {
        "latent": accumulate_along_rays(weights, channels),
        "accumulation": accumulation,
        "depth": accumulate_along_rays(weights, middle) + behind,
    }
