"""Runs on disk: a folder with config.yml, nerfstudio_models/ and, when training has ended, training.json."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import read_json

if TYPE_CHECKING:
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig
    from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline


MOST_SUMMARY = 1 << 26
"""Bytes of a training.json at most; it has a few for each scene."""

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
            do = "train until one is saved"
            raise FileNotFoundError(problem(folder, "a checkpoint step-XXXXXXXXX.ckpt", "none", do))
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
        """The data folder, which a config holds relative to the folder that training was started in: that which the
        run's place tells, if it lies where training wrote it, else this one."""
        manager: Any = self.config.pipeline.datamanager
        data = Path(manager.data or manager.dataparser.data)
        written = Path(self.config.output_dir, str(self.config.experiment_name), self.method, self.config.timestamp)
        here = self.folder.resolve()
        if written.is_absolute() or here.parts[-len(written.parts) :] != written.parts:
            return data
        started = here.parents[len(written.parts) - 1]
        return started / data if (started / data).exists() else data


def open_run(config_path: Path) -> Run:
    """Reads a run's config, without loading its data or its weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no config of one of this package's methods.
    """
    if config_path.is_dir():
        config_path = config_path / "config.yml"
    if not config_path.is_file():
        raise FileNotFoundError(problem(config_path, "the config.yml of a run", "nothing there", "check the path"))
    from latent_nerfstudio.engine.config_loader import load_config
    from latent_nerfstudio.engine.trainer import LatentTrainerConfig

    try:
        config = load_config(config_path)
    except Exception as error:  # YAML's own, and those of the classes that it names
        lines = [line.strip() for line in str(error).splitlines() if not line.startswith("  in ")]
        got, do = " ".join(lines) or type(error).__name__, "name a config.yml that ns-train wrote"
        raise ValueError(problem(config_path, "a config of Nerfstudio that only names configs", got, do)) from error
    if not isinstance(config, LatentTrainerConfig):
        method = getattr(config, "method_name", type(config).__name__)
        do = "name a run of latent-triplane or triplane, for instance"
        raise ValueError(problem(config_path, "a run of one of this package's methods", f"one of {method!r}", do))
    summary = config_path.parent / "training.json"
    return Run(config_path, config, read_summary(summary) if summary.is_file() else {})


def read_summary(path: Path) -> Dict[str, Any]:
    """What training.json holds.

    Raises:
        ValueError: something else.
    """
    do = "remove it, or restore the one that training wrote"
    summary = read_json(path, do, MOST_SUMMARY)
    names = summary.get("scenes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(problem(path, "names as its scenes", "another", do))
    for name in SUMMARY_NUMBERS:
        if not isinstance(summary.get(name, 0), (int, float)):
            raise ValueError(problem(f"{path}, {name}", "a number", f"{summary[name]!r:.60}", do))
    return summary


def load_pipeline(config_path: Path) -> "LatentPipeline":
    """Loads a run for evaluation as the ns-* commands do, but for its config, which is read by `load_config`, and its
    checkpoint, which is the one beside it wherever the folder stands.

    Raises:
        FileNotFoundError: the data or the checkpoint are not there.
    """
    import torch

    from latent_nerfstudio.engine.checkpoints import load_state

    run = open_run(config_path)
    checkpoint = run.latest_checkpoint()
    state = load_state(checkpoint)
    config: Any = run.config
    config.load_dir, config.pipeline.datamanager.data = checkpoint.parent, run.data()
    pipeline = config.pipeline.setup(device="cuda" if torch.cuda.is_available() else "cpu", test_mode="test").eval()
    pipeline.load_pipeline(state["pipeline"], state["step"])
    return pipeline
