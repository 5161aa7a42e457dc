"""Scenes of a few posed photos, as a bundle's scene encoder predicts them."""

import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from PIL import Image
from torch import Tensor

from latent_nerfstudio.api.codec import AT_ONCE, Images, as_colors, as_numbers, as_tensor, opaque
from latent_nerfstudio.api.scene_folder import check_fit
from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.data.latent_cache import encode_images, group_by
from latent_nerfstudio.data.validation import LARGEST, check_poses, check_positive
from latent_nerfstudio.errors import problem
from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.latent_space.autoencoder import check_enlarge
from latent_nerfstudio.latent_space.cameras import as_cameras, intrinsics_of
from latent_nerfstudio.latent_space.resolution import latent_cameras, latent_size, mask_of_latent
from latent_nerfstudio.models.bundle_start import placements_for
from latent_nerfstudio.models.latent_model import LatentModel, LatentModelConfig
from latent_nerfstudio.models.predicting import predict as predict_planes
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import check_name
from latent_nerfstudio.pictures import kept_pixels, mask_value, read_mask
from latent_nerfstudio.scene_encoder.projection import Photos, spread_views
from latent_nerfstudio.scene_files.model_scenes import ENLARGED, build_model

MASKS = "give one for each photo, or leave masks out"


@torch.no_grad()
def predict(
    bundle: SharedBundle,
    photos: Images,
    cameras: Cameras,
    masks: Optional[Sequence[Any]] = None,
    box: Any = None,
    name: str = "scene",
    enlarge: Optional[int] = None,
    device: Optional[torch.device] = None,
) -> Scenes:
    """See `Bundle.predict`."""
    flat = as_cameras(cameras).to("cpu")
    check_name(name)
    if bundle.scene_encoder is None:
        do = "teach it one with lns learn-scene-encoder, or fit the scene with lns fit-scenes"
        raise ValueError(problem(f"bundle {bundle.folder}", "a scene encoder", "none", do))
    own = None if box is None else as_box(box)
    pictures = as_photos(photos, bundle.background_color)
    check_photos(pictures, flat)
    kept = None if masks is None else as_masks(masks, pictures)
    tell_repeated(pictures, flat)
    config, height = LatentModelConfig(shared_bundle=str(bundle.folder)), int(flat.height.max())
    side = max(height, int(flat.width.max()))
    config.autoencoder.enlarge = bundle.usual_enlarge(side) if enlarge is None else enlarge
    check_enlarge(config.autoencoder.enlarge, bundle.autoencoder["downscale_factor"], "give another")
    placements = [Placement()] if own is None else placements_for(bundle, [name], [own])
    model = build_model(config, [name], bundle.box, bundle.background_color, image_height=height)
    model.to(device or torch.device("cpu"))
    model.place(placements)
    posed = posed_photos(model, pictures, flat, kept)  # type: ignore[arg-type]
    check_seen(model, [photos for _, photos in posed])
    groups = [photos._replace(latents=latents_of(model, [pictures[i] for i in chosen])) for chosen, photos in posed]
    for part, value in predict_planes(model, groups, model.ray_boxes())._asdict().items():
        parameter = getattr(model.nerf.field, part)
        if parameter is not None:
            parameter.copy_(value)
    flat.metadata = {"scene_index": torch.zeros(len(flat), 1, dtype=torch.long)}
    facts = {name: {ENLARGED: config.autoencoder.enlarge}} if config.autoencoder.enlarge > 1 else {}
    return Scenes(model, f"{len(pictures)} photos", bundle, training=flat, facts=facts)


def as_photos(photos: Images, background: Sequence[float]) -> List[Float[Tensor, "height width 3"]]:
    """Photos one by one in [0, 1], on the bundle's background where they are transparent, as those of files are."""
    if not isinstance(photos, (list, tuple)):
        numbers = as_numbers(photos)
        photos = list(numbers) if numbers.ndim == 4 else [numbers]
    return [as_photo(photo, f"photo {index}", background) for index, photo in enumerate(photos)]


def as_photo(photo: Any, where: str, background: Sequence[float]) -> Float[Tensor, "height width 3"]:
    """One photo, see `as_photos`."""
    numbers = as_numbers(photo)
    if numbers.ndim != 3 or numbers.shape[2] not in (3, 4) or not numbers.numel():
        got = f"{list(numbers.shape)} in {str(numbers.dtype).removeprefix('torch.')}"
        raise ValueError(problem(where, "[height, width, 3], or 4 with alpha", got, "put channels last"))
    return opaque(as_colors(numbers, where), background)


def as_masks(masks: Any, pictures: Sequence[Tensor]) -> List[Bool[Tensor, "height width"]]:
    """Where masks keep the photos that they belong to, one by one, see `as_mask`."""
    if isinstance(masks, (str, bytes, dict)) or not hasattr(masks, "__len__") or len(masks) != len(pictures):
        got = f"{len(masks)}" if isinstance(masks, (list, tuple)) else f"a {type(masks).__name__}"
        raise ValueError(problem("masks", f"a list, one for each of {len(pictures)} photos", got, MASKS))
    kept = [as_mask(mask, f"mask of photo {index}") for index, mask in enumerate(masks)]
    for index, (mask, picture) in enumerate(zip(kept, pictures, strict=True)):
        if mask.shape != picture.shape[:2]:
            expected = f"{list(picture.shape[:2])}, as the photo"
            raise ValueError(problem(f"mask of photo {index}", expected, list(mask.shape), MASKS))
    return kept


