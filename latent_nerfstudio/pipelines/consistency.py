"""How consistent a latent space is between views, as docs/consistency.md defines it: over latent pixels of held-out
views, rho = sum |E(x) - R(p)|^2 / sum |E(x) - mean|^2 of encoded photos E(x) and renders R(p) of a fitted tri-plane,
and -10 log10 rho over those of the object is the consistency in dB."""

import math
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from latent_nerfstudio.data.crops import differs, sees_object
from latent_nerfstudio.data.latent_cache import group_by
from latent_nerfstudio.data.latent_datamanager import scene_indices
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.latent_space.resolution import mask_of_latent
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline


class Tally(NamedTuple):
    """Sums over latent pixels: of |E(x) - R(p)|^2, of |E(x)|^2, and of E(x), a channel."""

    count: int
    error: float
    squares: float
    total: Float[Tensor, "channels"]


def tally(encoded: Float[Tensor, "pixels channels"], rendered: Float[Tensor, "pixels channels"]) -> Tally:
    encoded, rendered = encoded.double(), rendered.double()
    error, squares = (encoded - rendered).square().sum(), encoded.square().sum()
    return Tally(len(encoded), float(error), float(squares), encoded.sum(dim=0).cpu())


def residual(tallies: Iterable[Tally]) -> float:
    """rho = error / (squares - |total|^2 / count) over all; NaN where there are no pixels, or all have one value."""
    sums: Any = [sum(column) for column in zip(*tallies, strict=True)]
    count, error, squares, total = sums
    variation = squares - float(total.square().sum()) / max(1, count)
    return math.nan if variation <= 1e-8 * count * len(total) else error / variation


class View(NamedTuple):
    """What is measured on a view: over all latent pixels, over those of the object, and the PSNR of its decoded render
    and of decode(encode(photo)), the ceiling, dB."""

    everything: Tally
    object: Tally
    psnr: float = math.nan
    autoencoder_psnr: float = math.nan


@dataclass
class Numbers:
    """The consistency of a latent space on one scene, or on many."""

    consistency: float
    """-10 log10 of `residual_object`, dB."""
    residual_object: float
    """rho over the object's latent pixels of held-out views."""
    residual: float
    """rho over all latent pixels of held-out views."""
    train_residual_object: float
    """rho over the object's latent pixels of training views."""
    train_residual: float
    """rho over all latent pixels of training views."""
    psnr: float
    """Mean PSNR of the decoded renders of held-out views, dB."""
    autoencoder_psnr: float
    """Mean PSNR of decode(encode(photo)) of held-out views, dB: the ceiling; 100 for an exact one."""
    gap: float
    """The ceiling less `psnr`, dB: what the render of latents loses beyond the autoencoder."""


def numbers_of(held_out: Sequence[View], train: Sequence[View]) -> Numbers:
    rho = residual(view.object for view in held_out)
    psnr = sum(view.psnr for view in held_out) / len(held_out)
    ceiling = sum(view.autoencoder_psnr for view in held_out) / len(held_out)
    return Numbers(
        consistency=-10 * math.log10(rho) if rho > 0 else math.nan,
        residual_object=rho,
        residual=residual(view.everything for view in held_out),
        train_residual_object=residual(view.object for view in train),
        train_residual=residual(view.everything for view in train),
        psnr=psnr,
        autoencoder_psnr=ceiling,
        gap=ceiling - psnr,
    )


def has_background(photos: Sequence[Float[Tensor, "_ _ 3"]], color: Float[Tensor, "3"]) -> bool:
    """Whether most pixels along the borders of pictures have the background's colour, as of captures they have not."""
    edges = [edge for photo in photos for edge in (photo[0], photo[-1], photo[:, 0], photo[:, -1])]
    return bool(differs(torch.cat(edges), color).float().mean() < 0.5)


@torch.no_grad()
def measure_view(
    pipeline: LatentPipeline, camera: Cameras, picture: Dict[str, Any], backed: bool, decode: bool
) -> View:
    """Renders a view by fitted planes, and compares it with its photo, `image` and maybe `mask`. The object is before a
    background if `backed`, else every latent pixel is of it; PSNR is measured if `decode`."""
    model, space = pipeline.model, pipeline.space
    photo, kept = model.photo_and_mask(picture)
    encoded = space.encode(photo[None])
    rendered = model.renderer.latent_outputs(camera, None, ())["latent"]
    everywhere = torch.ones(encoded.shape[1:3], dtype=torch.bool, device=photo.device)
    mask = counted = everywhere if kept is None else mask_of_latent(kept[..., 0], space.downscale_factor)
    if backed:
        mask = counted & sees_object(photo[None], space.background_color, space.downscale_factor)[0]
    view = View(tally(encoded[0][counted], rendered[0][counted]), tally(encoded[0][mask], rendered[0][mask]))
    if not decode:
        return view
    render = space.decode(rendered, photo.shape[0], photo.shape[1])[0].clamp(0, 1)
    psnr, ceiling = (model.metrics.psnr(picture, photo, kept) for picture in (render, model.reconstruct(photo)))
    return view._replace(psnr=psnr, autoencoder_psnr=ceiling)


def spread(members: Sequence[int], count: int) -> List[int]:
    """So many members at most, evenly spaced."""
    count = min(count, len(members))
    return [members[(2 * i + 1) * len(members) // (2 * count)] for i in range(count)]


def measure_scene(pipeline: LatentPipeline, held_out: Sequence[int], train: Sequence[int]) -> List[List[View]]:
    """What is measured on one scene of a prepared pipeline: its held-out views, and as many of its training views."""
    data = pipeline.datamanager
    color = pipeline.space.background_color.cpu()
    backed = has_background([as_float(data.cached_eval[i]["image"]).cpu() for i in held_out], color)
    sets = (
        (data.cached_eval, data.eval_dataset, held_out, True),
        (data.cached_train, data.train_dataset, spread(train, len(held_out)), False),
    )
    return [
        [measure_view(pipeline, dataset.cameras[i : i + 1], pictures[i], backed, decode) for i in chosen]
        for pictures, dataset, chosen, decode in sets
    ]


def measure_scenes(pipeline: LatentPipeline) -> Dict[str, List[List[View]]]:
    """Held-out and training views of each scene of a fitted pipeline, by the scene's name."""
    pipeline.eval()
    data = pipeline.datamanager
    held_out, train = (group_by(scene_indices(d.cameras)) for d in (data.eval_dataset, data.train_dataset))
    names = pipeline.model.scene_names
    measured = {name: measure_scene(pipeline, held_out[i], train[i]) for i, name in enumerate(names)}
    pipeline.train()
    return measured
