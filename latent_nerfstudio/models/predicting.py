"""Predicts scenes from posed photos: a first sight by a bundle's scene encoder, which is then corrected, look by look,
where its renders differ from the photos.

Axes: `scenes`, `photos` of each, `rays` of all of them, `kept` for those that meet the box, `samples` of a ray.
"""

from contextlib import contextmanager
from typing import Iterator, NamedTuple, Optional, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from latent_nerfstudio.fields.placement import bounded_rays
from latent_nerfstudio.fields.planes import PLANE_AXES, compose_planes
from latent_nerfstudio.kernels.triplane_torch import spread, texels_of
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.rendering import composite, for_all_rays, ray_weights
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.scene_encoder.correction import Missing
from latent_nerfstudio.scene_encoder.network import Prediction, SceneEncoder
from latent_nerfstudio.scene_encoder.projection import Photos, pixel_directions

LOOK_RAYS = 2048
"""Latent pixels of a scene that a look compares, shared by its photos within `PHOTO_RAYS`."""

PHOTO_RAYS = (256, 1024)
"""Latent pixels that a look compares in a photo, at least and at most."""

COUNTED = 1024
"""Sums over a look's latent pixels are scaled as if there were so many."""

OFFSETS = ((0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))
"""Where in their grid cells a look's pixels lie, down and across; each look takes another place."""


class Traced(NamedTuple):
    """Latents of rays through scenes and, of the rays that meet the box, positions of samples in [-1, 1]^3, their
    weights, and which scene each ray is of."""

    latents: Float[Tensor, "rays channels"]
    positions: Float[Tensor, "kept samples 3"]
    weights: Float[Tensor, "kept samples"]
    slots: Int[Tensor, "kept"]


class PhotoRays(NamedTuple):
    """Latent pixels of photos: their rays, which scene each is of, and its latent."""

    rays: RayBundle
    slots: Int[Tensor, "rays"]
    target: Float[Tensor, "rays channels"]


@torch.no_grad()
def predict(
    model: LatentModel,
    groups: Sequence[Photos],
    boxes: Float[Tensor, "scenes 2 3"],
    encoder: Optional[SceneEncoder] = None,
) -> Prediction:
    """Planes and weights of scenes from posed photos, grouped by size, in any order; by the bundle's scene encoder or
    another one. `boxes` are where each scene's rays end, in the units of the bundle's box."""
    encoder = encoder or model.scene_encoder
    assert encoder is not None
    with evaluating(model.nerf):
        prediction, known = encoder(groups, boxes)
        groups = [without_blind(encoder, photos) for photos in groups]
        for index in range(encoder.config.looks):
            shown = photo_rays(model.latent_space, groups, boxes, OFFSETS[index % len(OFFSETS)])
            prediction = look(encoder, model, prediction, known, shown)
    return prediction


def look(
    encoder: SceneEncoder, model: LatentModel, prediction: Prediction, known: Tensor, shown: PhotoRays
) -> Prediction:
    """A prediction corrected by latent pixels of its photos; gradients reach only the encoder."""
    prediction = Prediction(*(value.detach() for value in prediction))
    if not len(shown.slots):
        return prediction
    corrected = encoder.corrected(prediction, missing_of(model.nerf, prediction, shown), known)  # type: ignore[arg-type]
    is_shown = torch.bincount(shown.slots, minlength=len(known))[:, None, None, None, None] > 0
    return corrected._replace(micro_planes=corrected.micro_planes.where(is_shown, prediction.micro_planes))


