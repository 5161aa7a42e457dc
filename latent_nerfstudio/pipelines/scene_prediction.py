"""Scenes as the scene encoder of a shared bundle predicts them: there fitting starts, and few photos hold it there."""

import time
from typing import Any, List, Optional

import torch
from jaxtyping import Float, Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.latent_space.cameras import is_pinhole
from latent_nerfstudio.models.latent_model import ENLARGED, LatentModel
from latent_nerfstudio.models.predicting import predict
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.pipelines.scene_views import SceneViews
from latent_nerfstudio.scene_encoder.network import Prediction
from latent_nerfstudio.scene_encoder.projection import spread_views

PULL = 1.0
"""Weight of the pull at one photo; see benchmarks/choices.md."""


class PredictedScenes:
    """Predictions of the scenes of a run, with a pull of a strength at one photo; zero for those of no photos."""

    def __init__(self, prediction: Prediction, photos: Int[Tensor, "scenes"], strength: float):
        self.prediction, self.known = prediction, photos > 0
        self.weights = strength * self.known / photos.clamp(min=1).float().square()

    @torch.no_grad()
    def put(self, nerf: TriplaneModel) -> None:
        """Makes those scenes of a NeRF that are predicted so."""
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
    """Predicts those scenes of a run that have perspective cameras alone; None where its bundle has no encoder."""
    encoder = model.scene_encoder
    if encoder is None:
        return None
    tell_enlarged(model.bundle_facts.get("scene_encoder"), model.latent_space.autoencoder.enlarge)
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


def tell_enlarged(facts: Any, ours: int) -> None:
    """Says where photos are enlarged otherwise than those that a scene encoder learned from, if its facts tell."""
    learned = facts.get(ENLARGED) if isinstance(facts, dict) else None
    if type(learned) is int and learned != ours:
        do = f"--pipeline.model.autoencoder.enlarge {learned} (of lns, --enlarge {learned}) is what it knows"
        CONSOLE.log(f"scene encoder: has learned from photos enlarged {learned} times, and here it is {ours}; {do}")
