"""Small things that are quick to build: autoencoders with random weights, ball scenes, and what is made of them."""

import gc
import json
import resource
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Type

import diffusers
import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.scene_box import SceneBox
from PIL import Image

from latent_nerfstudio.data.latent_datamanager import LatentDataManager, LatentDataManagerConfig
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.bundle_encoder import new_scene_encoder, write_scene_encoder
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.latent_model import LatentModel, LatentModelConfig
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.models.triplane import TriplaneModel, TriplaneModelConfig
from latent_nerfstudio.pipelines.igae_pipeline import IGAEPipeline, IGAEPipelineConfig
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline, LatentPipelineConfig
from latent_nerfstudio.scene_encoder.network import SceneEncoder, SceneEncoderConfig

TINTS = ((0.9, 0.2, 0.1), (0.1, 0.8, 0.3), (0.2, 0.3, 0.9))
"""Colours of the balls of different scenes."""

SHARED = {"macro_features": 3, "num_base_planes": 2}
"""Settings of a field whose scenes share base planes."""

SMALL_ENCODER = {"grid": 4, "photo_width": 8, "point_width": 4, "fine_width": 8, "width": 8, "inner_width": 8}
SMALL_ENCODER |= {"inner_blocks": 1, "looks": 2, "look_width": 8, "look_inner_width": 8, "look_blocks": 1}
"""Settings of a scene encoder that is quick."""


def saved(name: str, folder: Path, seed: int, **settings: Any) -> Path:
    """Writes one of diffusers' autoencoders, by the name of its class, with random weights."""
    torch.manual_seed(seed)
    getattr(diffusers, name)(**settings).save_pretrained(folder)
    return folder


def save_kl(
    folder: Path, levels: int = 3, channels: int = 4, seed: int = 0, name: str = "AutoencoderKL", **settings: Any
) -> Path:
    """Writes an AutoencoderKL with factor 2^(levels - 1)."""
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    sizes = {"block_out_channels": (4,) * levels, "layers_per_block": 1, "norm_num_groups": 2}
    own = {**blocks, **sizes, "mid_block_add_attention": False, **settings}
    return saved(name, folder, seed, latent_channels=channels, **own)


def save_flux2(folder: Path, **settings: Any) -> Path:
    """Writes an AutoencoderKLFlux2 with factor 4."""
    return save_kl(folder, name="AutoencoderKLFlux2", **settings)


def save_tiny(folder: Path, levels: int = 2, channels: int = 4, seed: int = 0, **settings: Any) -> Path:
    """Writes an AutoencoderTiny with factor 2^(levels - 1)."""
    sides = ("encoder", "decoder")
    own: Dict[str, Any] = {f"{side}_block_out_channels": (4,) * levels for side in sides}
    own |= {f"num_{side}_blocks": (1,) * levels for side in sides}
    return saved("AutoencoderTiny", folder, seed, latent_channels=channels, **own, **settings)


def save_dc(folder: Path, levels: int = 3, channels: int = 4, seed: int = 0, **settings: Any) -> Path:
    """Writes an AutoencoderDC, without blocks at full resolution, with factor 2^(levels - 1)."""
    own: Dict[str, Any] = {"latent_channels": channels}
    for side in ("encoder", "decoder"):
        own[f"{side}_block_out_channels"] = (48,) * levels
        own[f"{side}_layers_per_block"] = (0,) + (1,) * (levels - 1)
        own[f"{side}_qkv_multiscales"] = ((),) * levels
    return saved("AutoencoderDC", folder, seed, **own, **settings)


def poses_around(count: int, radius: float = 2.5, seed: int = 0) -> np.ndarray:
    """OpenGL camera-to-world matrices (count x 4 x 4) that look at the origin from random sides."""
    backwards = np.random.default_rng(seed).normal(size=(count, 3))
    backwards /= np.linalg.norm(backwards, axis=1, keepdims=True)
    right = np.cross([0.0, 0.0, 1.0], backwards)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3] = np.stack([right, np.cross(backwards, right), backwards, radius * backwards], axis=2)
    return poses


def camera_of(width: int, height: int, focal: float = 40.0, count: int = 1, scene: Optional[int] = None) -> Cameras:
    """Pinhole cameras around the origin whose principal point is a little off the middle."""
    poses = torch.tensor(poses_around(count)[:, :3], dtype=torch.float32)
    lens = {"fx": focal, "fy": focal * 1.1, "cx": width / 2 + 0.4, "cy": height / 2 - 0.3}
    own = {"camera_type": CameraType.PERSPECTIVE, "width": width, "height": height}
    metadata = None if scene is None else {"scene_index": torch.full((count, 1), scene)}
    return Cameras(poses, **lens, **own, metadata=metadata)


