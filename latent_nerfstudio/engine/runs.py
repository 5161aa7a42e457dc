"""Runs on disk: what lies beside a config.yml, wherever its folder stands now."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from latent_nerfstudio.engine.checkpoints import checkpoints_of, load_state, name_sources
from latent_nerfstudio.engine.config_loader import data_of, read_config, started_in
from latent_nerfstudio.engine.summary import SUMMARY, read_summary
from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.shipped import meant_by

if TYPE_CHECKING:
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig
    from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline


@dataclass
class Run:
    """A run of one of this package's methods."""

    config_path: Path
    config: "LatentTrainerConfig"
    training: Dict[str, Any] = field(default_factory=dict)
    """What training.json holds; empty where training has not ended."""

    @property
    def folder(self) -> Path:
        return self.config_path.parent

    @property
    def method(self) -> str:
        return str(self.config.method_name)

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.folder / self.config.relative_model_dir

    def latest_checkpoint(self) -> Path:
        found = checkpoints_of(self.checkpoints)
        if not found:
            expected, do = "a checkpoint step-XXXXXXXXX.ckpt", "train until one is saved"
            raise FileNotFoundError(problem(self.checkpoints, expected, "none", do))
        return found[max(found)]

    def scene_names(self) -> List[str]:
        """The scenes' names by index, from the data while training lasts; empty if the dataparser knows none."""
        from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig, read_scenes

        parser = self.config.pipeline.datamanager.dataparser  # type: ignore[attr-defined]
        if not isinstance(parser, ScenesDataParserConfig):
            return []
        if "scenes" in self.training:
            return list(self.training["scenes"])
        return [scene.name for scene in read_scenes(self.data(), parser.scenes, parser.max_scenes)]

    def scenes(self) -> List[str]:
        return self.scene_names() or [self.data().resolve().name or "scene"]

    def background_color(self) -> List[float]:
        """The colour behind the objects, as the datamanager finds it; three numbers in [0, 1]."""
        from latent_nerfstudio.latent_space.latent_space import background_color_of

        manager: Any = self.config.pipeline.datamanager
        color = getattr(manager.dataparser, "alpha_color", None) or manager.background_color
        return background_color_of(color).tolist()

    def data(self) -> Path:
        """The data folder; those of version 0.1 hold it relative to the folder that ns-train was called from."""
        data = data_of(self.config)
        there = started_in(self.config, self.folder) / data
        return there if there.exists() else data


def open_run(config_path: Path) -> Run:
    """Reads the config of a run of one of this package's methods, without loading its data or its weights."""
    given, config_path = config_path, config_path / "config.yml" if config_path.is_dir() else config_path
    if not config_path.is_file():
        raise FileNotFoundError(problem(given, "the config.yml of a run", *meant_by(str(given))))
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig

    config = read_config(config_path)
    if not isinstance(config, LatentTrainerConfig):
        name = getattr(config, "method_name", None)
        got = f"one of {name if isinstance(name, str) else type(config).__name__!r}"
        raise ValueError(problem(config_path, "a run of one of this package's methods", got, "name another"))
    found = checkpoints_of(config_path.parent / config.relative_model_dir)
    name_sources(config, next(iter(found.values()), None))
    summary = config_path.parent / SUMMARY
    return Run(config_path, config, read_summary(summary) if summary.is_file() else {})


def load_pipeline(config_path: Path) -> "LatentPipeline":
    """Loads a run for evaluation like the ns-* commands, from where its config.yml lies now."""
    import torch

    run = open_run(config_path)
    state = load_state(run.latest_checkpoint())
    config = copy.deepcopy(run.config.pipeline)
    config.datamanager.data = run.data()  # type: ignore[attr-defined]
    pipeline = config.setup(device="cuda" if torch.cuda.is_available() else "cpu", test_mode="test")
    pipeline.load_pipeline(state["pipeline"], state["step"])
    return pipeline.eval()  # type: ignore[return-value]
