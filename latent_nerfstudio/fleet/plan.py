"""Which scenes are left to fit, and in which chunks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from tqdm import tqdm

from latent_nerfstudio.data.layouts import read_scene
from latent_nerfstudio.data.layouts.frames import scene_name
from latent_nerfstudio.data.scenes_dataparser import find_scenes, select_scenes, warn_of_left_out
from latent_nerfstudio.data.sources import first_readable, folder_stamp, lies_within, scene_folder, source_hash
from latent_nerfstudio.fleet.settings import ChunkJob, Inventory
from latent_nerfstudio.fleet.status import SceneStatus
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import equal_parts
from latent_nerfstudio.scene_files.scene_file import SceneFile, read_scene_file

LARGEST_CHUNK = 32
"""Scenes of a chunk that nobody gave a size: more are hardly faster, and a crash costs the chunk."""

SOURCE = "source"
"""Fact of a scene file: the hash of what it was fitted from."""

DOUBT = "doubt"
"""Fact of a scene file: what looked wrong when it was fitted; only where something did."""

BYTES_PER_POINT = 2500
"""Of a sample point in training: features, activations of the MLP and their gradients."""


def find_names(data: Path, wanted: Sequence[str] = ()) -> List[str]:
    """Names of the wanted scenes of a folder, by default all, sorted; their files are not read."""
    found = find_scenes(data)
    if not wanted:
        warn_of_left_out(data, found)
    return [scene_name(folder) for folder in select_scenes(found, wanted, data)]


def survey(
    inventory: Inventory, bundle: SharedBundle, names: Sequence[str], known: Mapping[str, SceneStatus]
) -> Tuple[Dict[str, SceneStatus], List[str]]:
    """The rows of finished scenes, whose files verify and were fitted as asked for of what is there now, and the names
    of those of other pictures or cameras. Stamps of rows that are `known` spare the reading of untouched pictures."""
    with ThreadPoolExecutor(8) as pool:
        looked_at = pool.map(lambda name: kept_scene(inventory, bundle, name, known.get(name)), names)
        rows = list(tqdm(looked_at, "Looking for finished scenes", len(names), delay=2, leave=False))
    done = {row.name: row for row in rows if row is not None and row.state == "done"}
    return done, [row.name for row in rows if row is not None and row.state != "done"]


def kept_scene(
    inventory: Inventory, bundle: SharedBundle, name: str, known: Optional[SceneStatus] = None
) -> Optional[SceneStatus]:
    """The row of a scene that has a file, waiting where that is of other pictures or cameras; None for no such file."""
    path = inventory.scene_path(name)
    try:
        scene = read_scene_file(path, bundle)
    except (ValueError, OSError):
        return None
    if scene.name != name or scene.facts.get("settings") != inventory.fingerprint():
        return None
    folder = scene_folder(inventory.data, name)
    stamp = folder_stamp(folder)
    row = row_of(scene, path.stat().st_size, "" if known is None else known.worker, stamp)
    if SOURCE not in scene.facts or (known is not None and known.stamp == stamp):
        return row
    try:
        frames = read_scene(folder)
        same = scene.facts[SOURCE] == source_hash(frames)
        row = row if lies_within(frames, folder) else replace(row, stamp="")
    except (ValueError, OSError):
        same = True  # what it was fitted from is no longer there
    return row if same else SceneStatus(name)


def row_of(scene: SceneFile, size: int, worker: str = "", stamp: str = "") -> SceneStatus:
    """The row of a scene that is done, by the facts of its file, which do not tell the worker."""
    numbers: Dict[str, Any] = {name: scene.facts.get(name) for name in ("psnr", "ssim", "seconds", "steps")}
    doubt = str(scene.facts.get(DOUBT, ""))
    return SceneStatus(scene.name, "done", doubt, bytes=size, worker=worker, stamp=stamp, **numbers)


def plan_jobs(inventory: Inventory, names: Sequence[str], size: int, workers: int) -> List[ChunkJob]:
    """Chunks of about equal size, at most `size` scenes each, enough of them for all workers."""
    if not names:
        return []
    count = max(-(-len(names) // size), min(workers, len(names)))
    return [ChunkJob(inventory, tuple(part)) for part in equal_parts(names, count)]


def chunk_that_fits(inventory: Inventory, bundle: SharedBundle, names: Sequence[str], free: float) -> int:
    """Scenes of a chunk that fit into the bytes that one worker may take, by the first scene that can be read."""
    frames = first_readable([scene_folder(inventory.data, name) for name in names[:10]])
    if frames is None:
        return LARGEST_CHUNK
    pixels = frames.widths * frames.heights
    aligned = 0 if inventory.rgb_alignment_start is None else int(pixels.max())
    own = scene_bytes(int(pixels.sum()), aligned, bundle, inventory)
    return max(1, min(LARGEST_CHUNK, int(free / 2 / own)))  # half of it, as this is an estimate


def scene_bytes(pixels: int, aligned: int, bundle: SharedBundle, inventory: Inventory) -> int:
    """Bytes that one more scene in a chunk takes, by the pixels of all its pictures, and of those a step aligns."""
    nerf = getattr(inventory.method.pipeline.model, "nerf", None)
    samples = getattr(nerf, "num_samples", 24) + getattr(nerf, "num_importance_samples", 0)
    factor, channels = bundle.autoencoder["downscale_factor"] // inventory.enlarge, bundle.autoencoder["channels"]
    planes = 3 * bundle.field["resolution"] ** 2 * (bundle.field["micro_features"] + bundle.field["macro_features"])
    rays = max(inventory.rays_per_scene, aligned // factor**2)
    latents = pixels // factor**2 * channels
    decoder = aligned * inventory.enlarge**2 * 4 * 64 * 4  # activations: some tens of channels a pixel, float32
    return 4 * pixels + 2 * latents + 4 * 4 * planes + BYTES_PER_POINT * rays * samples + decoder
