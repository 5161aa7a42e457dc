"""What every layout is read into: the images and cameras of one scene."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.cameras import CameraType

from latent_nerfstudio.data.layouts.image_files import ImageHeader
from latent_nerfstudio.data.validation import words_of_outlier
from latent_nerfstudio.errors import few_of

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SceneFrames:
    """Images and cameras of one scene, as its files give them: no orientation, centring or scale applied."""

    name: str
    """Name of the scene: that of its folder."""
    image_paths: tuple[Path, ...]
    """One image a view; all exist and have a readable header."""
    headers: tuple[ImageHeader, ...]
    camera_to_worlds: Float[np.ndarray, "views 3 4"]
    """Poses in the OpenGL convention (x right, y up, z backwards), world units."""
    fx: Float[np.ndarray, " views"]
    fy: Float[np.ndarray, " views"]
    """Focal lengths, pixels."""
    cx: Float[np.ndarray, " views"]
    cy: Float[np.ndarray, " views"]
    """Principal points, pixels from the left and top edges (not from the centre of the first pixel)."""
    distortion: Float[np.ndarray, "views 6"]
    """k1, k2, k3, k4, p1, p2 of each view."""
    camera_type: CameraType = CameraType.PERSPECTIVE
    """Camera model of all views of the scene."""
    splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """View indices of the splits that the files give, by name out of train, val and test; empty where none."""
    aabb: Optional[Float[np.ndarray, "2 3"]] = None
    """Box that the camera file gives: lower and upper corner, world units."""
    capture_box: Optional[Float[np.ndarray, "2 3"]] = None
    """Box that instant-ngp's `aabb_scale` stands for, world units: looser than `aabb`, around the cameras too."""
    mask_paths: tuple[Optional[Path], ...] = ()
    """The mask of each view, or None where all of it is kept; empty where the layout has no masks."""
    dynamic_masks: tuple[Optional[Path], ...] = ()
    """Likewise, masks that mark what is left out."""
    absent: tuple[str, ...] = ()
    """Images that the camera file lists and that are not on disk; their views are left out."""
    applied_transform: Float[np.ndarray, "3 4"] = field(default_factory=lambda: np.eye(4)[:3])
    """Transform from the original data to the poses but for the scale, as `ns-process-data` records it."""
    applied_scale: float = 1.0
    """Scale from the original data to the poses, after the transform."""
    contradiction: str = ""
    """Which entries of its camera file say different things of one camera, in words."""

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def holds_out(self) -> bool:
        """Whether its files themselves name views for evaluation, or leave some out of training."""
        named = self.splits.get("val", ()) or self.splits.get("test", ())
        return bool(named) or 0 < len(self.splits.get("train", ())) < len(self)

    @property
    def doubts(self) -> list[str]:
        """What looks wrong, in words: about its cameras, and about pictures that are absent, or that viewers turn."""
        names = [path.name for path in self.image_paths]
        turned = [name for name, header in zip(names, self.headers, strict=True) if header.orientation > 1]
        texts = [self.contradiction, words_of_outlier(self.camera_to_worlds[:, :, 3], names)]
        if self.absent:
            count = len(self.absent) + len(self)
            texts.append(f"{len(self.absent)} of its {count} listed photos are absent: {few_of(self.absent, 1)}")
        if turned:
            text = f"{len(turned)} of its photos have an EXIF orientation, by which viewers turn them and we do not"
            texts.append(f"{text}: {few_of(turned, 1)}")
        return list(filter(None, texts))

    @property
    def widths(self) -> Int[np.ndarray, " views"]:
        return np.array([header.width for header in self.headers], dtype=np.int64)

    @property
    def heights(self) -> Int[np.ndarray, " views"]:
        return np.array([header.height for header in self.headers], dtype=np.int64)

    @property
    def has_alpha(self) -> Bool[np.ndarray, " views"]:
        return np.array([header.has_alpha for header in self.headers], dtype=bool)


def scene_name(folder: Path) -> str:
    """The name of a scene: that of its folder, also where the folder is given as '.' or is a link."""
    return os.path.basename(os.path.abspath(folder))


def opencv_to_opengl(camera_to_worlds: Float[np.ndarray, "views 3 4"]) -> Float[np.ndarray, "views 3 4"]:
    """Turns camera axes from OpenCV's (y down, z forwards) to OpenGL's (y up, z backwards), or back."""
    return camera_to_worlds * np.array([1.0, -1.0, -1.0, 1.0])


def complete_splits(
    given: Mapping[str, Sequence[int]], count: int, eval_interval: int
) -> Mapping[str, tuple[int, ...]]:
    """The views of train, val and test, where a scene's files leave some of them open; empty lists count as absent.

    Without any split, or with train alone and all views in it, every `eval_interval`-th view of what there is to train
    on is held out. One of val and test stands in for the other; views that no given split names are those of the absent
    one. None comes out empty unless every view is in an evaluation split."""
    splits = {name: tuple(indices) for name, indices in given.items() if len(indices) > 0}
    evaluation = splits.get("val", ()) + splits.get("test", ())
    if "train" in splits and not evaluation:
        evaluation = tuple(sorted(set(range(count)) - set(splits["train"])))
        splits["val"] = evaluation
    if not evaluation:
        every = splits.get("train", tuple(range(count)))
        train = tuple(view for place, view in enumerate(every) if place % eval_interval)
        return {"train": train, "val": every[::eval_interval], "test": every[::eval_interval]}
    train = splits.get("train", tuple(sorted(set(range(count)) - set(evaluation))))
    val = splits.get("val", splits.get("test", ()))
    return {"train": train, "val": val, "test": splits.get("test", val)}