def camera_path_of(cameras: Cameras, height: int, width: int) -> Dict[str, Any]:
    """A camera path as Nerfstudio's viewer writes it, with fields of view of 60 degrees."""
    frames = []
    for pose in cameras.camera_to_worlds:
        matrix = torch.cat([pose, torch.tensor([[0.0, 0.0, 0.0, 1.0]])])
        frames.append({"camera_to_world": matrix.flatten().tolist(), "fov": 60.0, "aspect": width / height})
    size = {"camera_type": "perspective", "render_height": height, "render_width": width}
    return {**size, "camera_path": frames, "fps": 2, "seconds": 1, "smoothness_value": 0, "is_cycle": False}


def equirectangular(height: int, width: int, **settings: Any) -> Cameras:
    """A camera at the origin that looks everywhere, unless settings say otherwise."""
    size = {"cx": width / 2, "cy": height / 2, "width": width, "height": height}
    own = {"fx": width / 2, "fy": float(height), "camera_type": CameraType.EQUIRECTANGULAR, **size, **settings}
    return Cameras(torch.eye(4)[None, :3], **own)


def ball_image(pose: np.ndarray, tint: Sequence[float], width: int, height: int, focal: float) -> np.ndarray:
    """RGBA uint8 picture of a ball of radius 0.6 about the origin, lit from above, on a transparent background."""
    v, u = np.mgrid[:height, :width] + 0.5
    local = np.stack([(u - width / 2) / focal, -(v - height / 2) / focal, -np.ones_like(u)], axis=-1)
    directions = local @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    along = directions @ pose[:3, 3]
    under = along**2 - (pose[:3, 3] @ pose[:3, 3] - 0.36)
    normal = (pose[:3, 3] + directions * (-along - np.sqrt(under.clip(0)))[..., None]) / 0.6
    color = np.array(tint) * (0.7 + 0.3 * normal[..., 2:])
    return (np.concatenate([color, (under > 0)[..., None]], axis=-1).clip(0, 1) * 255).round().astype(np.uint8)


def write_ball(
    folder: Path,
    tint: Sequence[float] = TINTS[0],
    views: int = 6,
    width: int = 32,
    height: int = 32,
    mode: str = "RGBA",
    seed: int = 0,
    **top: Any,
) -> Path:
    """Writes a scene with `transforms.json` that shows a ball; view 0 is held out."""
    frames = []
    (folder / "images").mkdir(parents=True)
    for index, pose in enumerate(poses_around(views, seed=seed)):
        name = f"images/{index:04d}.png"
        Image.fromarray(ball_image(pose, tint, width, height, focal=height)).convert(mode).save(folder / name)
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    intrinsics = {"fl_x": height, "fl_y": height, "cx": width / 2, "cy": height / 2, "w": width, "h": height}
    box = [[-0.7, -0.7, -0.7], [0.7, 0.7, 0.7]]
    meta = {"camera_model": "OPENCV", **intrinsics, "aabb": box, **top, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(meta))
    return folder


def cube(side: float = 1.0) -> SceneBox:
    """The box [-side, side]^3."""
    return SceneBox(torch.tensor([[-side] * 3, [side] * 3]))


def small_nerf(**field: Any) -> TriplaneModelConfig:
    """A tri-plane NeRF that renders quickly."""
    settings: Dict[str, Any] = {"micro_features": 4, "resolution": 8, "hidden_width": 16, **field}
    return TriplaneModelConfig(num_samples=12, field=TriplaneFieldConfig(implementation="torch", **settings))


def triplane_of(
    config: Optional[TriplaneModelConfig] = None, num_scenes: int = 1, num_channels: int = 3, **kwargs: Any
) -> TriplaneModel:
    """A tri-plane NeRF in the box [-1, 1]^3."""
    torch.manual_seed(0)
    config = config or small_nerf()
    kwargs = {"num_scenes": num_scenes, "num_channels": num_channels, **kwargs}
    return config.setup(scene_box=cube(), num_train_data=1, **kwargs)


def latent_model_of(
    source: Any = "identity",
    names: Sequence[str] = ("a", "b"),
    background: Sequence[float] = (1.0, 1.0, 1.0),
    **settings: Any,
) -> LatentModel:
    """A latent model in the box [-1, 1]^3, its latent space fitted to a random picture."""
    torch.manual_seed(0)
    metadata = {"scene_names": list(names), "background_color": tuple(background)}
    settings = {"nerf": small_nerf(), **settings}
    config = LatentModelConfig(autoencoder=AutoencoderConfig(source=str(source)), **settings)
    model = config.setup(scene_box=cube(), num_train_data=1, metadata=metadata)
    fit_to_noise(model.latent_space)
    return model.eval()


def random_encoder(bundle: SharedBundle) -> SceneEncoder:
    """A small scene encoder for a bundle, of random weights."""
    torch.manual_seed(0)
    encoder = new_scene_encoder(bundle, SceneEncoderConfig(**SMALL_ENCODER))
    disturb(encoder.parameters(), 0.1)
    return encoder


def write_bundle_with_encoder(folder: Path, source: Any = "identity", **settings: Any) -> None:
    """A bundle as folder/plain, and the same with a scene encoder of random weights as folder/run."""
    model = latent_model_of(source, ["a"], nerf=small_nerf(**SHARED), **settings)
    bundle = read_shared_bundle(str(write_shared_bundle(folder / "plain", model, 1, {})))
    write_scene_encoder(bundle, random_encoder(bundle), folder / "run", {})


