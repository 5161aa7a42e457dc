"""`lns export-scene` and `lns import-scenes`: runs that the ns-* commands open, of one scene of a many-scene run, and
of scene files without any photos."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from latent_nerfstudio.cli.words import Overwrite, RunFolder, SceneFiles, SceneNames
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_folder, check_free
from latent_nerfstudio.names import check_known, chosen

if TYPE_CHECKING:
    from torch import Tensor

    from latent_nerfstudio.engine.runs import Run
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig
    from latent_nerfstudio.models.latent_model import LatentModel
    from latent_nerfstudio.models.shared_bundle import SharedBundle

METHOD = "latent-triplane"
"""Method of an imported run."""

TIMESTAMP = "imported"
"""What stands where ns-train writes the time."""

VIEWS = "views"
"""Folder of the rendered views within the run."""

NAMES = rf"[\w.-]+\.(yml|json|png|safetensors)|({VIEWS}|nerfstudio_models|pictures)/.*"
"""Names of the files of an imported run, as a pattern, and of what is made of it there."""

MOST_VIEWS = 1000
"""Views a scene at most."""


@dataclass
class ExportScene:
    """Writes one scene of a many-scene run as a run that all ns-* commands open."""

    source: RunFolder
    scene: str
    """Name of the scene."""
    output: Optional[Path] = None
    """Folder for runs; by default that of the many-scene run. The run is written where ns-train would put one of the
    scene alone: OUTPUT/SCENE/METHOD/TIMESTAMP."""

    def main(self) -> None:
        check_folder(self.output)
        print(f"Wrote {self.scene} to {export_scene(self.source, self.scene, self.output)}")


def export_scene(config_path: Path, scene: str, output_dir: Optional[Path] = None) -> Path:
    """Writes one scene of a run as a run of its own below `output_dir`, or beside it, and returns its config.yml."""
    from latent_nerfstudio.engine.checkpoints import load_state
    from latent_nerfstudio.engine.runs import open_run
    from latent_nerfstudio.files.replacing import replacing_folder

    run = open_run(config_path)
    names = run.scene_names()
    if not names:
        got = "one whose data know of one scene only"
        raise ValueError(problem(run.config_path, "a run of many scenes", got, "open it as it is"))
    check_known([scene], names, run.config_path)
    folder = (output_dir or Path(run.config.output_dir)).resolve() / scene / run.method / run.config.timestamp
    if folder.exists():
        raise FileExistsError(problem(folder, "nothing there", "a run", "remove it, or name another --output"))
    checkpoint = run.latest_checkpoint()
    state = load_state(checkpoint)
    state["pipeline"] = scene_state(state["pipeline"], names.index(scene), len(names), checkpoint)
    state["optimizers"] = {}
    config = scene_config(run, scene, folder, state["pipeline"])
    with replacing_folder(folder) as writing:
        fill_run(writing, config, state, scene_summary(run, scene))
    return folder / "config.yml"


def scene_state(state: Dict[str, "Tensor"], index: int, count: int, checkpoint: Path) -> Dict[str, "Tensor"]:
    """The pipeline's state with one scene's rows alone, copied so that they alone are saved, and its seconds."""
    from latent_nerfstudio.fields.triplane_field import SCENE_PARAMETERS
    from latent_nerfstudio.models.checkpoint_notes import PLACEMENTS, SCENES
    from latent_nerfstudio.pipelines.saved_state import SECONDS

    rows_of_scenes = (*(f"field.{name}" for name in SCENE_PARAMETERS), PLACEMENTS)
    result = {**state, SECONDS: state[SECONDS] / count} if SECONDS in state else dict(state)
    result.pop(f"_model.{SCENES}", None)
    for name, value in state.items():
        if name.endswith(rows_of_scenes):
            if len(value) != count:
                expected, do = f"{count} scenes, as the run's data have", "restore the data that it was trained on"
                raise ValueError(problem(checkpoint, expected, f"{len(value)} in {name}", do))
            result[name] = value[index : index + 1].clone()
    return result


def scene_config(run: "Run", scene: str, folder: Path, state: Dict[str, "Tensor"]) -> "LatentTrainerConfig":
    """The run's config for one scene, with absolute paths, and the box that the planes were trained in."""
    from latent_nerfstudio.engine.starting import make_absolute

    config: Any = copy.deepcopy(run.config)
    config.output_dir, config.experiment_name = folder.parents[2], scene
    config.load_dir = config.load_checkpoint = config.load_config = config.load_step = None
    data = run.data()
    if not data.exists():
        do = "call this from the folder that ns-train was called from"
        raise FileNotFoundError(problem(data, f"the data of {run.config_path}", "nothing there", do))
    manager = config.pipeline.datamanager
    config.data = manager.data = manager.dataparser.data = data.resolve()
    manager.dataparser.scenes, manager.dataparser.max_scenes = (scene,), None
    box = next((value for name, value in state.items() if name.endswith("nerf.aabb")), None)
    if box is not None:
        manager.dataparser.box, manager.dataparser.scene_scale = tuple(box.flatten().tolist()), 1.0
    if hasattr(config.pipeline.model, "scene"):
        config.pipeline.model.scene = ""  # the one that is left
    make_absolute(config)
    return config


