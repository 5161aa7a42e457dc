"""Trains the scene encoder of a shared bundle, which itself is fixed: planes predicted of a few photos of a scene must
show the latents of its other views."""

import dataclasses
import math
from dataclasses import dataclass
from itertools import islice
from typing import Any, Dict, Iterator, NamedTuple, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.placement import bounded_rays
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.latent_space.precision import autocast
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.predicting import composed, evaluating, look, photo_rays, predict, trace
from latent_nerfstudio.pipelines.scene_views import SceneViews
from latent_nerfstudio.scene_encoder.network import Prediction, SceneEncoder
from latent_nerfstudio.scene_encoder.projection import Photos

PHOTOS = (1, 1, 2, 2, 3, 4, 6, 8)
"""Photos of each scene in a step: one of these numbers at random."""

MEASURED = (1, 2, 4, 8)
"""Photos of each held-out scene that it is measured with."""

SHARE = "share"
"""Entry of an optimizer's groups: their share of the learning rate."""


@dataclass
class EncoderTraining:
    """How a scene encoder is trained."""

    steps: int = 6000
    """Steps in all; the learning rate falls to zero by half a cosine."""
    scenes_per_step: int = 4
    """Scenes a step, all with as many photos."""
    rays_per_scene: int = 384
    """Latent pixels of each scene's other views a step; those whose ray misses the box cost nothing."""
    learning_rate: float = 2e-3
    """Of AdamW, at its highest."""
    seed: int = 0
    """Of the network and of all draws."""
    known_rate: float = 1.0
    """Share of the learning rate for weights that another bundle's encoder gave; 0 leaves them as they are."""


class Task(NamedTuple):
    """What a step is given, and what it must show."""

    photos: Photos
    rays: RayBundle
    slots: Int[Tensor, "rays"]
    target: Float[Tensor, "rays channels"]
    boxes: Float[Tensor, "scenes 2 3"]


def draw_task(views: SceneViews, scenes: Int[Tensor, "some"], config: EncoderTraining, step: int) -> Task:
    """Photos of a few of the given scenes, and pixels of their other views; a function of seed and step. All photos
    have the size of one picture drawn at random; if a scene has too few of that size, all scenes give fewer."""
    draw = torch.Generator().manual_seed(config.seed * 1_000_003 + step)

    def shuffled(values: Tensor) -> Tensor:
        return values[torch.randperm(len(values), generator=draw)]

    order = shuffled(scenes).tolist()
    size = views.sizes[shuffled(views.paired(order[0]))[0]]
    wanted = int(shuffled(torch.tensor(PHOTOS))[0])
    every = ((scene, shuffled(views.alike(scene, size))) for scene in order)
    enough = (pair for pair in every if len(pair[1]) > 1)
    drawn, own = zip(*islice(enough, config.scenes_per_step), strict=True)
    count = min([wanted, *(len(members) - 1 for members in own)])
    pixels = []
    for members in own:
        others = members[count:]
        chosen = others[torch.randint(len(others), (config.rays_per_scene,), generator=draw)]
        inside = torch.randint(int(size.prod()), (config.rays_per_scene,), generator=draw)
        pixels.append(views.table.starts[chosen] + inside)
    photos = views.photos(torch.stack([members[:count] for members in own]))
    # Rays of a quarter of the scenes do not end at their own box: later scenes may have none.
    is_bounded, is_turned = torch.rand(2, len(own), generator=draw) < torch.tensor([[0.75], [0.5]])
    boxes = views.boxes[list(drawn)].where(is_bounded.to(views.boxes.device)[:, None, None], views.box)
    quarters = is_turned * torch.randint(1, 4, (len(own),), generator=draw)
    rays, slots, target = views.target(pixels)
    return turned(Task(photos, bounded_rays(rays, boxes[slots]), slots, target, boxes), quarters, views.box)


