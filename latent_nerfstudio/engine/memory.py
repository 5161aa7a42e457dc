"""How much memory a run will need, before it starts: an estimate by what needs it, held against what is free."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Tuple

import torch
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.data.storage import free_host_bytes
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.rows import parameter_bytes
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline

ADAM_AVERAGES = 2
"""Tensors of a parameter's size that Adam keeps."""

FEATURE_BYTES = 5
"""Bytes of a step at its peak for each point and feature of a plane; measured, see `step_bytes`."""

HIDDEN_BYTES = 10
"""The same for each point and unit of the MLP's hidden layer."""

POINT_BYTES = 190
"""The same for each point, whatever the field's size."""

PLANE_COPIES = 6
"""Copies of the composed planes of a step's scenes at its peak: themselves, gradients, and the total variation's."""

SAVED_SHARE = 0.7
"""Share of a convolutional network's memory at its peak that autograd has saved for the way back."""

DO = {
    "planes": "train fewer scenes (--max-scenes of the dataparser), lower --pipeline.model.nerf.field.resolution, or "
    "keep scenes beside a GPU on the host with --pipeline.model.nerf.field.scene-storage host",
    "pictures": "set --pipeline.datamanager.latent-storage stream",
    "step": "lower --pipeline.datamanager.rays-per-batch, or --pipeline.datamanager.images-per-batch in RGB alignment",
    "autoencoder": "use a smaller autoencoder, or train without RGB alignment (--pipeline.rgb-alignment-start None)",
}
"""What helps where an item is the largest."""

SAME_REMEDY = {"optimizer": "planes", "latents": "pictures"}
"""Items that the remedy of another one helps."""

Bytes = Dict[str, int]
"""Bytes by item: `planes`, `optimizer`, `latents`, `pictures`, `step`, `autoencoder`."""


@dataclass(frozen=True)
class Sizes:
    """What the memory of a run follows from; bytes are those of parameters themselves."""

    scenes: int = 1
    """Number of scenes."""
    scenes_per_step: int = 1
    """Scenes of a step."""
    scene_bytes: int = 0
    """Of the parameters of all scenes."""
    scenes_on_host: bool = False
    """Whether a run on a GPU keeps the scenes on the host."""
    shared_bytes: int = 0
    """Of the NeRF's other parameters."""
    trained_shared_bytes: int = 0
    """Of those of them that are trained."""
    autoencoder_bytes: int = 0
    """Of the autoencoder's parameters."""
    trained_autoencoder_bytes: int = 0
    """Of those of them that are trained."""
    picture_bytes: int = 0
    """Of all pictures."""
    latent_bytes: int = 0
    """Of all latents."""
    pictures_on_device: bool = False
    """Whether pictures are kept on the GPU."""
    is_streamed: bool = False
    """Whether pictures and latents are read from disk."""
    points: int = 0
    """Points that a step evaluates, at most."""
    features: int = 0
    """Features of a composed plane."""
    texels: int = 0
    """Texels of the three planes of a scene."""
    hidden: int = 0
    """Units of the MLP's hidden layer."""
    image_bytes: int = 0
    """Of the autoencoder's activations in a step."""


def estimate(sizes: Sizes) -> Tuple[Bytes, Bytes]:
    """Bytes that a run needs on its device, and on the host beside it; on a CPU the two share one memory.

    Adam keeps two averages of every trained parameter. Of parameters that all scenes share, the gradient is dense; that
    of the scenes has the rows of a step alone, and counts as part of the step.
    """
    nothing = 0
    trained = sizes.trained_shared_bytes
    scenes = {"planes": sizes.scene_bytes, "optimizer": ADAM_AVERAGES * sizes.scene_bytes}
    pictures = {"pictures": nothing if sizes.is_streamed else sizes.picture_bytes}
    device = {
        "planes": sizes.shared_bytes,
        "optimizer": (1 + ADAM_AVERAGES) * (trained + sizes.trained_autoencoder_bytes),
        "step": step_bytes(sizes),
        "autoencoder": sizes.autoencoder_bytes,
    }
    host = {"latents": nothing if sizes.is_streamed else sizes.latent_bytes}
    device, host = (device, total(host, scenes)) if sizes.scenes_on_host else (total(device, scenes), host)
    return (total(device, pictures), host) if sizes.pictures_on_device else (device, total(host, pictures))


