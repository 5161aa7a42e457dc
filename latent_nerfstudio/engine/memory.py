"""How much memory a run will need, before it starts: an estimate by what needs it, held against what is free."""

from collections import Counter
from typing import Callable, Dict, Mapping, Tuple

import torch
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from latent_nerfstudio.data.storage import free_host_bytes
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.triplane_field import parameter_bytes
from latent_nerfstudio.latent_space.cameras import size_of
from latent_nerfstudio.latent_space.precision import has_bfloat16
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline

FEATURE_BYTES = 5
"""Bytes of a step at its peak for each point and feature of a plane; measured, see `step_bytes`."""

HIDDEN_BYTES = 10
"""The same for each point and unit of the MLP's hidden layer."""

POINT_BYTES = 190
"""The same for each point, whatever the field's size."""

PLANE_COPIES = 6
"""Copies of the composed planes of a step's scenes at its peak: themselves, gradients, and the total variation's."""

ENCODING_COPIES = 5
"""Copies of what the encoder's first layer makes of a picture at the peak of encoding without gradients; measured as
4.6: 296 bytes a pixel for 16 channels in float32, pictures of 1024 and 1536 pixels a side alike."""

FEWER = "train fewer scenes (--max-scenes of the dataparser), or lower --pipeline.model.nerf.field.resolution"
STREAM = "set --pipeline.datamanager.latent-storage stream"
DO = {
    **{"planes": FEWER, "optimizer": FEWER, "latents": STREAM, "pictures": STREAM},
    "step": "lower --pipeline.datamanager.rays-per-batch, or --pipeline.datamanager.images-per-batch in RGB alignment",
    "encoding": "make the photos smaller, or lower --pipeline.datamanager.encode-batch-size",
    "autoencoder": "use a smaller autoencoder, or train without RGB alignment (--pipeline.rgb-alignment-start None)",
}
"""What helps where an item is the largest."""

Bytes = Counter[str]
"""Bytes by item: `planes`, `optimizer`, `latents`, `pictures`, `step`, `encoding`, `autoencoder`."""


def needed_bytes(pipeline: LatentPipeline) -> Tuple[Bytes, Bytes]:
    """Bytes that a run needs on its device, and beside it on the host; on a CPU both are one memory. Gradients of
    shared parameters are dense; those of scenes only have a step's rows, and count as part of the step."""
    model, data = pipeline.model, pipeline.datamanager
    step = step_bytes(pipeline)
    nerf, autoencoder = list(model.nerf.parameters()), list(pipeline.space.autoencoder.parameters())
    trained, scenes = (p for p in (*nerf, *autoencoder) if p.requires_grad), model.scene_parameters()
    device = Counter(
        planes=parameter_bytes(nerf),
        optimizer=3 * parameter_bytes(trained) - parameter_bytes(scenes),  # gradients, and Adam's two averages
        step=step,
        encoding=max(0, encoding_bytes(pipeline) - step),  # comes before the steps
        autoencoder=parameter_bytes(autoencoder),
    )
    pictures, latents = data_bytes(pipeline)
    host = Counter(latents=latents)
    on_device = torch.device(data.device).type == "cuda" and data.config.cache_images == "gpu"
    (device if on_device else host).update(pictures=pictures)
    return device, host


def encoding_bytes(pipeline: LatentPipeline) -> int:
    """Bytes that the largest training picture takes while it is encoded, with those that are encoded beside it."""
    autoencoder, data = pipeline.space.autoencoder, pipeline.datamanager
    widths = getattr(getattr(getattr(autoencoder, "vae", None), "config", None), "block_out_channels", None)
    if not widths:
        return 0
    cameras = data.train_dataset.cameras
    height, width = size_of(cameras[int((cameras.height * cameras.width).argmax())])
    count = min(len(cameras), autoencoder.at_once(data.config.encode_batch_size, height, width))
    number = 2 if has_bfloat16(autoencoder.device) else 4
    return ENCODING_COPIES * number * widths[0] * count * height * width * autoencoder.enlarge**2


