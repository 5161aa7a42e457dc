"""Learns a shared bundle of objects of one kind, beginning with the autoencoder of a bundle that knows many.

    joint training  autoencoder, base planes and MLP, together with the scenes (`ns-train ig-ae`)
    decoder         all of these frozen, the scenes fitted anew, and a decoder learned on what they render
    scene encoder   where it is asked for: predicts these scenes of a few photos (`lns learn-scene-encoder`)
    measurement     scenes that took part in neither, fitted against the general bundle and against this one

A call that was ended goes on where it was, since each part is a run of its own in the output folder.
"""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.data.sources import sources_hash
from latent_nerfstudio.engine.scene_encoder import learn_scene_encoder, pipeline_of
from latent_nerfstudio.engine.trainer import LatentTrainer, LatentTrainerConfig, begin_afresh
from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import markdown_table
from latent_nerfstudio.files.hub import FILES, copy_files
from latent_nerfstudio.files.places import data_folder
from latent_nerfstudio.files.replacing import replacing_folder, sole_writer, write_text
from latent_nerfstudio.fleet.inventory import fit_inventory
from latent_nerfstudio.fleet.plan import find_names
from latent_nerfstudio.fleet.request import BundleRequest, FitRequest
from latent_nerfstudio.fleet.settings import EVAL_INTERVAL, enlarge_of, hash_for, keep_settings, kept_settings, resolved
from latent_nerfstudio.models.bundle_folder import AUTOENCODER, FOLDER
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.pipelines.scene_encoder_training import EncoderTraining
from latent_nerfstudio.scene_encoder.network import SceneEncoderConfig

WARM_UP_SHARE, WHOLE_SHARE = 0.2, 0.05
"""Shares of the steps of joint training that are warm-up, the first, and that see whole pictures, the last."""

FITTING_SHARE = 0.25
"""Share of the steps of the decoder's run in which its scenes are fitted."""

MEASURED_STEPS = 300
"""Steps in which each held-out scene is fitted against either bundle."""


@dataclass
class BundleJob(BundleRequest):
    """What is asked for, with folders from the root, a bundle that was read, and the names of the scenes."""

    general: SharedBundle = field(kw_only=True)
    """The bundle whose autoencoder it begins with."""
    joint_method: LatentTrainerConfig = field(kw_only=True)
    """Config of `ig-ae`."""
    fit_method: LatentTrainerConfig = field(kw_only=True)
    """Config of `latent-triplane`."""
    train: Tuple[str, ...] = field(kw_only=True)
    """Scenes that it is learned from."""
    held_out: Tuple[str, ...] = field(kw_only=True)
    """Scenes that it is measured on."""

    def settings(self) -> Dict[str, Any]:
        """What decides the bundle, as JSON values by name; a folder that holds another's work is refused."""
        own = {name: getattr(self, name) for name in ("steps", "decoder_steps", "scenes_per_batch", "seed")}
        own["photos"] = None if self.photos is None else str(self.photos)
        if self.encoder_steps:
            own["encoder_steps"] = self.encoder_steps
        scenes = {"train": list(self.train), "held_out": list(self.held_out)}
        sources = sources_hash(self.data, (*self.train, *self.held_out))
        general = hash_for(self.general, kept_settings(self.output))
        return {"format": "learn-bundle-v1", "bundle": general, **scenes, **own, "sources": sources}


def job_of(request: BundleRequest, joint_method: LatentTrainerConfig, fit_method: LatentTrainerConfig) -> BundleJob:
    data, output = data_folder(request.data), request.output.expanduser().resolve()
    general = read_shared_bundle(request.bundle, (kept_settings(output) or {}).get("bundle"))
    if general.autoencoder["is_identity"]:
        do = "name another --bundle, such as bundled"
        raise ValueError(problem("bundle", "one with an autoencoder to begin with", "one of RGB", do))
    train, held_out = split_scenes(find_names(data), request.hold_out)
    own: Dict[str, Any] = {**vars(request), "data": data, "output": output}
    own["photos"] = None if request.photos is None else request.photos.expanduser().resolve()
    own["scenes_per_batch"] = min(request.scenes_per_batch, len(train))
    methods: Dict[str, Any] = {"joint_method": joint_method, "fit_method": fit_method}
    return BundleJob(**own, **methods, general=general, train=train, held_out=held_out)


