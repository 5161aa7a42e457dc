"""Checkpoints that are whole: written beside their place, renamed, and verified before they are loaded.

Nerfstudio reads every name in `nerfstudio_models/` as a step, and ns-eval, ns-viewer and ns-render load the newest one
unseen. So nothing else is ever in that folder, and no checkpoint is in it before it is whole on the disk."""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.optim import Optimizer

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup
from latent_nerfstudio.files.replacing import NO_ROOM, flush, unfinished_folder
from latent_nerfstudio.files.torch_files import damage, load_torch
from latent_nerfstudio.models.checkpoint_notes import ENCODER_HASH
from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.models.shared_bundle import source_for
from latent_nerfstudio.pipelines.saved_state import unsealed

NAME = re.compile(r"step-(\d+)\.ckpt")
"""Of a checkpoint, with its step."""

GRADIENTS = "gradients"
"""Entry of an optimizer's state in a checkpoint: what accumulates for its next step, one a parameter."""


@contextmanager
def publishing(folder: Path, only_latest: bool) -> Iterator[Path]:
    """A temporary folder, whose files move into `folder` at the end; with `only_latest` others are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()  # a link may lead to another disk, to which nothing can be renamed
    with unfinished_folder(folder.parent) as writing:
        try:
            yield writing
            names = sorted(path.name for path in writing.iterdir())
            for name in names:
                flush(writing / name)
        except (OSError, RuntimeError) as error:
            if not is_of_full_disk(error):
                raise
            got, do = f"'{str(error).splitlines()[0]}'", "make room and go on from the last checkpoint, which is kept"
            raise OSError(problem(folder, "room for a checkpoint", got, do)) from error
        for name in names:
            os.replace(writing / name, folder / name)
        flush(folder)
    if only_latest:
        remove_others(folder, names)


def remove_others(folder: Path, names: Sequence[str]) -> None:
    for path in checkpoints_of(folder).values():
        if path.name not in names:
            path.unlink(missing_ok=True)


@contextmanager
def gradients_in_state(
    optimizers: Mapping[str, Optimizer], gradients: Mapping[str, Sequence[Optional[Tensor]]]
) -> Iterator[None]:
    """Within the block, `state_dict` of optimizers also holds the gradients of some groups, one a parameter."""

    def adds(group: str) -> Any:
        return lambda optimizer, state: {**state, GRADIENTS: list(gradients[group])}

    hooks = [optimizers[group].register_state_dict_post_hook(adds(group)) for group in gradients]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def take_gradients(optimizer: Optimizer, state: Dict[str, Any]) -> None:
    """Hook of `load_state_dict`: moves the gradients in a state, a shallow copy, to the parameters."""
    if GRADIENTS not in state:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(parameters, state.pop(GRADIENTS), strict=True):
        parameter.grad = None if gradient is None else gradient.to(parameter.device)


def is_of_full_disk(error: BaseException) -> bool:
    """Whether a disk is full, which torch reports as an error of its own streams."""
    is_named = isinstance(error, OSError) and error.errno in NO_ROOM
    return is_named or "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error)


def checkpoints_of(folder: Path) -> Dict[int, Path]:
    """The checkpoints of a folder by step, newest first; empty where there is no such folder."""
    found = {int(match[1]): path for path in folder.glob("*.ckpt") if (match := NAME.fullmatch(path.name))}
    return dict(sorted(found.items(), reverse=True))


def check_checkpoint(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(problem(path, "a checkpoint", "nothing there", "name one that is"))
    reason = damage(path)
    if reason:
        raise ValueError(problem(path, "a whole checkpoint", reason, "name an older one (--load-step), or remove it"))


def load_state(checkpoint: Path) -> Dict[str, Any]:
    check_checkpoint(checkpoint)
    expected, do = "a checkpoint of Nerfstudio, of tensors alone", "name one that ns-train wrote"
    state = load_torch(checkpoint, expected, do)
    weights = state.get("pipeline") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or type(state.get("step")) is not int:
        raise ValueError(problem(checkpoint, expected, "no step and weights", do))
    return {**state, "pipeline": unsealed(weights, checkpoint)}


def encoder_named(checkpoint: Path) -> str:
    """The hash of the encoder that a checkpoint leaves out; empty where it tells of none, or cannot be read."""
    try:
        state = load_torch(checkpoint, "a checkpoint", "name another", mmap=True)
        return bytes(state["pipeline"][f"_model.{ENCODER_HASH}"].tolist()).hex()
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def name_sources(config: Any, checkpoint: Optional[Path]) -> None:
    """Has a run's config name what a checkpoint of it was made with, where that was what `bundled` was."""
    model = config.pipeline.model
    if checkpoint is None or not isinstance(model, LatentModelConfig):
        return
    part, name = (model.autoencoder, "source") if model.shared_bundle is None else (model, "shared_bundle")
    setattr(part, name, source_for(getattr(part, name), encoder_named(checkpoint)))


def newest_step(folder: Path) -> int:
    """The step of the newest whole checkpoint; prints which damaged ones are left out."""
    reasons: List[str] = []
    for step, path in checkpoints_of(folder).items():
        reason = damage(path)
        if not reason:
            return step
        reasons.append(f"{path.name}: {reason}")
        CONSOLE.print(f"[red]{for_markup(path)}: left out, since it is damaged ({for_markup(reason)})", soft_wrap=True)
    inside = folder / "nerfstudio_models"
    do = f"name {inside}" if inside.is_dir() else "leave out --load-dir to begin anew"
    if not reasons:
        raise FileNotFoundError(problem(folder, "a checkpoint step-XXXXXXXXX.ckpt", "none", do))
    raise ValueError(problem(folder, "a checkpoint that is whole", "; ".join(reasons), do))
