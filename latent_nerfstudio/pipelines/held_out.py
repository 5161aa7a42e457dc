"""PSNR of each scene's held-out views, cheap enough to be measured while training."""

from typing import TYPE_CHECKING, List

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_nerfstudio.data.latent_datamanager import scene_indices
from latent_nerfstudio.data.rays import pixel_rays
from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.latent_space.resolution import latent_cameras
from latent_nerfstudio.models.metrics import UNBOUNDED_RANGE

if TYPE_CHECKING:
    from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline

VIEWS = 2
"""Held-out views of a scene whose latents are measured; decoded, it is the first of them alone."""

PIXELS = 512
"""Latent pixels of a scene, from those views; always the same, so that their PSNR changes with the scene alone."""

SCENES_AT_ONCE = 16
"""Scenes that are rendered together."""


class HeldOutViews:
    """Held-out views of each scene, encoded once.

    Args:
        pipeline: prepared.

    Raises:
        ValueError: a scene without held-out views.
    """

    def __init__(self, pipeline: "LatentPipeline"):
        self.pipeline = pipeline
        self.pictures = pipeline.datamanager.cached_eval  # before the cameras, which undistortion changes
        self.dataset = pipeline.datamanager.eval_dataset
        names = pipeline.latent_model.scene_names
        self.views = chosen_views(scene_indices(self.dataset.cameras), names)
        factor = pipeline.space.downscale_factor
        self.cameras = latent_cameras(self.dataset.cameras, factor).to(pipeline.latent_model.device)
        self.samples = [] if pipeline.latent_model.renders_cameras else [self._sample(views) for views in self.views]

    def _sample(self, views: List[int]) -> "tuple[Tensor, Tensor]":
        """Places (view, row, column, height, width) and normalised latents of pixels of some views."""
        places, latents = [], []
        for view in views:
            encoded = self._encoded(view)
            height, width = encoded.shape[:2]
            generator = torch.Generator().manual_seed(view)
            pixels = torch.randint(height * width, (PIXELS // len(views),), generator=generator)
            size = torch.full_like(pixels, height), torch.full_like(pixels, width)
            places.append(torch.stack([torch.full_like(pixels, view), pixels // width, pixels % width, *size], dim=1))
            latents.append(encoded.flatten(0, 1)[pixels.to(encoded.device)])
        return torch.cat(places), torch.cat(latents)

    def _photo(self, view: int) -> Float[Tensor, "height width 3"]:
        return as_float(self.pictures[view]["image"]).to(self.pipeline.latent_model.device)

    def _encoded(self, view: int) -> Float[Tensor, "h w channels"]:
        return self.pipeline.space.encode(self._photo(view)[None])[0]

    @torch.no_grad()
    def psnr(self, scenes: Int[Tensor, "scenes"], decoded: bool) -> Float[Tensor, "scenes"]:
        """PSNR of scenes, dB: of latents as `latent_psnr`, or of one decoded view. Nothing random is drawn.

        Args:
            scenes: which.
            decoded: of the decoded view.
        """
        training = self.pipeline.training
        self.pipeline.eval()
        if decoded:
            errors = torch.stack([self._decoded_error(s) for s in scenes.tolist()])
            peak = 1.0
        else:
            parts = [self._latent_errors(part) for part in scenes.split(SCENES_AT_ONCE)]
            errors, peak = torch.cat(parts), latent_peak(self.pipeline)
        self.pipeline.train(training)
        return (10 * (peak**2 / errors.clamp(min=1e-10)).log10()).cpu()

    def _decoded_error(self, scene: int) -> Float[Tensor, ""]:
        view = self.views[scene][0]
        camera = self.dataset.cameras[view : view + 1].to(self.pipeline.latent_model.device)
        render = self.pipeline.latent_model.get_outputs_for_camera(camera)["rgb"]
        return (render - self._photo(view)).square().mean()

    def _latent_errors(self, scenes: Int[Tensor, "scenes"]) -> Float[Tensor, "scenes"]:
        """Mean squared error of latents: of the sampled pixels, or of a view of a NeRF that has no rays."""
        model = self.pipeline.latent_model
        if model.renders_cameras:
            views = [self.views[scene][0] for scene in scenes.tolist()]
            renders = [model.render_latents(self.dataset.cameras[v : v + 1].to(model.device))[0][0] for v in views]
            pairs = zip(renders, views, strict=True)
            return torch.stack([(render - self._encoded(view)).square().mean() for render, view in pairs])
        places = torch.cat([self.samples[scene][0] for scene in scenes.tolist()]).to(model.device)
        target = torch.stack([self.samples[scene][1] for scene in scenes.tolist()])
        rays = pixel_rays(self.cameras, places[:, :3])
        rays.metadata["background"] = self.pipeline.space.background_at(*places[:, 1:].unbind(dim=1))
        render = model(rays)["rgb"].view_as(target)
        return (render - target).square().flatten(1).mean(dim=1)


def chosen_views(scene_of_view: List[int], names: List[str]) -> List[List[int]]:
    """`VIEWS` held-out views of each scene, evenly spread, the middle one first.

    Raises:
        ValueError: a scene without held-out views.
    """
    chosen = []
    members = [[] for _ in names]
    for view, scene in enumerate(scene_of_view):
        members[scene].append(view)
    for name, views in zip(names, members, strict=True):
        if not views:
            do = "hold some out in the dataparser, or leave out --pipeline.plateau.every"
            raise ValueError(problem("plateau", f"held-out views of each scene, to measure '{name}'", "none", do))
        first = len(views) // 2
        chosen.append([views[(first + i * len(views) // VIEWS) % len(views)] for i in range(min(VIEWS, len(views)))])
    return chosen


def latent_peak(pipeline: "LatentPipeline") -> float:
    """The peak of `latent_psnr`: the normaliser's range, or `UNBOUNDED_RANGE`."""
    low, high = pipeline.space.value_range
    return UNBOUNDED_RANGE if low == -float("inf") else high - low
