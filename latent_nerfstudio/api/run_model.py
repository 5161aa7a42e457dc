"""The model of a run without the run's data: whatever NeRF is inside, a checkpoint says what its data had to say."""

import copy
from typing import Any, Dict, Optional, Tuple, Union

from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.data.training_cameras import CAMERAS, read_cameras
from latent_nerfstudio.engine.checkpoints import load_state
from latent_nerfstudio.engine.runs import Run, load_pipeline
from latent_nerfstudio.errors import problem
from latent_nerfstudio.latent_space.cameras import pixels_per_radian
from latent_nerfstudio.models.latent_model import LatentModel, LatentModelConfig
from latent_nerfstudio.scene_files.model_scenes import build_model


def open_model(run: Run) -> Tuple[LatentModel, Union[Cameras, Exception]]:
    """The model of the checkpoint that the ns-* commands load, verified, on the host, for evaluation; and the training
    cameras, or the error that reading them ended with. The data are only read where cameras or scene box are not kept
    with the run. Pictures are enlarged from the size of the training cameras on."""
    path, prefix = run.latest_checkpoint(), "_model."
    saved = load_state(path)
    state = {name.removeprefix(prefix): v for name, v in saved["pipeline"].items() if name.startswith(prefix)}
    box = next((state[name] for name in ("nerf.aabb", "nerf.box") if name in state), None)
    cameras: Union[Cameras, Exception]
    try:
        cameras = training_cameras(run, box)
    except (OSError, ValueError, AssertionError) as error:  # Nerfstudio's own readers assert
        cameras = error
    config: Any = run.config.pipeline.model
    if not isinstance(config, LatentModelConfig) or box is None:
        return load_pipeline(run.config_path).model.eval(), cameras
    rows = [len(value) for name, value in state.items() if name.endswith(".embedding_appearance.embedding.weight")]
    facts: Dict[str, Any] = {"num_train_data": max(rows, default=1)}
    if isinstance(cameras, Cameras):
        facts.update(image_height=int(cameras.height.max()), pixels_per_radian=pixels_per_radian(cameras))
    model = build_model(config, run.scenes(), box, run.background_color(), **facts)
    if any(".vae.encoder." in name for name in state):
        model.latent_space.train_encoder()
    model.update_to_step(int(saved["step"]))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        expected = f"the weights of {len(model.scene_names)} scenes of this model"
        got, do = " ".join(str(error).split()), "restore the data and the autoencoder that it was trained on"
        raise ValueError(problem(path, expected, f"others ('{got}')", do)) from error
    return model, cameras


def training_cameras(run: Run, box: Optional[Float[Tensor, "2 3"]]) -> Cameras:
    """The training cameras of a run of any method as its NeRF sees them, each with its `scene_index`; no picture is
    read. They are in the run's folder; those of older runs come from the data, in the scene box of the checkpoint."""
    if (run.folder / CAMERAS).is_file():
        return read_cameras(run.folder / CAMERAS)
    manager: Any = run.config.pipeline.datamanager
    parser: Any = copy.deepcopy(manager.dataparser)
    parser.data = run.data()
    if not parser.data.exists():
        do = "restore the data, or call this from the folder that ns-train was called from"
        raise FileNotFoundError(problem(parser.data, f"the data of {run.config_path}", "nothing there", do))
    if isinstance(parser, ScenesDataParserConfig) and box is not None:
        parser.box, parser.scene_scale = tuple(box.flatten().tolist()), 1.0
    with CONSOLE.capture():  # what readers would tell the terminal
        outputs = parser.setup().get_dataparser_outputs("train")
    names = outputs.metadata.get("scene_names") or []
    if names and list(names) != run.scenes():
        do = "restore the data that it was trained on"
        raise ValueError(problem(parser.data, f"the scenes of {run.config_path}", f"{len(names)} others", do))
    return outputs.cameras
