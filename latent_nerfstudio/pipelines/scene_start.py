"""How new scenes start against a shared bundle: scene weights by least squares on their latents, and learning rates."""

import time
from typing import Callable, Optional, Tuple

import torch
from jaxtyping import Bool, Float, Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.data.pixels import with_targets
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.predicting import evaluating
from latent_nerfstudio.models.triplane import TriplaneModel

RAYS = 256
"""Latent pixels of a scene that its weights are fitted to; see benchmarks/choices.md."""

DIFFERENCE = 0.05
"""Change of a weight that derivatives are taken with; weights are of the order of 1 / sqrt(M)."""

DAMPING = 1e-2
"""Of the first step, relative to the diagonal: a third of it after a step that helped, ten times after another."""

USUAL_PHOTOS = 4
"""Photos of a scene whose planes learn at the rate of the config."""

SLOWEST, FASTEST = 0.5, 2.0
"""Factors of that rate, at least and at most."""

Render = Callable[[Float[Tensor, "scenes weights"]], Float[Tensor, "scenes values"]]
"""What scenes look like with some weights."""


def rates_of(photos: Int[Tensor, "scenes"]) -> Float[Tensor, "scenes"]:
    """Factors of the rate of scenes of k photos, sqrt(k / 4) within [1/2, 2]: in few steps, slow planes stay near what
    the bundle knows, and fast ones come nearer to what many photos say (measured in benchmarks/choices.md)."""
    return (photos / USUAL_PHOTOS).sqrt().clamp(SLOWEST, FASTEST)


@torch.no_grad()
def start_scenes(
    model: LatentModel, datamanager: LatentDataManager, steps: int, leave_out: Optional[Bool[Tensor, "scenes"]] = None
) -> float:
    """Fits the weights of new scenes, if any, to a sample of their latents, everything else held; returns the seconds.
    Nothing is drawn from torch's own generator, so that later steps see the same rays as without."""
    nerf = model.nerf
    weights = nerf.field.scene_weights if isinstance(nerf, TriplaneModel) else None
    if weights is None or steps < 1 or (leave_out is not None and bool(leave_out.all())):
        return 0.0
    begun = time.monotonic()
    scenes = torch.arange(len(weights))
    parts = (scenes if leave_out is None else scenes[~leave_out]).split(datamanager.scenes_per_step)
    with evaluating(model):
        errors = [fit_weights(model, datamanager, weights, scenes, steps) for scenes in parts]
    before, after = torch.cat(errors, dim=1).mean(dim=1).tolist()
    seconds = time.monotonic() - begun
    CONSOLE.log(f"Scene weights: fitted in {seconds:.1f} s, mean squared error of latents {before:.3g} -> {after:.3g}")
    return seconds


def fit_weights(
    model: LatentModel, datamanager: LatentDataManager, parameter: Parameter, scenes: Int[Tensor, "scenes"], steps: int
) -> Float[Tensor, "2 scenes"]:
    """Fits the rows of some scenes in the weights of all; returns their mean squared errors before and after."""
    rays, batch = with_targets(*datamanager.sample_of(scenes, RAYS), model.latent_space)
    target = batch["latent"].view(len(scenes), -1)
    rows = scenes.to(parameter.device)

    def render(weights: Float[Tensor, "scenes weights"]) -> Float[Tensor, "scenes values"]:
        parameter[rows] = weights.to(parameter)
        return model(rays)["latent"].view_as(target)

    fitted, errors = least_squares(render, parameter[rows].to(target), target, steps)
    parameter[rows] = fitted.to(parameter)
    return errors


def least_squares(
    render: Render, start: Float[Tensor, "scenes weights"], target: Float[Tensor, "scenes values"], steps: int
) -> Tuple[Float[Tensor, "scenes weights"], Float[Tensor, "2 scenes"]]:
    """Weights with which a render comes close to a target, of many scenes at once (Levenberg 1944, Marquardt 1963), and
    each scene's mean squared error before and after. Derivatives are forward differences: scenes do not see each other,
    so one render moves a weight of all of them. A step that does not lower a scene's error is not taken."""
    weights, damping = start, torch.full_like(start[:, :1], DAMPING)
    residual = render(weights) - target
    first = error = residual.square().mean(dim=1)
    for _ in range(steps):
        moved = weights - damped_step(derivatives(render, weights, residual + target), residual, damping)
        candidate = render(moved) - target
        better = candidate.square().mean(dim=1, keepdim=True) < error[:, None]
        weights, residual = torch.where(better, moved, weights), torch.where(better, candidate, residual)
        damping = torch.where(better, damping / 3, damping * 10)
        error = residual.square().mean(dim=1)
    return weights, torch.stack([first, error])


def derivatives(
    render: Render, weights: Float[Tensor, "scenes weights"], here: Float[Tensor, "scenes values"]
) -> Float[Tensor, "scenes values weights"]:
    """Forward differences of a render by each weight, given the render at the weights themselves."""
    steps = DIFFERENCE * torch.eye(weights.shape[1], device=weights.device)
    return torch.stack([(render(weights + step) - here) / DIFFERENCE for step in steps], dim=-1)


def damped_step(
    jacobian: Float[Tensor, "scenes values weights"],
    residual: Float[Tensor, "scenes values"],
    damping: Float[Tensor, "scenes 1"],
) -> Float[Tensor, "scenes weights"]:
    """(J^T J + damping diag(J^T J))^-1 J^T r; zero for weights that change nothing."""
    normal = jacobian.mT @ jacobian
    diagonal = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-6)
    right = (jacobian.mT @ residual[..., None])[..., 0]
    solution, _ = torch.linalg.solve_ex(normal + torch.diag_embed(damping * diagonal), right)
    return solution
