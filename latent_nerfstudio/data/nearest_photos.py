"""The training photo taken nearest to a camera, and a pose that shows a scene well."""

import math
from functools import lru_cache
from typing import Tuple

import numpy as np
import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datasets.base_dataset import InputDataset
from torch import Tensor

from latent_nerfstudio.data.latent_datamanager import scene_indices
from latent_nerfstudio.latent_space.latent_space import as_float, over_background
from latent_nerfstudio.latent_space.resolution import resized

KEPT = 16
"""Photos that are kept decoded."""

TALLEST = 720
"""Rows that a kept photo has at most."""

ELEVATION = math.radians(25)
"""Height above the horizon of the view that a scene is first shown from."""

FORWARD = 0.1
"""Share of the way to the scene by which that view is nearer than its photo, whose frustum would else hide it."""


class NearestPhotos:
    """Reads photos of a dataset when they are asked for; those with an alpha channel over a background."""

    def __init__(self, dataset: InputDataset, background: Float[Tensor, "3"]) -> None:
        self.dataset, self.background = dataset, background
        self.photo = lru_cache(KEPT)(self.read)  # nothing is kept of what the viewer breaks off
        cameras = dataset.cameras
        poses = cameras.camera_to_worlds.float().cpu()
        self.positions, self.forwards = poses[:, :3, 3], -poses[:, :3, 2]
        self.scenes = torch.tensor(scene_indices(cameras))
        boxes = dataset.metadata.get("scene_boxes") or [dataset.scene_box.aabb.cpu()]
        self.centres = torch.tensor(np.stack(boxes), dtype=torch.float32).mean(dim=1)

    def nearest(self, camera: Cameras, scene: int) -> Float[Tensor, "height width 3"]:
        """The photo of a scene whose camera is nearest to another, in [0, 1]; see `nearest_camera`."""
        pose = camera.camera_to_worlds.reshape(-1, *camera.camera_to_worlds.shape[-2:])[0].float().cpu()
        own, (_, distance) = self.of_scene(scene), self.centre_and_distance(scene)
        at = nearest_camera(self.positions[own], self.forwards[own], pose[:3, 3], -pose[:3, 2], distance)
        return self.photo(int(own[at]))

    def centre_and_distance(self, scene: int) -> Tuple[Float[Tensor, "3"], float]:
        """The middle of a scene's box, and how far its photos are from there, the median."""
        centre = self.centres[min(scene, len(self.centres) - 1)]
        return centre, float((self.positions[self.of_scene(scene)] - centre).norm(dim=-1).median())

    def of_scene(self, scene: int) -> Int[Tensor, "photos"]:
        """The photos of a scene; all, where it has none."""
        own = (self.scenes == scene).nonzero()[:, 0]
        return own if len(own) else torch.arange(len(self.scenes))

    def read(self, index: int) -> Float[Tensor, "height width 3"]:
        """A photo in [0, 1], over the background, made smaller if it is large."""
        image = over_background(as_float(self.dataset.get_data(index, image_type="uint8")["image"]), self.background)
        if image.shape[0] > TALLEST:
            image = resized(image, TALLEST, round(image.shape[1] * TALLEST / image.shape[0]))
        return image

    def start(self, scene: int) -> Tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], float]:
        """A view of a scene from a little above, near a photo: position, point looked at, vertical fov in radians."""
        own, (centre, distance) = self.of_scene(scene), self.centre_and_distance(scene)
        offset = self.positions[own] - centre
        elevation = torch.asin((offset[:, 2] / offset.norm(dim=-1).clamp(min=1e-6)).clamp(-1, 1))
        chosen = int(own[(elevation - ELEVATION).abs().argmin()])
        position, forward = self.positions[chosen], self.forwards[chosen]
        way = max(float((centre - position) @ forward), 0.1 * distance) * forward
        camera = self.dataset.cameras[chosen]
        fov = 2 * math.atan(float(camera.height) / (2 * float(camera.fy)))
        return (position + FORWARD * way).numpy(), (position + way).numpy(), fov


def nearest_camera(
    positions: Float[Tensor, "cameras 3"],
    forwards: Float[Tensor, "cameras 3"],
    position: Float[Tensor, "3"],
    forward: Float[Tensor, "3"],
    distance: float,
) -> int:
    """The camera that is nearest to another, by the distance between them and between the points ahead of them at
    `distance`. That is how far away what they look at is, and weighs turning against moving."""
    moved = (positions - position).square().sum(dim=-1)
    ahead = (positions + distance * forwards - position - distance * forward).square().sum(dim=-1)
    return int((moved + ahead).argmin())
