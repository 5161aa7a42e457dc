"""How new scenes start against a shared bundle: as its scene encoder predicts them, where few photos hold them, or with
scene weights by least squares on their latents; and their learning rates."""

import time
from typing import Callable, List, Optional, Tuple

import torch
from jaxtyping import Bool, Float, Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.data.pixels import with_targets
from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.latent_space.cameras import is_pinhole
from latent_nerfstudio.models.checkpoint_notes import ENLARGED
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.predicting import evaluating, predict
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.pipelines.scene_views import SceneViews
from latent_nerfstudio.scene_encoder.network import Prediction
from latent_nerfstudio.scene_encoder.projection import spread_views

PULL = 8.0
"""Weight of the pull towards the prediction at one photo; see benchmarks/choices.md."""

DIFFERENCE = 0.05
"""Change of a weight that derivatives are taken with; weights are of the order of 1 / sqrt(M)."""

DAMPING = 1e-2
"""Of the first step, relative to the diagonal: a third of it after a step that helped, ten times after another."""

Render = Callable[[Float[Tensor, "scenes weights"]], Float[Tensor, "scenes values"]]
"""What scenes look like with some weights."""


class PredictedScenes:
    """Predictions of a run's scenes, and a pull towards them: `strength` over the cube of the number of photos."""

    def __init__(self, prediction: Prediction, photos: Int[Tensor, "scenes"], strength: float):
        self.prediction, self.known = prediction, photos > 0
        self.weights = strength * self.known / photos.clamp(min=1).float() ** 3

    @torch.no_grad()
    def put(self, nerf: TriplaneModel) -> None:
        for name, value in self.prediction._asdict().items():
            parameter = getattr(nerf.field, name)
            if parameter is not None:
                parameter[self.known] = value[self.known].to(parameter)

    def pull(
        self,
        planes: Float[Tensor, "scenes 3 features rows cols"],
        scenes: Int[Tensor, "scenes"],
        base: Optional[Float[Tensor, "bases 3 macro_features rows cols"]],
    ) -> Float[Tensor, ""]:
        """Weighted mean squared distance of composed planes from what was predicted for their scenes."""
        rows = scenes.to(self.weights.device)
        with torch.no_grad():
            micro, weights = (value[rows].to(planes) for value in self.prediction)
            wanted = compose_planes(micro, base, weights)
        distance = (planes - wanted).square().mean(dim=(1, 2, 3, 4))
        return (self.weights[rows].to(distance) * distance).mean()


@torch.no_grad()
def predict_scenes(model: LatentModel, manager: LatentDataManager) -> Optional[PredictedScenes]:
    """Predicts the scenes of a run that have only perspective cameras; None if its bundle has no scene encoder."""
    encoder = model.scene_encoder
    if encoder is None:
        return None
    facts, ours = model.bundle_facts.get("scene_encoder"), model.latent_space.autoencoder.enlarge
    learned = facts.get(ENLARGED) if isinstance(facts, dict) else None
    if type(learned) is int and learned != ours:
        do = f"--pipeline.model.autoencoder.enlarge {learned} (of lns, --enlarge {learned}) is what it knows"
        CONSOLE.log(f"scene encoder: has learned from photos enlarged {learned} times, and here it is {ours}; {do}")
    begun, views = time.monotonic(), SceneViews(model, manager)
    known = torch.tensor([is_pinhole(manager.latent_cameras[members]) for members in views.members])
    if not known.all():
        CONSOLE.log(f"scene encoder: leaves out {int((~known).sum())} scenes: it knows perspective cameras alone")
    if not known.any():
        return None
    encoder.to(model.device)
    parts: List[Prediction] = []
    for scene in known.nonzero()[:, 0].tolist():
        members = views.shown(views.members[scene])
        chosen = spread_views(manager.latent_cameras.camera_to_worlds[members][..., 3])
        groups = views.groups(members[chosen.to(members.device)])
        predicted = predict(model, groups, views.boxes[scene : scene + 1])
        parts.append(Prediction(*(value.cpu() for value in predicted)))
    photos = known * torch.tensor([len(members) for members in views.members])
    CONSOLE.log(f"Scenes: {len(parts)} predicted from their photos in {time.monotonic() - begun:.1f} s")
    rows = (torch.cat(part) for part in zip(*parts, strict=True))
    every = [row.new_zeros(len(known), *row.shape[1:]).index_copy(0, known.nonzero()[:, 0], row) for row in rows]
    return PredictedScenes(Prediction(*every), photos, PULL)


def rates_of(photos: Int[Tensor, "scenes"]) -> Float[Tensor, "scenes"]:
    """Factors of the learning rate by the number k of photos, sqrt(k / 4) within [1/2, 2]: slow planes stay near what
    the bundle knows, fast ones come nearer to what many photos say (measured in benchmarks/choices.md)."""
    return (photos / 4).sqrt().clamp(0.5, 2.0)


@torch.no_grad()
def start_scenes(
    model: LatentModel, datamanager: LatentDataManager, steps: int, leave_out: Optional[Bool[Tensor, "scenes"]] = None
) -> float:
    """Fits the weights of new scenes to a sample of their latents, without torch's own generator; gives the seconds."""
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
    """Fits the weights of some scenes in place; returns their mean squared errors before and after."""
    rays, batch = with_targets(*datamanager.sample_of(scenes, 256), model.latent_space)  # see benchmarks/choices.md
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
    """Weights of many scenes that bring their renders close to a target (Levenberg 1944, Marquardt 1963), and each
    scene's mean squared error before and after. Derivatives are forward differences: scenes are independent, so one
    render changes a weight of all of them. A scene only takes steps that lower its error."""
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