def scene_summary(run: "Run", scene: str) -> Dict[str, Any]:
    """The run's training.json for one scene; empty if it has none. It goes to strangers, so it names no path."""
    from latent_nerfstudio.scene_files.scene_file import public_facts

    if not run.training:
        return {}
    result = {**run.training, "scenes": [scene], "exported_from": run.folder.resolve().name}
    result["seconds"] = run.training.get("seconds_per_scene", run.training.get("seconds"))
    facts = result.pop("facts", None)  # of an imported run, by scene
    if isinstance(facts, dict) and isinstance(facts.get(scene), dict):
        result["facts"] = {scene: public_facts(facts[scene])}
    return result


def fill_run(folder: Path, config: "LatentTrainerConfig", state: Dict[str, Any], summary: Dict[str, Any]) -> None:
    """Writes the files of a run into an empty folder."""
    import torch
    import yaml

    models = folder / config.relative_model_dir
    models.mkdir(parents=True)
    torch.save(state, models / f"step-{int(state['step']):09d}.ckpt")
    (folder / "config.yml").write_text(yaml.dump(config), encoding="utf-8")
    if summary:
        (folder / "training.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")


@dataclass
class ImportScenes:
    """Writes scene files as a run that ns-viewer, ns-render and ns-eval open. Views rendered by the scenes themselves
    stand in for photos."""

    source: SceneFiles
    bundle: str
    """Shared bundle that the scenes belong to: a run, the bundle's folder, `bundled`, or a Hub id."""
    output: Path
    """Folder of the run, which is written where ns-train would put it: OUTPUT/latent-triplane/imported."""
    scenes: SceneNames = ()
    views: int = 4
    """Views rendered of each scene, from the upper hemisphere; the first one is held out."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        if not 2 <= self.views <= MOST_VIEWS:
            raise ValueError(problem("views", f"2 to {MOST_VIEWS}, of which one is held out", self.views, "try 4"))
        from latent_nerfstudio.models.shared_bundle import read_shared_bundle
        from latent_nerfstudio.scene_files.model_scenes import facts_by_name
        from latent_nerfstudio.scene_files.sources import scenes_with_bundle

        folder = self.output.resolve() / METHOD / TIMESTAMP
        check_free([folder], self.overwrite)
        bundle, scenes = scenes_with_bundle(self.source, lambda one: read_shared_bundle(self.bundle, one.bundle_hash))
        facts = facts_by_name(scenes, bundle, "scenes", "leave one of the files out")
        names = chosen(self.scenes, sorted(facts), ", ".join(map(str, self.source)))  # in the dataparser's order
        import_scenes(self, folder, bundle, {name: facts[name] for name in names})
        print(f"Wrote {len(names)} scene(s) as a run: {folder / 'config.yml'}")


def import_scenes(
    command: ImportScenes, folder: Path, bundle: "SharedBundle", facts: Dict[str, Dict[str, Any]]
) -> None:
    """Writes the run, whole or not at all."""
    import torch

    from latent_nerfstudio.files.replacing import replacing_folder
    from latent_nerfstudio.scene_files.model_scenes import build_model, put_scenes, set_rendering
    from latent_nerfstudio.scene_files.sources import read_scenes_from

    config = run_config(folder, bundle)
    set_rendering(config.pipeline.model, bundle, facts)
    model = build_model(config.pipeline.model, list(facts), bundle.box, bundle.background_color)  # type: ignore[arg-type]
    put_scenes(model, (scene for scene in read_scenes_from(command.source, bundle) if scene.name in facts))
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    with replacing_folder(folder, NAMES) as writing:
        render_views(writing / VIEWS, model, bundle, facts, command.views)
        weights = {f"_model.{name}": value.cpu() for name, value in model.state_dict().items()}
        state = {"step": 0, "pipeline": weights, "optimizers": {}, "schedulers": {}, "scalers": {}}
        fill_run(writing, config, state, summary(model, facts))


def run_config(folder: Path, bundle: "SharedBundle") -> "LatentTrainerConfig":
    """The method's config with the bundle, and with the views as data."""
    from nerfstudio.configs.method_configs import all_methods

    from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, color_name

    config: Any = copy.deepcopy(all_methods[METHOD])
    config.output_dir, config.experiment_name, config.timestamp = folder.parents[2], folder.parents[1].name, TIMESTAMP
    views, manager = folder / VIEWS, config.pipeline.datamanager
    box: Any = tuple(bundle.box.flatten().tolist())
    color = color_name(bundle.background_color)  # without a name, that of the checkpoint counts
    manager.dataparser = ScenesDataParserConfig(data=views, box=box, alpha_color=color)
    config.data = manager.data = views
    config.pipeline.model.shared_bundle = bundle.source
    return config


