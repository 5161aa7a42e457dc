"""K-Planes NeRF of one static scene, of any number of channels (Fridovich-Keil et al. 2023), on Nerfstudio's samplers:
proposal networks, small K-Planes of their own, find where the NeRF's samples belong (section 3.4; mip-NeRF 360)."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Dict, List, Tuple, Type

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.model_components.losses import distortion_loss, interlevel_loss
from nerfstudio.model_components.ray_samplers import (
    ProposalNetworkSampler,
    UniformLinDispPiecewiseSampler,
    UniformSampler,
)
from torch import Tensor, nn
from torch.nn import Parameter

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.kplanes_field import (
    KPlanesDensityConfig,
    KPlanesField,
    KPlanesFieldConfig,
    plane_total_variation,
)
from latent_nerfstudio.models.channel_nerf import check_single_scene, keep_clocks
from latent_nerfstudio.models.rendering import BoxedModel, BoxedModelConfig, composite, for_all_rays, ray_weights


@dataclass
class KPlanesModelConfig(BoxedModelConfig):
    """K-Planes rendered along rays."""

    _target: Type = field(default_factory=lambda: KPlanesModel)
    proposal: KPlanesDensityConfig = field(default_factory=KPlanesDensityConfig)
    """Planes and decoder of each proposal network."""
    field: KPlanesFieldConfig = field(default_factory=KPlanesFieldConfig)
    """Planes and decoder."""
    proposal_resolutions: Tuple[int, ...] = (32,)
    """Texels along the side of each proposal network's planes (the papers: 128, 256)."""
    num_proposal_samples: Tuple[int, ...] = (32,)
    """Samples a ray of each proposal network (the papers: 256, 128)."""
    num_samples: int = 16
    """Samples a ray of the NeRF (the papers: 48)."""
    proposal_anneal_steps: int = 200
    """Steps until sampling fully follows the proposals' weights (mip-NeRF 360)."""
    proposal_anneal_slope: float = 10.0
    """How early in these steps they do."""
    proposal_warmup_steps: int = 1000
    """Steps over which the steps between updates of the proposals rise to `proposal_update_every`."""
    proposal_update_every: int = 5
    """Steps between updates of the proposal networks, at last."""
    interlevel_weight: float = 1.0
    """Weight of the loss that trains the proposals: their histograms are to enclose the NeRF's weights."""
    distortion_weight: float = 1e-3
    """Weight of the distortion loss (mip-NeRF 360), which draws a ray's weights together (the published code: 0.01)."""
    total_variation_weight: float = 2e-2
    """Weight of the planes' total variation, a mean over planes and scales (twice the papers' number, see
    `plane_total_variation`)."""
    proposal_total_variation_weight: float = 2e-4
    """Weight of the proposal planes' total variation."""