def as_mask(mask: Any, where: str) -> Bool[Tensor, "..."]:
    """Where a mask keeps its photo, as masks of files are read: an array, a tensor, a path or a picture of Pillow."""
    if isinstance(mask, (str, Path)):
        return torch.from_numpy(read_mask(Path(mask).expanduser()))
    value = mask_value(mask) if isinstance(mask, Image.Image) else mask
    expected = "an array [height, width], a tensor, a path or a picture of Pillow"
    return torch.from_numpy(kept_pixels(as_tensor(value, where, expected).float().numpy(force=True)))


def as_box(box: Any) -> Float[np.ndarray, "2 3"]:
    """The corners of a box, lower and upper, of numbers in any form."""
    expected = f"two corners [[x, y, z], [x, y, z]], the lower one first, of numbers up to {LARGEST:g}"
    corners = as_tensor(box, "box", expected).float().numpy(force=True)
    if corners.shape != (2, 3) or not (np.abs(corners) <= LARGEST).all() or not (corners[0] < corners[1]).all():
        raise ValueError(problem("box", expected, f"{box!r:.80}", "give these numbers, or leave it out"))
    return corners


def check_photos(pictures: Sequence[Tensor], cameras: Cameras) -> None:
    """Refuses photos that nothing can be predicted from; as they are summed up, one that is not finite spoils all."""
    if not len(pictures):
        raise ValueError(problem("photos", "at least one", "none", "give some"))
    if len(cameras) != len(pictures):
        expected, do = f"one for each of {len(pictures)} photos", "give those of the photos"
        raise ValueError(problem("cameras", expected, len(cameras), do))
    for index, picture in enumerate(pictures):
        check_fit(picture[None], cameras[index : index + 1], f"camera of photo {index}")
    poses, names = cameras.camera_to_worlds.numpy(), [f"photo {index}" for index in range(len(cameras))]
    check_poses(poses, names, "cameras")
    for name in ("fx", "fy"):
        check_positive(getattr(cameras, name)[:, 0].numpy(), name, names, "cameras")
    finite = torch.cat([cameras.cx, cameras.cy], dim=1).isfinite().all(dim=1)
    if not bool(finite.all()):
        where = f"cameras, cx and cy of '{names[int(finite.int().argmin())]}'"
        raise ValueError(problem(where, "finite numbers", "NaN or infinity", "leave it out"))


def tell_repeated(pictures: Sequence[Tensor], cameras: Cameras) -> None:
    """Warns of photos that are given more than once with one pose: each counts as often."""
    earlier: Dict[bytes, List[Tensor]] = {}  # by pose, so that pictures are compared where poses repeat alone
    repeated = 0
    for picture, pose in zip(pictures, cameras.camera_to_worlds, strict=True):
        known = earlier.setdefault(pose.numpy().tobytes(), [])
        repeated += any(torch.equal(picture, other) for other in known)
        known.append(picture)
    if repeated:
        text = f"photos: {repeated} of {len(pictures)} are there before, with the same camera"
        warnings.warn(f"{text}; each counts as often as it is given", stacklevel=4)


def posed_photos(
    model: LatentModel, pictures: Sequence[Tensor], cameras: Cameras, masks: Optional[Sequence[Tensor]]
) -> List[Tuple[List[int], Photos]]:
    """Which photos to take, of many those that stand far apart, of each size together, as a model's scene encoder takes
    them; the placement of its first scene moves their cameras. Their latents are still zeros that take no memory."""
    space, groups = model.latent_space, []
    placed = latent_cameras(model.placements[0].cameras(cameras), space.downscale_factor)
    intrinsics = intrinsics_of(placed)
    masks = None if masks is None else [mask_of_latent(torch.as_tensor(m), space.downscale_factor) for m in masks]
    shown = torch.tensor([masks is None or bool(masks[i].any()) for i in range(len(pictures))])
    shown = shown if bool(shown.any()) else ~shown  # then the caller is told
    indices = shown.nonzero()[:, 0]
    chosen = indices[spread_views(placed.camera_to_worlds[indices][..., 3])].tolist()
    for group in group_by([hash(tuple(pictures[i].shape)) for i in chosen]).values():
        members = [chosen[i] for i in group]
        height, width, _ = pictures[members[0]].shape
        size = latent_size(height, width, space.downscale_factor)
        latents = torch.zeros(()).expand(1, len(members), space.autoencoder.num_channels, *size)
        usable = None if masks is None else torch.stack([masks[i] for i in members])[None]
        parts = (latents, placed.camera_to_worlds[members].float()[None], intrinsics[members][None], usable)
        groups.append((members, Photos(*(part if part is None else part.to(model.device) for part in parts))))  # type: ignore[arg-type]
    return groups


def check_seen(model: LatentModel, groups: Sequence[Photos]) -> None:
    """Refuses photos, before they are encoded, of which none shows anything of the bundle's box."""
    encoder: Any = model.scene_encoder
    if encoder.sees(groups):
        return
    if encoder.sees([photos._replace(masks=None) for photos in groups]):
        side = model.latent_space.downscale_factor
        expected = f"some that keep latent pixels of the bundle's box, each of {side} x {side} pixels"
        raise ValueError(problem("masks", expected, "none that do", "have them keep more, or leave them out"))
    do = "check masks and cameras (Nerfstudio's axes: x right, y up, looking along -z), or give the scene's own box"
    raise ValueError(problem("photos", "some that see the bundle's box", "none that do", do))


def latents_of(model: LatentModel, pictures: Sequence[Tensor]) -> Float[Tensor, "1 photos channels rows cols"]:
    """Normalised latents of photos of one size."""
    raw = torch.stack(encode_images(pictures, model.latent_space.autoencoder, AT_ONCE))
    return model.latent_space.normalizer(raw.to(model.device)).permute(0, 3, 1, 2)[None]