def split_scenes(names: Sequence[str], hold_out: int) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Scenes to learn from, two at least, and `hold_out` scenes evenly among all to measure on."""
    if not 1 <= hold_out <= len(names) - 2:
        do = "add scenes, or change --hold-out"
        raise ValueError(problem("hold_out", f"1 to {max(0, len(names) - 2)} of {len(names)} scenes", hold_out, do))
    chosen = {names[i] for i in np.linspace(0, len(names) - 1, hold_out + 2).round().astype(int)[1:-1]}
    return tuple(name for name in names if name not in chosen), tuple(name for name in names if name in chosen)


def learn_bundle(
    request: BundleRequest, joint_method: LatentTrainerConfig, fit_method: LatentTrainerConfig
) -> Dict[str, Any]:
    """Learns a bundle, by configs of `ig-ae` and `latent-triplane`, and measures it; returns what report.json holds."""
    job = job_of(request, joint_method, fit_method)
    with sole_writer(job.output, "bundle"):
        if job.encoder_steps:
            pipeline_of(job.data, job.general, job.latent_cache, scenes=job.train)  # for what it refuses
        keep_settings(job.output, job.settings())
        joint = train(joint_config(job))
        learned = train(decoder_config(job, joint))
        if job.encoder_steps:
            learned = train_encoder(job, learned)
        with replacing_folder(job.output / FOLDER, FILES["bundle"]) as folder:
            copy_files(learned / FOLDER, folder, FILES["bundle"])
        report = {"general": measure(job, job.general.folder, "general"), "own": measure(job, job.output, "own")}
        write_text(job.output / "report.json", json.dumps(report, indent=2))
        write_text(job.output / "report.md", report_page(job, report))
    return report


def joint_config(job: BundleJob) -> LatentTrainerConfig:
    """The run of `ig-ae`: its scenes share nothing with the general bundle but the autoencoder."""
    config = run_config(job, job.joint_method, "joint", job.steps)
    pipeline = config.pipeline
    pipeline.model.autoencoder.source = str(job.general.folder / AUTOENCODER)
    pipeline.joint_training_start = round(WARM_UP_SHARE * job.steps)
    pipeline.whole_pictures_start = round((1 - WHOLE_SHARE) * job.steps)
    pipeline.real_images = job.photos
    return config


def decoder_config(job: BundleJob, joint: Path) -> LatentTrainerConfig:
    """The run of `latent-triplane` against the joint training's bundle, which learns the decoder and nothing else."""
    config = run_config(job, job.fit_method, "decoder", job.decoder_steps)
    pipeline = config.pipeline
    pipeline.model.shared_bundle = str(joint)
    pipeline.align_scenes = False
    pipeline.rgb_alignment_start = round(FITTING_SHARE * job.decoder_steps)
    pipeline.whole_pictures_start = round((1 - WHOLE_SHARE) * job.decoder_steps)
    return config


def run_config(job: BundleJob, method: LatentTrainerConfig, name: str, steps: int) -> Any:
    """A method's config with the job's scenes, in a folder of the job's; it goes on from what is there."""
    config: Any = copy.deepcopy(method)
    config.output_dir, config.experiment_name, config.timestamp = job.output / "runs", name, "latest"
    config.max_num_iterations, config.vis, config.machine.seed = steps, "tensorboard", job.seed
    config.steps_per_save, config.write_bundle = 500, True
    manager = config.pipeline.datamanager
    manager.data, manager.latent_cache = None, job.latent_cache
    manager.dataparser = ScenesDataParserConfig(data=job.data, scenes=job.train)
    manager.scenes_per_batch = manager.images_per_batch = job.scenes_per_batch
    checkpoints = config.get_checkpoint_dir()
    config.load_dir = checkpoints if any(checkpoints.glob("step-*.ckpt")) else None
    return config


def train(config: LatentTrainerConfig) -> Path:
    """Trains a run, or what is left of it, and returns its folder."""
    folder = config.get_base_dir()
    if (folder / FOLDER).is_dir() and (folder / "training.json").is_file():
        return folder
    begin_afresh(config.machine.seed)
    trainer: LatentTrainer = config.setup()
    trainer.setup()
    trainer.train()
    return folder


def train_encoder(job: BundleJob, source: Path) -> Path:
    """Teaches the bundle of a run a scene encoder, which begins as that of the general bundle, and returns the folder
    of the bundle with it."""
    folder, training = job.output / "runs" / "scene_encoder", EncoderTraining(steps=job.encoder_steps, seed=job.seed)
    start = str(job.general.folder) if job.general.scene_encoder else None
    own: Dict[str, Any] = {"start_from": start, "latent_cache": job.latent_cache, "scenes": job.train}
    learn_scene_encoder(job.data, str(source), folder, training, SceneEncoderConfig(), held_out=0, **own)
    return folder


def measure(job: BundleJob, bundle: Path, name: str) -> Dict[str, float]:
    """PSNR, dB, of held-out scenes fitted against a bundle; photos are enlarged as against the general one."""
    places = job.output / "held_out"
    request = FitRequest(job.data, places / name, str(bundle), steps=MEASURED_STEPS, seed=job.seed)
    request.eval_interval, request.latent_cache = EVAL_INTERVAL, job.latent_cache
    request.enlarge = enlarge_of(request, job.general, kept_settings(places / "general"))
    tables = list(fit_inventory(resolved(request, job.fit_method), job.held_out))
    return {row.name: row.psnr for row in tables[-1].rows.values() if row.psnr is not None}


def report_page(job: BundleJob, report: Dict[str, Dict[str, float]]) -> str:
    """report.md: what each held-out scene has gained."""
    general, own = report["general"], report["own"]
    both = sorted(set(general) & set(own))
    rows = [(name, general[name], own[name]) for name in both]
    if both:
        means = [float(np.mean([values[name] for name in both])) for values in (general, own)]
        rows.append(("mean", means[0], means[1]))
    cells = [(name, f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}") for name, a, b in rows]
    head = [
        f"# A bundle learned from {len(job.train)} scenes",
        "",
        f"PSNR (dB) of held-out views of {len(job.held_out)} scenes that it has not seen, fitted in {MEASURED_STEPS} "
        f"steps against the bundle that it began with ({job.general.hash[:16]}) and against it.",
        "",
        *markdown_table(["scene", "general", "this one", "gain"], cells),
    ]
    missing = sorted(set(job.held_out) - set(both))
    end = ["", f"Not measured: {', '.join(missing)}; see held_out/*/status.json."] if missing else []
    return "\n".join([*head, *end]) + "\n"