def turned(task: Task, quarters: Int[Tensor, "scenes"], box: Float[Tensor, "2 3"]) -> Task:
    """A task with scenes turned about the vertical axis of the bundle's box, by quarter turns or, if the box is not
    square, by half turns. Photos stay as they are, so these are further scenes at no cost."""
    if not torch.allclose(box[1, 0] - box[0, 0], box[1, 1] - box[0, 1], rtol=1e-3):
        quarters = quarters // 2 * 2
    axes = torch.tensor([[[1.0, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]])
    turns = torch.eye(3).repeat(len(quarters), 1, 1)
    turns[:, :2, :2] = axes[quarters]
    turns, middle = turns.to(box), box.mean(dim=0)

    def moved(points: Float[Tensor, "*any 3"], turns: Float[Tensor, "*some 3 3"]) -> Float[Tensor, "*any 3"]:
        return (turns @ (points - middle)[..., None])[..., 0] + middle

    poses, of_rays = task.photos.poses, turns[task.slots]
    where = moved(poses[..., 3], turns[:, None])
    poses = torch.cat([turns[:, None] @ poses[..., :3], where[..., None]], dim=-1)
    directions = (of_rays @ task.rays.directions[..., None])[..., 0]
    rays = dataclasses.replace(task.rays, origins=moved(task.rays.origins, of_rays), directions=directions)
    corners = moved(task.boxes, turns[:, None])
    boxes = torch.stack([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    return task._replace(photos=task.photos._replace(poses=poses), rays=rays, boxes=boxes)


def rendered(model: LatentModel, prediction: Prediction, rays: RayBundle, slots: Int[Tensor, "rays"]) -> Tensor:
    """Latents of rays through predicted scenes; gradients flow to these."""
    nerf: Any = model.nerf
    return trace(nerf, composed(nerf, prediction), rays, slots).latents


@torch.no_grad()
def shown_of_channels(space: LatentSpace, latents: Float[Tensor, "n h w channels"]) -> Float[Tensor, "channels"]:
    """How strongly the decoder shows a change of each channel, 1 on average, at latents of a few pictures. Some
    channels show twenty times as much as others, so errors of latents alone say little about those of pictures."""
    if space.is_identity:
        return torch.ones(space.num_channels, device=latents.device)
    draw = torch.Generator().manual_seed(0)
    noise = 0.2 * torch.randn(latents.shape[:3], generator=draw).to(latents.device)
    height, width = (extent * space.downscale_factor for extent in latents.shape[1:3])
    before = space.decode(latents, height, width)
    moves = noise[..., None] * torch.eye(space.num_channels, device=noise.device)[:, None, None, None]
    squares = torch.stack([(space.decode(latents + move, height, width) - before).square().mean() for move in moves])
    return squares / squares.mean().clamp(min=1e-12)


def rate_at(step: int, config: EncoderTraining) -> float:
    """Learning rate of a step: a rise of 100 steps, then half a cosine down to zero."""
    return config.learning_rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def training_steps(
    encoder: SceneEncoder,
    optimizer: torch.optim.Optimizer,
    model: LatentModel,
    views: SceneViews,
    scenes: Int[Tensor, "some"],
    config: EncoderTraining,
    start: int = 0,
) -> Iterator[Tuple[int, float]]:
    """Trains an encoder; gives each step's number and its loss, weighted by what the decoder shows of latents."""
    some = views.alike(0, views.sizes[views.paired(0)[0]])[:4, None]
    shown = shown_of_channels(model.latent_space, views.photos(some).latents[:, 0].movedim(1, -1))
    encoder.train()
    model.train()  # samples of a ray are jittered
    for step in range(start, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = group[SHARE] * rate_at(step, config)
        torch.manual_seed(config.seed * 1_000_003 + step)  # of the samples' jitter, so that a resumed run goes on
        task = draw_task(views, scenes, config, step)
        losses = [
            ((rendered(model, prediction, task.rays, task.slots) - task.target).square() * shown).mean()
            for prediction in predictions(encoder, model, task)
        ]
        loss = torch.stack(losses).mean()
        if not bool(loss.isfinite()):
            raise FloatingPointError(problem(f"step {step}", "a finite loss", float(loss), "lower --learning-rate"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        yield step, float(losses[-1])


def predictions(encoder: SceneEncoder, model: LatentModel, task: Task) -> Iterator[Prediction]:
    """Predictions at first sight and after each look; gradients do not pass from one look to the one before."""
    with autocast("auto", task.target.device):
        prediction, known = encoder([task.photos], task.boxes)
    yield prediction
    for _ in range(encoder.config.looks):
        offset: Any = tuple(torch.rand(2).tolist())
        shown = photo_rays(model.latent_space, [task.photos], task.boxes, offset)
        prediction = look(encoder, model, prediction, known, shown)
        yield prediction


def measure(encoder: SceneEncoder, model: LatentModel, views: SceneViews, scenes: Sequence[int]) -> Dict[int, float]:
    """Mean squared error of held-out scenes' latents in views that were not given, by the number of given photos."""
    with evaluating(encoder), evaluating(model):
        errors = [errors_of(encoder, model, views, scene) for scene in scenes]
    return {count: sum(scene[count] for scene in errors) / len(errors) for count in MEASURED if errors}


@torch.no_grad()
def errors_of(encoder: SceneEncoder, model: LatentModel, views: SceneViews, scene: int) -> Dict[int, float]:
    """The errors of one scene. Given are the first photos in a fixed random order: eight, or all but one."""
    own = views.paired(scene)
    own = own[torch.randperm(len(own), generator=torch.Generator().manual_seed(7))]
    own = views.alike(scene, views.sizes[own[0]])
    most = min(max(MEASURED), len(own) - 1)
    pixels = (views.table.starts[own[most:], None] + torch.arange(int(views.sizes[own[0]].prod()))).flatten()
    rays, slots, target = views.target([pixels[:: max(1, len(pixels) // 2048)]])
    box, errors = views.boxes[scene : scene + 1], {}
    rays = bounded_rays(rays, box[slots])
    for count in MEASURED:
        prediction = predict(model, [views.photos(own[None, : min(count, most)])], box, encoder)
        errors[count] = float((rendered(model, prediction, rays, slots) - target).square().mean())
    return errors
