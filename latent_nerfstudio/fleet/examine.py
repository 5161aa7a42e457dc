"""What is known of a scene before it is fitted: whether it can be, from what, and where it stands."""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import CameraType

from latent_nerfstudio.data.box_checks import WRITE_BOX
from latent_nerfstudio.data.layouts import SceneFrames, read_scene
from latent_nerfstudio.data.scenes_dataparser import bounds_from_silhouettes
from latent_nerfstudio.data.sources import folder_stamp, lies_within, scene_folder, source_hash
from latent_nerfstudio.errors import problem, reason_of
from latent_nerfstudio.fields.placement import Placement, box_words, placement_of
from latent_nerfstudio.fleet.settings import Inventory
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import check_name

CHECK_POSES = "check its poses (x right, y up, z backwards) and its aabb"

CHECK_FILES = "check its files"

CARVED_FROM = 12
"""Photos from which on silhouettes tell a scene's box: those of fewer leave too much around it."""


@dataclass(frozen=True)
class SceneFacts:
    """A scene that can be fitted."""

    placement: Placement
    """From its own units to those of the bundle's box."""
    source: str
    """Hash of its pictures and cameras, see `source_hash`."""
    stamp: str
    """Of its folder, see `folder_stamp`; empty where files of it lie elsewhere."""
    is_measured: bool
    """Whether it has views that are held out."""
    doubt: str = ""
    """What looks wrong about its cameras and pictures."""


def examine(
    inventory: Inventory, names: Sequence[str], bundle: SharedBundle
) -> Tuple[Dict[str, SceneFacts], Dict[str, str]]:
    """Scenes that can be fitted into a bundle's box, and why the others cannot, by name."""
    known, reasons = {}, {}
    for name in names:
        try:
            check_name(name)
            folder = scene_folder(inventory.data, name)
            stamp, frames = folder_stamp(folder), read_scene(folder)
            check_cameras(frames, inventory.steps)
            placement = placement_in(frames, np.array(bundle.aabb), bundle.scene_contraction)
            is_measured = frames.holds_out or len(frames) >= inventory.held_out_from
            stamp = stamp if lies_within(frames, folder) else ""
            doubt = "; ".join([*frames.doubts, *box_doubts(frames, placement, bundle)])
            known[name] = SceneFacts(placement, source_hash(frames), stamp, is_measured, doubt)
        except (ValueError, OSError) as error:
            reasons[name] = reason_of(error, f"scene '{name}'", CHECK_FILES)
    return known, reasons


def check_cameras(frames: SceneFrames, steps: int) -> None:
    """Refuses cameras that the scene encoder does not know where it is all there is."""
    if steps == 0 and frames.camera_type != CameraType.PERSPECTIVE:
        expected, got = "perspective ones, which scenes are predicted from", frames.camera_type.name.lower()
        do = "fit it in --steps 300, or undistort its photos"
        raise ValueError(problem(f"scene '{frames.name}', cameras", expected, got, do))


def placement_in(frames: SceneFrames, into: Float[np.ndarray, "2 3"], unbounded: bool = False) -> Placement:
    """Where a scene stands in a box: as its own box says, of its camera file or its silhouettes, else where it is."""
    own = frames.aabb
    if own is None and len(frames) >= CARVED_FROM:
        own = bounds_from_silhouettes([frames])[0]
    placement = Placement() if own is None else placement_of(own, into, not unbounded)
    box = placement.inverse.points(torch.tensor(into)).numpy()
    where = f"scene '{frames.name}'"
    seen = sees(frames, box).sum()
    if not unbounded and 2 * seen < len(frames):
        got = f"{seen} of {len(frames)} that do"
        shown, do = (box, WRITE_BOX) if frames.aabb is None else (frames.aabb, CHECK_POSES)
        raise ValueError(problem(where, f"cameras that see its box {box_words(shown)}", got, do))
    inside = stand_within(frames, box)
    if not placement.is_identity and not unbounded and inside.mean() > 0.5:
        expected, got = f"cameras outside of its box {box_words(own)}", f"{inside.sum()} of {len(frames)} within"  # type: ignore[arg-type]
        raise ValueError(problem(where, expected, got, f"leave out what lies far from the object: {WRITE_BOX}"))
    return placement


def stand_within(frames: SceneFrames, box: Float[np.ndarray, "2 3"]) -> Bool[np.ndarray, " views"]:
    """Which cameras stand within a box."""
    places = frames.camera_to_worlds[:, :, 3]
    return ((places > box[0]) & (places < box[1])).all(axis=1)


def box_doubts(frames: SceneFrames, placement: Placement, bundle: SharedBundle) -> List[str]:
    """What looks wrong about a scene that stays where it is, in words: that most of its cameras stand within its box,
    as around an object of a thousandth of the bundle's, or where their places are lost."""
    inside = stand_within(frames, np.array(bundle.aabb) if frames.aabb is None else frames.aabb)
    if not placement.is_identity or bundle.scene_contraction or inside.mean() <= 0.5:
        return []
    return [f"{inside.sum()} of its {len(frames)} cameras stand within its box; {WRITE_BOX}"]


def sees(frames: SceneFrames, box: Float[np.ndarray, "2 3"]) -> Bool[np.ndarray, " views"]:
    """Which cameras see something of the ball around a box: its angle from the axis is within the picture's corner."""
    centre, radius = box.mean(axis=0), np.linalg.norm(box[1] - box[0]) / 2
    offset = centre - frames.camera_to_worlds[:, :, 3]
    distance = np.linalg.norm(offset, axis=1).clip(1e-12)
    cosine = (offset * -frames.camera_to_worlds[:, :, 2]).sum(axis=1) / distance
    corner = np.hypot(frames.widths / frames.fx, frames.heights / frames.fy) / 2
    half = np.arctan(corner) if frames.camera_type == CameraType.PERSPECTIVE else np.full(len(frames), np.pi)
    angle = np.arccos(cosine.clip(-1, 1)) - np.arcsin((radius / distance).clip(max=1))
    return (angle <= half) | (distance <= radius)