def data_bytes(pipeline: LatentPipeline) -> Tuple[int, int]:
    """Bytes of all training pictures, and of their latents; none where they are read from disk."""
    space, data = pipeline.space, pipeline.datamanager
    if data.streams:
        return 0, 0
    heights, widths = data.train_dataset.cameras.height, data.train_dataset.cameras.width
    pixel = 3 * (4 if data.config.cache_images_type == "float32" else 1)
    factor = space.downscale_factor
    latent_pixels = int((-(-heights // factor) * -(-widths // factor)).sum())
    latent = pixel if space.is_identity else 2 * space.num_channels
    return int((heights * widths).sum()) * pixel, latent_pixels * latent


def step_bytes(pipeline: LatentPipeline) -> int:
    """Bytes that a step needs at its peak: copies of its scenes' planes, and the larger of what points take (bytes
    each) and the autoencoder's activations, which belong to different stages. For NeRFs other than tri-planes only the
    latter are known.

    The factors are those of the growth of the resident memory in a step of 8192 rays of 12 samples on a CPU: 957 bytes
    a point with 32 features and 64 hidden units, 891 with 16 features, 1600 with 128 units; with planes of 256 x 256
    texels a step grew by some 6 times their bytes."""
    nerf, space, data = pipeline.model.nerf, pipeline.space, pipeline.datamanager
    config, cameras = data.config, data.train_dataset.cameras
    largest = int((cameras.height * cameras.width).max()) // space.downscale_factor**2
    pictures = config.images_per_batch * autoencoder_bytes_an_image(pipeline, largest)
    if not isinstance(nerf, TriplaneModel):
        return pictures
    has_pictures = pipeline.second_stage_start is not None and not space.is_identity
    rays = max(config.rays_per_batch, config.images_per_batch * largest if has_pictures else 0)
    points = rays * (nerf.config.num_samples + nerf.config.num_importance_samples)
    field = nerf.config.field
    features = field.micro_features + (0 if nerf.field.base_planes is None else field.macro_features)
    count = len(pipeline.model.scene_names)
    planes = 4 * 3 * field.resolution**2 * features * min(config.scenes_per_batch or count, count)
    each = FEATURE_BYTES * features + HIDDEN_BYTES * field.hidden_width + POINT_BYTES
    return PLANE_COPIES * planes + max(points * each, pictures)


def check(needed: Mapping[str, int], available: int, where: str) -> str:
    """One line about an estimate, bytes by item, held against the bytes that a run may take on a device."""
    said, do = in_words(needed)
    if sum(needed.values()) <= available:
        return f"memory: about {said.replace(' GB', f' of {gigabytes(available)} GB on the {where}')}"
    expected = f"at most {gigabytes(available)} GB on the {where}"
    raise MemoryError(problem("memory", expected, f"an estimate of {said}", do))


def out_of_memory(pipeline: LatentPipeline, error: BaseException) -> MemoryError:
    """The error of a step that ran out of memory despite the estimate."""
    said, do = in_words(needed_bytes(pipeline)[0])
    return MemoryError(problem("memory", f"about {said}, as estimated", str(error).splitlines()[0], do))


def in_words(needed: Mapping[str, int]) -> Tuple[str, str]:
    """An estimate in words, its largest items first, and what helps against the largest."""
    items = sorted(((count, name) for name, count in needed.items() if count), reverse=True)
    parts = ", ".join(f"{name} {gigabytes(count)}" for count, name in items)
    return f"{gigabytes(sum(needed.values()))} GB ({parts})", DO[items[0][1] if items else "step"]


def gigabytes(count: int) -> str:
    """Bytes as GB (10^9), with two digits at least."""
    return f"{count / 1e9:.2f}" if count < 1e10 else f"{count / 1e9:.0f}"


def check_memory(pipeline: LatentPipeline) -> None:
    """Prints what a run will need, before its pictures are loaded; more than is free is an error."""
    device, host = needed_bytes(pipeline)
    kind = torch.device(pipeline.device)
    if kind.type == "cuda":
        available = torch.cuda.mem_get_info(kind)[0] + torch.cuda.memory_reserved(kind)
        CONSOLE.log(check(device, available, torch.cuda.get_device_name(kind)))
    else:
        host.update(device)
    own = [p for p in pipeline.parameters() if p.device.type == "cpu"]
    CONSOLE.log(check(host, free_host_bytes() + parameter_bytes(own), "host"))


def autoencoder_bytes_an_image(pipeline: LatentPipeline, latent_pixels: int) -> int:
    """Bytes of activations of decoding a picture, and of encoding it if trained; scaled up from 8 x 8 latent pixels."""
    space = pipeline.space
    if space.is_identity or pipeline.second_stage_start is None:
        return 0
    extent = 8 * space.downscale_factor
    latents = torch.zeros(1, 8, 8, space.num_channels, device=pipeline.device)
    image = torch.zeros(1, extent, extent, 3, device=pipeline.device)
    with pipeline.autocast():
        saved = saved_bytes(lambda: space.decode(latents.requires_grad_(), extent, extent))
        if space.trains_encoder:  # pictures are decoded twice, from the render and from their own latents
            saved = 2 * saved + saved_bytes(lambda: space.encode(image))
    return int(saved / 0.7 * latent_pixels / 64)  # at its peak a network takes more than autograd saves


def saved_bytes(function: Callable[[], Tensor]) -> int:
    """Bytes that autograd saves while a function runs: each storage once, without parameters."""
    seen: Dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Parameter):
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output that is saved with its own graph would keep itself alive, for ever

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()
    del result
    return sum(seen.values())