def without_blind(encoder: SceneEncoder, photos: Photos) -> Photos:
    """Photos with masks that leave out those which see nothing of the bundle's box."""
    sees = encoder.seen_in(photos)[1].any(dim=2)[..., None]
    if bool(sees.all()):
        return photos
    masks = torch.ones_like(photos.latents[:, :, 0], dtype=torch.bool) if photos.masks is None else photos.masks
    return photos._replace(masks=masks & sees)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode within the block, so that ray samples are not jittered."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def photo_rays(
    space: LatentSpace,
    groups: Sequence[Photos],
    boxes: Float[Tensor, "scenes 2 3"],
    offset: Tuple[float, float] = OFFSETS[0],
) -> PhotoRays:
    """Latent pixels of photos that masks keep, one in each cell of a grid, at `offset` in [0, 1) down and across."""
    least, most = PHOTO_RAYS
    each = max(least, min(most, LOOK_RAYS // max(1, sum(map(used_of, groups)))))
    parts = [rays_of_group(space, photos, each, offset) for photos in groups]
    origins, directions, backgrounds, target, slots = (torch.cat(part) for part in zip(*parts, strict=True))
    rays = RayBundle(
        origins=origins,
        directions=directions,
        pixel_area=torch.ones_like(origins[:, :1]),
        camera_indices=slots[:, None],
        metadata={"background": backgrounds},
    )
    return PhotoRays(bounded_rays(rays, boxes[slots]), slots, target)


def used_of(photos: Photos) -> int:
    """The largest number of photos of a scene of which masks keep something."""
    if photos.masks is None:
        return photos.latents.shape[1]
    return int(photos.masks.flatten(2).any(dim=2).sum(dim=1).max())


def rays_of_group(
    space: LatentSpace, photos: Photos, each: int, offset: Tuple[float, float]
) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Origins, directions, background latents, latents and scenes of about `each` pixels of every photo."""
    scenes, count, _, height, width = photos.latents.shape
    stride = max(1.0, (height * width / each) ** 0.5)

    def pixels_of(side: int, share: float) -> Tensor:
        cells = max(1, round(side / stride))
        return ((torch.arange(cells, device=photos.latents.device) + share) * (side / cells)).long()

    places = torch.cartesian_prod(pixels_of(height, offset[0]), pixels_of(width, offset[1]))
    pixels = (..., places[:, 0], places[:, 1])
    directions = pixel_directions(photos.poses, photos.intrinsics, height, width)[pixels].mT
    background = space.background_at(places, torch.tensor([height, width], device=places.device).expand_as(places))
    values = (
        photos.poses[:, :, None, :, 3].expand_as(directions),
        directions,
        background.expand(scenes, count, -1, -1),
        photos.latents[pixels].mT,
        torch.arange(scenes, device=places.device)[:, None, None].expand(-1, count, len(places)),
    )
    usable = slice(None) if photos.masks is None else photos.masks[pixels].flatten()
    return tuple(value.flatten(0, 2)[usable] for value in values)  # type: ignore[return-value]


def missing_of(nerf: TriplaneModel, prediction: Prediction, shown: PhotoRays) -> Missing:
    """What latent pixels of photos tell of predicted planes, without gradients."""
    with torch.enable_grad():
        planes = composed(nerf, prediction).detach().requires_grad_()
        traced = trace(nerf, planes, shown.rays, shown.slots)
        (gradient,) = torch.autograd.grad((traced.latents - shown.target).square().sum(), planes)
    scenes, _, _, rows, cols = planes.shape
    slots = traced.slots[:, None].expand(traced.weights.shape).flatten()
    texels, shares = texels_of(traced.positions.detach().flatten(0, 1), slots, rows, cols, PLANE_AXES)
    weights = traced.weights.detach().flatten()
    sums = spread(torch.stack([weights, torch.ones_like(weights)], dim=1), texels, shares, scenes * 3 * rows * cols)
    of_all = COUNTED / torch.bincount(shown.slots, minlength=scenes).clamp(min=1)[:, None, None, None, None]
    seen, passed = of_all * sums.T.reshape(2, scenes, 3, 1, rows, cols)
    return Missing(of_all * gradient, seen, passed)


def composed(nerf: TriplaneModel, prediction: Prediction) -> Float[Tensor, "scenes 3 features rows cols"]:
    return compose_planes(prediction.micro_planes, nerf.field.base_planes, prediction.scene_weights)


def trace(
    nerf: TriplaneModel,
    planes: Float[Tensor, "scenes 3 features rows cols"],
    rays: RayBundle,
    slots: Int[Tensor, "rays"],
) -> Traced:
    """Renders rays through planes of scenes, in front of the rays' own background."""
    clipped, hit = nerf.clip(rays)
    kept = slots if hit is None else slots[hit] if len(hit) else slots[:1]
    samples = nerf.sampler(clipped)
    positions = nerf.normalize(samples.frustums.get_positions())
    density, channels = nerf.field(positions, kept[:, None], planes)
    weights = ray_weights(samples, density)
    outputs = for_all_rays(composite(samples, weights, channels), hit, rays, nerf.aabb)
    latents = outputs["latent"] + (1 - outputs["accumulation"]) * rays.metadata["background"]
    return Traced(latents, positions, weights, kept)