def step_bytes(sizes: Sizes) -> int:
    """Bytes that a step needs at its peak, beside what is there all the time.

    Points times bytes a point, and the autoencoder's activations, which come in the other stage, so that the larger of
    the two counts; and copies of the scenes of the step. The factors are those of the growth of the resident memory in
    a step of 8192 rays of 12 samples on a CPU: 957 bytes a point with 32 features and 64 hidden units, 891 with 16
    features, 1600 with 128 units; and with planes of 256 x 256 texels, where a step grew by some 6 times their bytes.
    """
    each = FEATURE_BYTES * sizes.features + HIDDEN_BYTES * sizes.hidden + POINT_BYTES
    planes = 4 * sizes.texels * sizes.features * min(sizes.scenes_per_step, sizes.scenes)
    return PLANE_COPIES * planes + max(sizes.points * each, sizes.image_bytes)


def total(*parts: Mapping[str, int]) -> Bytes:
    """Sums of bytes, item by item."""
    return {name: sum(part.get(name, 0) for part in parts) for part in parts for name in part}


def check(needed: Bytes, available: int, where: str) -> str:
    """One line about an estimate.

    Args:
        needed: bytes by item.
        available: bytes that the run may take.
        where: name of the device, for the line.

    Raises:
        MemoryError: more is needed than is available.
    """
    items = sorted(((count, name) for name, count in needed.items() if count), reverse=True)
    parts = ", ".join(f"{name} {gigabytes(count)}" for count, name in items)
    if sum(needed.values()) <= available:
        return f"memory: about {gigabytes(sum(needed.values()))} of {gigabytes(available)} GB on the {where} ({parts})"
    largest = items[0][1]
    expected = f"at most {gigabytes(available)} GB on the {where}"
    got = f"an estimate of {gigabytes(sum(needed.values()))} GB ({parts})"
    raise MemoryError(problem("memory", expected, got, DO[SAME_REMEDY.get(largest, largest)]))


def out_of_memory(pipeline: LatentPipeline, error: BaseException) -> MemoryError:
    """The error of a step that did not fit after all, with the estimate and what helps."""
    needed = estimate(sizes_of(pipeline))[0]
    items = sorted(((count, name) for name, count in needed.items() if count), reverse=True)
    parts = ", ".join(f"{name} {gigabytes(count)}" for count, name in items)
    largest = items[0][1] if items else "step"
    expected = f"about {gigabytes(sum(needed.values()))} GB ({parts}), as estimated"
    got = str(error).splitlines()[0]
    return MemoryError(problem("memory", expected, got, DO[SAME_REMEDY.get(largest, largest)]))


def gigabytes(count: int) -> str:
    """Bytes as GB (10^9), with two digits at least."""
    return f"{count / 1e9:.2f}" if count < 1e10 else f"{count / 1e9:.0f}"


def check_memory(pipeline: LatentPipeline) -> None:
    """Prints what a run will need, before its pictures are loaded.

    Raises:
        MemoryError: more than is free.
    """
    sizes = sizes_of(pipeline)
    device, host = estimate(sizes)
    kind = torch.device(pipeline.device)
    if kind.type != "cuda":
        device, host = {}, total(device, host)
    else:
        available = torch.cuda.mem_get_info(kind)[0] + torch.cuda.memory_reserved(kind)
        CONSOLE.log(check(device, available, torch.cuda.get_device_name(kind)))
    own = [p for p in pipeline.parameters() if p.device.type == "cpu"]
    CONSOLE.log(check(host, free_host_bytes() + parameter_bytes(own), "host"))


