"""`lns export-scene`: one scene of a many-scene run as a run of its own."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

from latent_nerfstudio.cli.words import RunFolder
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_folder
from latent_nerfstudio.names import check_known

if TYPE_CHECKING:
    from torch import Tensor

    from latent_nerfstudio.engine.runs import Run
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig


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
    from latent_nerfstudio.models.latent_model import PLACEMENTS
    from latent_nerfstudio.pipelines.saved_state import SECONDS

    rows_of_scenes = (*(f"field.{name}" for name in SCENE_PARAMETERS), PLACEMENTS)
    result = {**state, SECONDS: state[SECONDS] / count} if SECONDS in state else dict(state)
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
