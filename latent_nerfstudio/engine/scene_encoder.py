"""A run that teaches a shared bundle its scene encoder: `lns learn-scene-encoder`."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Collection, Dict, Optional, Sequence, Set, Tuple

import torch
import torch.nn.functional as F
from nerfstudio.utils.rich_utils import CONSOLE

from latent_nerfstudio.data.latent_datamanager import LatentDataManager, LatentDataManagerConfig
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, find_scenes
from latent_nerfstudio.data.sources import longest_side, sources_hash
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.replacing import appending, replacing_file, sole_writer
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.cameras import check_pinhole
from latent_nerfstudio.models.bundle_encoder import new_scene_encoder, read_scene_encoder, sizes_of, write_scene_encoder
from latent_nerfstudio.models.checkpoint_notes import ENLARGED
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline, LatentPipelineConfig
from latent_nerfstudio.pipelines.scene_encoder_training import SHARE, EncoderTraining, measure, training_steps
from latent_nerfstudio.pipelines.scene_views import SceneViews
from latent_nerfstudio.scene_encoder.network import SceneEncoder, SceneEncoderConfig

STATE = "scene_encoder_training.pt"
"""What a run goes on from."""

LOG = "scene_encoder_training.jsonl"
"""A line every `KEPT_EVERY` steps: step, mean loss, seconds, and held-out errors by the number of photos."""

KEPT_EVERY = 250
"""Steps between states."""


def learn_scene_encoder(
    data: Path,
    source: str,
    output: Path,
    training: EncoderTraining,
    sizes: SceneEncoderConfig,
    held_out: int = 8,
    start_from: Optional[str] = None,
    latent_cache: str = "disk",
    enlarge: Optional[int] = None,
    scenes: Tuple[str, ...] = (),
) -> Path:
    """Teaches the bundle `source` a scene encoder of all or some scenes of a folder and writes the bundle with it as
    OUTPUT/shared_bundle; goes on where an earlier call with the same arguments ended. The last `held_out` scenes by
    name are measured on; it begins as the encoder of `start_from`, where shapes agree."""
    bundle = read_shared_bundle(source)
    enlarge = bundle.usual_enlarge(longest_side(find_scenes(data))) if enlarge is None else enlarge
    torch.manual_seed(training.seed)
    encoder = new_scene_encoder(bundle, sizes)
    pipeline = pipeline_of(data, bundle, latent_cache, enlarge, scenes)
    names = pipeline.model.scene_names
    if len(names) - held_out < 2:
        expected = f"at least {held_out + 2} scenes, of which {held_out} are held out"
        raise ValueError(problem(data, expected, str(len(names)), "add scenes, or lower --hold-out"))
    known = set() if start_from is None else take_what_fits(encoder, start_from)
    if training.known_rate == 0 and known >= {name for name, _ in encoder.named_parameters()}:
        expected = "an encoder that lacks something to learn"
        raise ValueError(problem(f"start_from {start_from}", expected, "a whole one", "raise --known-rate"))
    encoder.to(pipeline.device)
    optimizer = optimizer_of(encoder, known, training)
    settings = {"bundle": bundle.scenes_hash, "scenes": names, "held_out": held_out, "sizes": sizes_of(sizes)}
    settings.update(training=dataclasses.asdict(training), sources=sources_hash(data, names), enlarge=enlarge)
    settings["start_from"] = start_from
    with sole_writer(output):
        begun = load_state(output / STATE, settings, encoder, optimizer)
        pipeline.datamanager.prepare(pipeline.space)
        views = SceneViews(pipeline.model, pipeline.datamanager)
        last = run(encoder, optimizer, pipeline, views, len(names) - held_out, training, settings, output, begun)
        facts = {"scenes": len(names) - held_out, "steps": training.steps, ENLARGED: enlarge, **last}
        return write_scene_encoder(bundle, encoder, output, facts)


def pipeline_of(
    data: Path, bundle: SharedBundle, latent_cache: str, enlarge: int = 1, scenes: Tuple[str, ...] = ()
) -> LatentPipeline:
    """A pipeline of all or some scenes, checked, not encoded yet, placed in the box of the frozen bundle."""
    parser = ScenesDataParserConfig(data=data, scenes=scenes)
    config = LatentPipelineConfig(
        datamanager=LatentDataManagerConfig(dataparser=parser, latent_cache=latent_cache),
        model=LatentModelConfig(autoencoder=AutoencoderConfig(enlarge=enlarge), shared_bundle=str(bundle.folder)),
        fit_scene_weights=0,
    )
    pipeline: LatentPipeline = config.setup(device="cuda" if torch.cuda.is_available() else "cpu")
    pipeline.requires_grad_(False)
    check_scenes(pipeline.datamanager, pipeline.model.scene_names)
    return pipeline


def check_scenes(manager: LatentDataManager, names: Sequence[str]) -> None:
    """Refuses scenes with cameras that are not perspective, and those without two training views of one size."""
    manager.prepare_pictures()
    for scene, name in enumerate(names):
        own = manager.picture_scenes == scene
        do = "undistort its photos (ns-process-data), or leave it out"
        check_pinhole(manager.cameras[own], f"scene '{name}'", do)
        counts = manager.picture_sizes[own].unique(dim=0, return_counts=True)[1]
        if int(counts.max()) < 2:
            got = f"{int(own.sum())}, none of the size of another" if int(own.sum()) > 1 else "one"
            raise ValueError(problem(f"scene '{name}'", "at least two training views of one size", got, "leave it out"))


def run(
    encoder: SceneEncoder,
    optimizer: torch.optim.Optimizer,
    pipeline: LatentPipeline,
    views: SceneViews,
    learned: int,
    training: EncoderTraining,
    settings: Dict[str, Any],
    output: Path,
    begun: Dict[str, Any],
) -> Dict[str, Any]:
    """Trains, measures and keeps its state; returns seconds and held-out errors of the last measurement."""
    model, losses, line = pipeline.model, [], begun
    since = time.monotonic() - line.get("seconds", 0.0)
    start = line.get("step", 0)
    for step, loss in training_steps(encoder, optimizer, model, views, torch.arange(learned), training, start):
        losses.append(loss)
        if (step + 1) % KEPT_EVERY and step + 1 < training.steps:
            continue
        errors = measure(encoder, model, views, range(learned, len(views.members)))
        line = {"step": step + 1, "loss": sum(losses) / len(losses), "seconds": round(time.monotonic() - since, 1)}
        line["held_out"] = {str(count): round(error, 5) for count, error in errors.items()}
        losses = []
        told = ", ".join(f"{count}: {error:.4f}" for count, error in errors.items()) or "none"
        CONSOLE.log(f"step {step + 1} of {training.steps}, loss {line['loss']:.4f}, held-out scenes by photos {told}")
        state = {"settings": json.dumps(settings), "network": encoder.state_dict(), "optimizer": optimizer.state_dict()}
        with replacing_file(output / STATE) as stream:
            torch.save({**state, **line}, stream)
        with appending(output / LOG) as log:
            log.write(json.dumps(line) + "\n")
    return {"seconds": line["seconds"], "held_out": line.get("held_out", {})}


def load_state(
    path: Path, settings: Dict[str, Any], encoder: SceneEncoder, optimizer: torch.optim.Optimizer
) -> Dict[str, Any]:
    """Loads a state that `run` wrote with the same settings; returns its line of the log, empty without a file."""
    if not path.is_file():
        return {}
    do = "give the same arguments, or another --output"
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        theirs = json.loads(state["settings"])
    except Exception as error:  # pickle's errors, zip's and the system's
        raise ValueError(problem(path, "a state of lns learn-scene-encoder", f"'{error}'", do)) from error
    ours, theirs = ({**kept, **kept.get("training", {}), "training": None} for kept in (settings, theirs))
    others = [name for name in ours if theirs.get(name, ours[name]) != ours[name]]
    if others:
        expected, got = (", ".join(f"{name} {kept[name]}" for name in others) for kept in (theirs, ours))
        raise ValueError(problem(path, expected, got, do))
    encoder.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return {name: state[name] for name in ("step", "seconds", "held_out") if name in state}


def optimizer_of(encoder: SceneEncoder, known: Collection[str], training: EncoderTraining) -> torch.optim.AdamW:
    """The optimizer of an encoder, some of whose weights are known already."""
    groups = [
        {"params": [p for name, p in encoder.named_parameters() if (name in known) == is_known], SHARE: share}
        for is_known, share in ((False, 1.0), (True, training.known_rate))
    ]
    for parameter in groups[1]["params"]:
        parameter.requires_grad_(training.known_rate > 0)
    return torch.optim.AdamW(groups, training.learning_rate, betas=(0.9, 0.98), weight_decay=1e-4)


def take_what_fits(encoder: SceneEncoder, source: str) -> Set[str]:
    """Gives an encoder another's weights of the same shapes, zero for inputs that lack there; returns their names."""
    other = read_scene_encoder(read_shared_bundle(source))
    if other is None:
        raise ValueError(problem(f"start_from {source}", "a bundle with a scene encoder", "none", "leave it out"))
    given, taken = other.state_dict(), set()
    for name, value in encoder.state_dict().items():
        theirs = given.get(name, torch.zeros(0))
        if theirs.shape == value.shape:
            value.copy_(theirs)
            taken.add(name)
        elif theirs.dim() == 2 and len(theirs) == len(value) and theirs.shape[1] < value.shape[1]:
            value.copy_(F.pad(theirs, (0, value.shape[1] - theirs.shape[1])))
    return taken
