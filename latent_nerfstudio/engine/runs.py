"""Runs on disk: a folder with config.yml, nerfstudio_models/ and, when training has ended, training.json."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from latent_nerfstudio.errors import problem

if TYPE_CHECKING:
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig
    from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline


SUMMARY_NUMBERS = ("steps", "seconds", "seconds_per_scene", "entry_seconds", "bytes_per_scene", "bytes_shared")
"""Entries of training.json that are counted with."""


@dataclass
class Run:
    """A run of one of this package's methods."""

    config_path: Path
    """Its config.yml."""
    config: "LatentTrainerConfig"
    """What config.yml holds."""
    training: Dict[str, Any] = field(default_factory=dict)
    """What training.json holds; empty where training has not ended."""

    @property
    def folder(self) -> Path:
        """The folder of config.yml."""
        return self.config_path.parent

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.config.method_name)

    @property
    def contact_sheet(self) -> Path:
        """Where training leaves its contact sheet."""
        return self.folder / "contact_sheet.png"

    def latest_checkpoint(self) -> Path:
        """The checkpoint that the ns-* commands load.

        Raises:
            FileNotFoundError: there is none.
        """
        folder = self.folder / self.config.relative_model_dir
        checkpoints = sorted(folder.glob("step-*.ckpt"))
        if not checkpoints:
            raise FileNotFoundError(
                f"{folder}: expected a checkpoint step-XXXXXXXXX.ckpt, got none; train until one is saved"
            )
        return checkpoints[-1]

    def scene_names(self) -> List[str]:
        """The names of the scenes in the order of their indices; empty where the data knows of no scenes.

        From training.json, or, for a run that was broken off, from the data.

        Raises:
            FileNotFoundError: the data are not there.
            ValueError: the data are not as they should be.
        """
        from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, read_scenes

        parser = self.config.pipeline.datamanager.dataparser  # type: ignore[attr-defined]
        if not isinstance(parser, ScenesDataParserConfig):
            return []
        if "scenes" in self.training:
            return list(self.training["scenes"])
        return [scene.name for scene in read_scenes(self.data(), parser.scenes, parser.max_scenes)]

    def scenes(self) -> List[str]:
        """As `scene_names`; where the data know of no scenes, the one name of the data."""
        return self.scene_names() or [self.data().resolve().name or "scene"]

    def background_color(self) -> List[float]:
        """The colour behind the objects, as the datamanager finds it; three numbers in [0, 1]."""
        from latent_nerfstudio.latent_space.latent_space import background_color_of

        manager: Any = self.config.pipeline.datamanager
        color = getattr(manager.dataparser, "alpha_color", None) or manager.background_color
        return background_color_of(color).tolist()

    def data(self) -> Path:
        """The data folder, which a config holds relative to the folder that training was started in."""
        manager = self.config.pipeline.datamanager
        return Path(manager.data or manager.dataparser.data)  # type: ignore[attr-defined]


def open_run(config_path: Path) -> Run:
    """Reads a run's config, without loading its data or its weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no config of one of this package's methods.
    """
    import yaml

    if config_path.is_dir():
        config_path = config_path / "config.yml"
    if not config_path.is_file():
        raise FileNotFoundError(f"{config_path}: expected the config.yml of a run, got nothing there; check the path")
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig

    try:
        config = yaml.load(config_path.read_text(encoding="utf-8"), Loader=yaml.Loader)
    except Exception as error:  # YAML's own, and those of the classes that it names
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{config_path}: expected a config of Nerfstudio, got {reason}; name a config.yml") from error
    if not isinstance(config, LatentTrainerConfig):
        method = getattr(config, "method_name", type(config).__name__)
        raise ValueError(
            f"{config_path}: expected a run of one of this package's methods, got one of {method!r}; "
            "name a run of latent-triplane or triplane, for instance"
        )
    summary = config_path.parent / "training.json"
    return Run(config_path, config, read_summary(summary) if summary.is_file() else {})


def read_summary(path: Path) -> Dict[str, Any]:
    """What training.json holds.

    Raises:
        ValueError: something else.
    """
    do = "remove it, or restore the one that training wrote"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(problem(path, "JSON", f"'{error}'", do)) from error
    names = summary.get("scenes", []) if isinstance(summary, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(problem(path, "a JSON object with names as its scenes", "another", do))
    for name in SUMMARY_NUMBERS:
        if not isinstance(summary.get(name, 0), (int, float)):
            raise ValueError(problem(f"{path}, {name}", "a number", f"{summary[name]!r:.60}", do))
    return summary


def load_pipeline(config_path: Path) -> "LatentPipeline":
    """Loads a run for evaluation as the ns-* commands do.

    Raises:
        FileNotFoundError: the data or the checkpoint are not there.
    """
    from nerfstudio.utils.eval_utils import eval_setup

    run = open_run(config_path)
    run.latest_checkpoint()
    _, pipeline, _, _ = eval_setup(run.config_path)
    return pipeline  # type: ignore[return-value]