def render_views(
    folder: Path, model: "LatentModel", bundle: "SharedBundle", facts: Dict[str, Dict[str, Any]], views: int
) -> None:
    """Renders views of all scenes as data of the dataparser `scenes`, from the upper hemisphere about the box."""
    from latent_nerfstudio.api.progress import progress
    from latent_nerfstudio.meshes.viewpoints import hemisphere
    from latent_nerfstudio.scene_files.views import cameras_from_facts, write_views

    for name in progress(facts, "Rendering views", len(facts)):
        index = model.scene_names.index(name)
        cameras = cameras_from_facts(facts[name], bundle, f"scene {name!r}", model.placements[index].scale)
        poses = hemisphere(views, seed=0, radius=cameras.radius)
        poses[:, :3, 3] += model.box_of(index).mean(dim=0).numpy()
        write_views(folder / name, model, name, cameras, poses)


def summary(model: "LatentModel", facts: Dict[str, Dict[str, Any]]) -> Dict[str, Any]:
    """The run's training.json, as far as the scenes' facts go, which are those that may be handed on."""
    from latent_nerfstudio.scene_files.scene_file import public_facts

    seconds: List[float] = [own["seconds"] for own in facts.values() if type(own.get("seconds")) in (int, float)]
    steps: List[int] = [own["steps"] for own in facts.values() if type(own.get("steps")) is int]
    return {
        "method": METHOD,
        "steps": max(steps, default=0),
        "seconds": round(sum(seconds), 2),
        "scenes": list(facts),
        "seconds_per_scene": round(sum(seconds) / len(facts), 2),
        "bytes_per_scene": model.scene_bytes(),
        "bytes_shared": model.shared_bytes(),
        "device": str(model.device),
        "imported": True,
        "facts": {name: public_facts(own) for name, own in facts.items()},
    }
