"""Scenes as the scene encoder of a shared bundle predicts them: there fitting starts, and few photos hold it there."""

import time
from typing import List, Optional

import torch
from jaxtyping import Float, Int
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.data.pixels import is_plain_pinhole
from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.pipelines.scene_views import SceneViews
from latent_nerfstudio.scene_encoder.network import Prediction

PULL = 1.0
"""Weight of the pull at one photo; see benchmarks/choices.md."""

MOST_PHOTOS = 16
"""Photos that a scene is predicted from at most, evenly among those there are: more do not help."""


class PredictedScenes:
    """Predictions of all scenes of a run, one row each, with a pull whose strength is that at one photo."""

    def __init__(self, prediction: Prediction, photos: Int[Tensor, "scenes"], strength: float):
        self.prediction = prediction
        self.weights = strength / photos.float().square()

    @torch.no_grad()
    def put(self, nerf: TriplaneModel) -> None:
        """Makes the scenes of a NeRF the predicted ones."""
        for name, value in self.prediction._asdict().items():
            parameter = getattr(nerf.field, name)
            if parameter is not None:
                parameter.copy_(value)

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
    """Predicts every scene of a run from its training photos; None where its bundle has no encoder, or cameras are
    other than perspective ones."""
    encoder = model.scene_encoder
    if encoder is None:
        return None
    if not is_plain_pinhole(manager.latent_cameras):
        CONSOLE.log("scene encoder: left out, as it knows perspective cameras alone")
        return None
    begun, views = time.monotonic(), SceneViews(model, manager)
    encoder.to(model.device)
    parts: List[Prediction] = []
    for members in views.members:
        chosen = members[torch.linspace(0, len(members) - 1, min(len(members), MOST_PHOTOS)).round().long()]
        parts.append(Prediction(*(value.cpu() for value in encoder(views.groups(chosen)))))
    photos = torch.tensor([len(members) for members in views.members])
    CONSOLE.log(f"Scenes: {len(photos)} predicted from their photos in {time.monotonic() - begun:.1f} s")
    return PredictedScenes(Prediction(*map(torch.cat, zip(*parts, strict=True))), photos, PULL)
