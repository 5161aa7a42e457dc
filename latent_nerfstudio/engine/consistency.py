"""Fits every scene's latents with the same planes and budget, and measures what is left (`pipelines.consistency`). The
budget is part of the definition, apart from the methods' defaults, so that numbers stay comparable."""

import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from rich.progress import track

from latent_nerfstudio.data.latent_datamanager import LatentDataManagerConfig
from latent_nerfstudio.data.layouts.frames import SceneFrames, complete_splits
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, read_scenes
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.triplane import TriplaneModelConfig
from latent_nerfstudio.names import equal_parts
from latent_nerfstudio.pipelines.consistency import Numbers, measure_scenes, numbers_of
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline, LatentPipelineConfig

SCENES_AT_ONCE = 16
"""Scenes that are fitted together, at most; they share the tiny MLP."""

FEATURES, SAMPLES = 16, 24
"""F_mic, without base planes, so that a scene gains nothing by the company of others; and samples a ray."""

TOTAL_VARIATION = 1e-2
"""Weight of the planes' total variation."""

LEARNING_RATES = {"planes": 4e-2, "mlp": 5e-3}
"""Of each parameter group, annealed as in a run of latent supervision."""


@dataclass
class Budget:
    """What every latent space is given."""

    steps: int = 200
    """Steps of the optimiser for each group of at most 16 scenes."""
    rays_per_scene: int = 512
    """Latent pixels of a scene a step."""
    seed: int = 0
    """Of the planes, the MLP and all draws."""


@dataclass
class SpaceResult:
    """The consistency of one latent space."""

    source: str
    downscale_factor: int
    num_channels: int
    resolution: int
    """T: texels along a plane's side."""
    seconds: float
    together: Numbers
    """Over the views of all scenes."""
    scenes: Dict[str, Numbers]
    """Over the views of each scene."""


def check_scenes(data: Path, max_scenes: Optional[int], factors: Sequence[int]) -> List[SceneFrames]:
    """Reads the cameras of the first `max_scenes` scenes and refuses those without views of both splits, or with
    pictures smaller than the largest of the autoencoders' factors; no picture is read."""
    scenes = read_scenes(data, (), max_scenes)
    for scene in scenes:
        splits = complete_splits(scene.splits, len(scene), ScenesDataParserConfig.eval_interval)
        for split, kind in (("val", "held-out"), ("train", "training")):
            if not splits[split]:
                raise ValueError(problem(data, f"{kind} views in each scene", f"none in {scene.name}", "add some"))
        side = int(min(scene.widths.min(), scene.heights.min()))
        if side < max(factors):
            expected, do = f"pictures of at least {max(factors)} pixels a side", "take larger ones, or a smaller factor"
            raise ValueError(problem(data, expected, f"{side} in {scene.name}", do))
    return scenes


def plane_resolution(scenes: Sequence[SceneFrames], factor: int) -> int:
    """T: twice the longer side of the largest latent picture, which resolves what latents can show, within bounds."""
    side = max(int(max(scene.widths.max(), scene.heights.max())) for scene in scenes)
    return min(max(2 * -(-side // factor), 16), 64)


def pipeline_config(
    data: Path, names: Sequence[str], autoencoder: AutoencoderConfig, resolution: int, budget: Budget
) -> LatentPipelineConfig:
    """Latent supervision of micro planes."""
    field = TriplaneFieldConfig(micro_features=FEATURES, resolution=resolution, implementation="torch")
    return LatentPipelineConfig(
        datamanager=LatentDataManagerConfig(
            dataparser=ScenesDataParserConfig(data=data, scenes=tuple(names)),
            rays_per_batch=budget.rays_per_scene * len(names),
            scenes_per_batch=len(names),
            train_cameras_sampling_seed=budget.seed,
        ),
        model=LatentModelConfig(
            autoencoder=autoencoder,
            nerf=TriplaneModelConfig(num_samples=SAMPLES, total_variation_weight=TOTAL_VARIATION, field=field),
        ),
        train_decoder=False,
    )


def fit(pipeline: LatentPipeline, steps: int, description: str) -> None:
    """Latent supervision with Adam, on annealed learning rates; a function of the random state alone."""
    groups = pipeline.get_param_groups()
    rates: List[Any] = [{"params": groups[name], "lr": rate} for name, rate in LEARNING_RATES.items()]
    optimizer = torch.optim.Adam(rates, eps=1e-15)
    schedule = StagedSchedulerConfig(max_steps=steps).setup().get_scheduler(optimizer, lr_init=0.0)
    pipeline.train()
    for step in track(range(steps), description=description, transient=True):
        _, losses, _ = pipeline.get_train_loss_dict(step)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        schedule.step()


def measure_consistency(
    data: Path, scenes: Sequence[SceneFrames], autoencoder: AutoencoderConfig, budget: Budget
) -> SpaceResult:
    """Fits all scenes, group by group, and measures the latent space; on a CPU the numbers depend only on the budget.
    All groups share the normaliser of the first one, so that their latents can be added up."""
    started, device = time.monotonic(), "cuda" if torch.cuda.is_available() else "cpu"
    space: Any = autoencoder.setup()
    resolution = plane_resolution(scenes, space.downscale_factor)
    names, measured, state = [scene.name for scene in scenes], {}, None
    for group in equal_parts(names, -(-len(names) // SCENES_AT_ONCE)):
        torch.manual_seed(budget.seed)
        config = pipeline_config(data, group, autoencoder, resolution, budget)
        pipeline: LatentPipeline = config.setup(device=device, test_mode="val")
        if state is not None:
            pipeline.space.load_state_dict(state)
        pipeline.prepare()
        state = pipeline.space.state_dict()
        place = f"scenes {len(measured) + 1} to {len(measured) + len(group)} of {len(names)}"
        fit(pipeline, budget.steps, f"{for_markup(autoencoder.source)}, {place}")
        measured.update(measure_scenes(pipeline))
    return SpaceResult(
        source=autoencoder.source,
        downscale_factor=space.downscale_factor,
        num_channels=space.num_channels,
        resolution=resolution,
        seconds=round(time.monotonic() - started, 2),
        together=numbers_of(*(list(chain(*views)) for views in zip(*measured.values(), strict=True))),
        scenes={name: numbers_of(*views) for name, views in measured.items()},
    )
