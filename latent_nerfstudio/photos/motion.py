"""Structure from motion: where photos were taken from, by pycolmap, with a bar for each of its stages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from tqdm import tqdm

from latent_nerfstudio.errors import problem
from latent_nerfstudio.photos import Lens, Matching

LENSES = {"radial": "OPENCV", "simple": "SIMPLE_RADIAL", "fisheye": "OPENCV_FISHEYE"}

PHOTOS_AT_ONCE, PAIRS_AT_ONCE = 4, 100
"""Work between two steps of a bar."""

OVERLAP = 10
"""Photos before and after with which a photo is matched, sequentially."""


def import_pycolmap() -> Any:
    """COLMAP's Python package, which is an extra."""
    try:
        import pycolmap
    except ImportError as error:
        do = "pip install 'latent-nerfstudio[photos]'"
        raise ValueError(problem("photos", "pycolmap, which finds their poses", "none installed", do)) from error
    pycolmap.logging.minloglevel = 2  # errors alone: the stages have bars
    return pycolmap


def find_poses(
    images: Path, work: Path, masks: Optional[Path], matching: Matching, lens: Lens, same_camera: bool
) -> Any:
    """Finds poses, lenses and a sparse cloud: pycolmap's largest reconstruction; COLMAP's files go into the empty
    folder `work`. Features are found where a mask, NAME.png for the photo NAME, is not black."""
    database, names = work / "database.db", sorted(path.name for path in images.iterdir())
    options = {"camera_model": LENSES[lens], "mask_path": str(masks or "")}
    extract_features(database, images, names, options, same_camera)
    match_features(database, pairs_of(names, matching), work / "pairs.txt")
    (work / "models").mkdir()
    with tqdm(total=len(names), desc="Poses", unit="photo") as bar:
        models = import_pycolmap().incremental_mapping(
            database, images, work / "models", next_image_callback=lambda: (bar.update(), None)[1]
        )
    if not models:
        do = "take more photos with more overlap (two thirds of each in the next), sharp and of something with texture"
        raise ValueError(problem("photos", "photos that fit together", f"none of {len(names)}", do))
    return max(models.values(), key=lambda model: model.num_reg_images())


def extract_features(database: Path, images: Path, names: Sequence[str], options: dict, same_camera: bool) -> None:
    """Finds the features of photos, some at a time, so that there is a bar."""
    pycolmap = import_pycolmap()
    mode = pycolmap.CameraMode.SINGLE if same_camera else pycolmap.CameraMode.AUTO
    with tqdm(total=len(names), desc="Features", unit="photo") as bar:
        for start in range(0, len(names), PHOTOS_AT_ONCE):
            some = names[start : start + PHOTOS_AT_ONCE]
            reader = pycolmap.ImageReaderOptions(**options)
            if same_camera and start:
                reader.existing_camera_id = 1  # the first call's, else each call would make one of its own
            pycolmap.extract_features(database, images, some, mode, reader)
            bar.update(len(some))


def pairs_of(names: Sequence[str], matching: Matching) -> list[str]:
    """The pairs of photos to match, a line of two names each: all, or those that are `OVERLAP` places apart at most."""
    reach = len(names) if matching == "exhaustive" else OVERLAP
    return [f"{a} {b}" for i, a in enumerate(names) for b in names[i + 1 : i + 1 + reach]]


def match_features(database: Path, pairs: Sequence[str], listed: Path) -> None:
    """Matches pairs of photos, some at a time; `listed` is a file for their names."""
    pycolmap = import_pycolmap()
    with tqdm(total=len(pairs), desc="Matching", unit="pair") as bar:
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            some = pairs[start : start + PAIRS_AT_ONCE]
            listed.write_text("\n".join(some) + "\n", encoding="utf-8")
            options = pycolmap.ImportedPairingOptions(match_list_path=listed)
            pycolmap.match_image_pairs(database, pairing_options=options)
            bar.update(len(some))