class KPlanesModel(BoxedModel):
    """Renders C channels of one scene; see `BoxedModel` for what it returns."""

    config: KPlanesModelConfig

    def populate_modules(self):
        """Fields and samplers; `num_channels`, `value_range` and `num_scenes` come from the owner."""
        super().populate_modules()
        config = self.config
        check_single_scene(self.kwargs)
        samples, sides = config.num_proposal_samples, config.proposal_resolutions
        if len(samples) != len(sides) or not samples:
            expected = "as many entries in num_proposal_samples as in proposal_resolutions, at least one"
            raise ValueError(problem("K-Planes", expected, f"{samples} and {sides}", "set both"))
        self.field: KPlanesField = config.field.setup(
            num_channels=self.kwargs.get("num_channels", 3), value_range=self.kwargs.get("value_range", (0.0, 1.0))
        )
        self.proposal_networks: Any = nn.ModuleList(config.proposal.setup(resolution=side) for side in sides)
        spread = UniformLinDispPiecewiseSampler if config.scene_contraction else UniformSampler
        self.proposal_sampler = ProposalNetworkSampler(
            num_proposal_samples_per_ray=samples,
            num_nerf_samples_per_ray=config.num_samples,
            num_proposal_network_iterations=len(samples),
            update_sched=self.steps_between_updates,
            initial_sampler=spread(),
        )
        keep_clocks(self)

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        return {
            "planes": list(self.field.planes),
            "mlp": list(self.field.decoder_parameters()),
            "proposal_networks": list(self.proposal_networks.parameters()),
        }

    def get_training_callbacks(self, training_callback_attributes: Any) -> List[TrainingCallback]:
        """Anneals the proposals before each step and advances their clock after it, by the absolute step."""
        where = TrainingCallbackLocation
        return [
            TrainingCallback([where.BEFORE_TRAIN_ITERATION], self.anneal_proposals, update_every_num_iters=1),
            TrainingCallback([where.AFTER_TRAIN_ITERATION], self.proposal_sampler.step_cb, update_every_num_iters=1),
        ]

    def anneal_proposals(self, step: int) -> None:
        steps, slope = self.config.proposal_anneal_steps, self.config.proposal_anneal_slope
        self.proposal_sampler.set_anneal(annealing_power(step, steps, slope))

    def steps_between_updates(self, step: int) -> float:
        """Steps that the proposal networks rest after an update: 0 at first, `proposal_update_every` at last."""
        return self.config.proposal_update_every * min(1.0, step / max(1, self.config.proposal_warmup_steps))

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Any]:
        """`latent` [rays, C], `accumulation` and `depth` [rays, 1], all without background. In training also
        `weights_list` and `ray_samples_list`, of proposals and then the NeRF, of rays that meet the box."""
        rays, hit = self.clip(ray_bundle)
        density_fns = [partial(self.proposal_density, network) for network in self.proposal_networks]
        ray_samples, weights_list, samples_list = self.proposal_sampler(rays, density_fns=density_fns)
        positions = ray_samples.frustums.get_positions()
        directions = ray_samples.frustums.directions.reshape(-1, 3) if self.config.field.view_dependent else None
        density, channels = self.field(self.normalize(positions).view(-1, 3), directions)
        density, channels = density.view(positions.shape[:2]), channels.view(*positions.shape[:2], -1)
        weights = ray_weights(ray_samples, density)
        outputs = for_all_rays(composite(ray_samples, weights, channels), hit, ray_bundle, self.aabb)
        if not self.training:
            return outputs
        lists = {"weights_list": [*weights_list, weights[..., None]], "ray_samples_list": [*samples_list, ray_samples]}
        return {**outputs, **lists}

    def proposal_density(self, network: nn.Module, positions: Float[Tensor, "rays samples 3"]) -> Tensor:
        return network(self.normalize(positions).view(-1, 3)).view(*positions.shape[:-1], 1)

    def get_regularization_dict(self, outputs) -> Dict[str, Tensor]:
        """What holds in both stages: the proposals' loss, distortion, and the total variation of all planes."""
        if "weights_list" not in outputs:
            return {}
        config, lists = self.config, (outputs["weights_list"], outputs["ray_samples_list"])
        proposals = [plane_total_variation(list(network.planes)) for network in self.proposal_networks]
        terms = {
            "interlevel_loss": (config.interlevel_weight, interlevel_loss(*lists)),
            "distortion_loss": (config.distortion_weight, distortion_loss(*lists)),
            "total_variation": (config.total_variation_weight, plane_total_variation(list(self.field.planes))),
            "proposal_total_variation": (config.proposal_total_variation_weight, torch.stack(proposals).mean()),
        }
        return {name: weight * term for name, (weight, term) in terms.items() if weight > 0}


def annealing_power(step: int, steps: int, slope: float) -> float:
    """The power that proposal weights are raised to (mip-NeRF 360, eq. 18): 0 samples evenly, 1 follows the weights."""
    progress = min(1.0, step / max(1, steps))
    return slope * progress / ((slope - 1) * progress + 1)