def sizes_of(pipeline: LatentPipeline) -> Sizes:
    """The sizes of a run that is built but has loaded nothing yet."""
    model, space, data = pipeline.latent_model, pipeline.space, pipeline.datamanager
    config, cameras = data.config, data.train_dataset.cameras
    factor = space.downscale_factor
    pixels = int((cameras.height * cameras.width).sum())
    latent_pixels = int((-(-cameras.height // factor) * -(-cameras.width // factor)).sum())
    largest = int((cameras.height * cameras.width).max()) // factor**2
    picture = 3 * (4 if config.cache_images_type == "float32" else 1)
    rays = config.rays_per_batch
    if pipeline.second_stage_start is not None and not space.is_identity:
        rays = max(rays, config.images_per_batch * largest)
    autoencoder = list(space.autoencoder.parameters())
    return Sizes(
        scenes=len(model.scene_names),
        scenes_per_step=config.scenes_per_batch or len(model.scene_names),
        autoencoder_bytes=parameter_bytes(autoencoder),
        trained_autoencoder_bytes=trained_bytes(autoencoder),
        picture_bytes=pixels * picture,
        latent_bytes=latent_pixels * (picture if space.is_identity else 2 * space.num_channels),
        pictures_on_device=torch.device(data.device).type == "cuda" and config.cache_images == "gpu",
        is_streamed=data.streams,
        image_bytes=config.images_per_batch * autoencoder_bytes_an_image(pipeline, largest),
        **sizes_of_nerf(pipeline, rays),
    )


def sizes_of_nerf(pipeline: LatentPipeline, rays: int) -> Dict[str, Any]:
    """The fields of `Sizes` that the NeRF decides; of NeRFs other than tri-planes the parameters alone are known."""
    nerf = pipeline.latent_model.nerf
    every = list(nerf.parameters())
    if not isinstance(nerf, TriplaneModel):
        return {"shared_bytes": parameter_bytes(every), "trained_shared_bytes": trained_bytes(every)}
    field, config = nerf.field, nerf.config
    own: List[Parameter] = [p for p in (field.micro_planes, field.scene_weights) if p is not None]
    shared = [p for p in every if all(p is not one for one in own)]
    return {
        "scene_bytes": parameter_bytes(own),
        "scenes_on_host": any(p.device != torch.device(pipeline.device) for p in own),
        "shared_bytes": parameter_bytes(shared),
        "trained_shared_bytes": trained_bytes(shared),
        "points": rays * (config.num_samples + config.num_importance_samples),
        "features": config.field.micro_features + (0 if field.base_planes is None else config.field.macro_features),
        "texels": 3 * config.field.resolution**2,
        "hidden": config.field.hidden_width,
    }


def autoencoder_bytes_an_image(pipeline: LatentPipeline, latent_pixels: int) -> int:
    """Bytes of activations of decoding one picture, and of encoding it where the encoder is trained.

    Measured on a picture of 8 x 8 latent pixels; memory grows with the number of pixels.
    """
    space = pipeline.space
    if space.is_identity or pipeline.second_stage_start is None:
        return 0
    side = 8
    latents = torch.zeros(1, side, side, space.num_channels, device=pipeline.device)
    extent = side * space.downscale_factor
    image = torch.zeros(1, extent, extent, 3, device=pipeline.device)
    with pipeline.autocast():
        saved = saved_bytes(lambda: space.decode(latents.requires_grad_(), extent, extent))
        if space.trains_encoder:  # pictures are decoded twice, from the render and from their own latents
            saved = 2 * saved + saved_bytes(lambda: space.encode(image))
    return int(saved / SAVED_SHARE * latent_pixels / side**2)


def saved_bytes(function: Callable[[], Tensor]) -> int:
    """Bytes that autograd saves while a function runs; what is saved twice counts once, parameters not at all."""
    seen: Dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Parameter):
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output that is saved with its own graph would keep itself alive, for ever

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()
    del result
    return sum(seen.values())


def trained_bytes(parameters: List[Parameter]) -> int:
    """Bytes of those that are trained."""
    return parameter_bytes([p for p in parameters if p.requires_grad])