@torch.no_grad()
def disturb(parameters: Iterable[torch.Tensor], size: float = 0.05) -> None:
    """Adds noise of some size to parameters."""
    for parameter in parameters:
        parameter.add_(size * torch.randn_like(parameter))


def fit_to_noise(space: Any) -> None:
    """Fits a latent space to what the autoencoder makes of random pictures."""
    with torch.no_grad():
        raw = space.autoencoder.encode(torch.rand(4, 32, 32, 3, generator=torch.Generator().manual_seed(0)))
    space.fit(raw.flatten(0, 2))


def datamanager_of(data: Path, dataparser: Any = None, **settings: Any) -> LatentDataManager:
    """A datamanager on the CPU that keeps latents in memory."""
    dataparser = dataparser or ScenesDataParserConfig(data=data)
    settings = {"latent_cache": "memory", "rays_per_batch": 256, **settings}
    return LatentDataManagerConfig(dataparser=dataparser, **settings).setup(device="cpu", test_mode="val")


def pipeline_config_of(
    data: Path, source: Any = "identity", kind: Type[LatentPipelineConfig] = LatentPipelineConfig, **settings: Any
) -> LatentPipelineConfig:
    """A small pipeline's config, with arithmetic in float32."""
    settings = {"autoencoder_precision": "float32", **settings}
    manager = {"latent_cache": "memory", "rays_per_batch": 512, **settings.pop("datamanager", {})}
    nerf, bundle = settings.pop("nerf", small_nerf()), settings.pop("shared_bundle", None)
    model = LatentModelConfig(autoencoder=AutoencoderConfig(source=str(source)), nerf=nerf)
    model.shared_bundle = None if bundle is None else str(bundle)
    dataparser = ScenesDataParserConfig(data=data)
    return kind(datamanager=LatentDataManagerConfig(dataparser=dataparser, **manager), model=model, **settings)


def pipeline_of(data: Path, source: Any = "identity", **settings: Any) -> LatentPipeline:
    """A small pipeline on the CPU."""
    torch.manual_seed(0)
    return pipeline_config_of(data, source, **settings).setup(device="cpu", test_mode="val")


def prepared(pipeline: LatentPipeline) -> Any:
    """A pipeline that has its data and has fitted its latent space."""
    pipeline.prepare()
    return pipeline


def backward(pipeline: LatentPipeline, step: int) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Losses and metrics of a step of training, which leaves its gradients alone."""
    pipeline.train().zero_grad()
    _, losses, metrics = pipeline.get_train_loss_dict(step)
    sum(losses.values()).backward()
    return losses, metrics


def joint_config_of(data: Path, source: Any = "identity", **settings: Any) -> IGAEPipelineConfig:
    """The config of a small pipeline of joint training, of the scenes of `balls`."""
    manager = {"scenes_per_batch": 3, "images_per_batch": 4, **settings.pop("datamanager", {})}
    nerf = settings.pop("nerf", small_nerf(**SHARED))
    settings = {"joint_training_start": 3, "crop": None, **settings}
    config = pipeline_config_of(data, source, IGAEPipelineConfig, datamanager=manager, nerf=nerf, **settings)
    assert isinstance(config, IGAEPipelineConfig)
    return config


def joint_pipeline_of(data: Path, source: Any = "identity", **settings: Any) -> IGAEPipeline:
    """A small pipeline of joint training on the CPU."""
    torch.manual_seed(0)
    return joint_config_of(data, source, **settings).setup(device="cpu", test_mode="val")


def fit(pipeline: LatentPipeline, steps: Iterable[int], lr: float = 0.01) -> List[Dict[str, float]]:
    """Trains a pipeline through steps with Adam, its autoencoder more slowly; losses and metrics of each."""
    rates = {"encoder": 0.002, "decoder": 0.002}
    groups = [{"params": group, "lr": rates.get(name, lr)} for name, group in pipeline.get_param_groups().items()]
    optimizer = torch.optim.Adam(groups, eps=1e-15)
    pipeline.train()
    history = []
    for step in steps:
        _, losses, metrics = pipeline.get_train_loss_dict(step)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in {**losses, **metrics}.items()})
    return history


def spoil_latents(pipeline: LatentPipeline, scene: int) -> None:
    """Makes the latents of a scene NaN."""
    pipeline.prepare()
    table: Any = pipeline.datamanager.table
    table.values = table.values.float()
    table.values[table.scene_starts[scene] : table.scene_starts[scene + 1]] = torch.nan


def gradients(*tensors: Any) -> Tuple[bool, ...]:
    """Whether each has a gradient that is not zero."""
    return tuple(t.grad is not None and bool(t.grad.any()) for t in tensors)


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file can grow beyond some bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def living_tensors() -> int:
    """How many tensors there are in this process, those included that only a graph of gradients still holds."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))  # of millions of things, a few thousand kinds
    return sum(count for kind, count in kinds.items() if issubclass(kind, torch.Tensor))
