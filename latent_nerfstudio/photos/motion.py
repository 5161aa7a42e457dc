"""Structure from motion: where photos were taken from, by pycolmap, with a bar for each of its stages."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal, Optional

from tqdm import tqdm

from latent_nerfstudio.errors import problem

Matching = Literal["exhaustive", "sequential"]

LENSES = {"radial": "OPENCV", "simple": "SIMPLE_RADIAL", "fisheye": "OPENCV_FISHEYE"}
Lens = Literal["radial", "simple", "fisheye"]

OVERLAP = 10
"""Photos before and after with which a photo is matched, sequentially."""


def import_pycolmap() -> Any:
    """COLMAP's Python package, which is an extra.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pycolmap
    except ImportError as error:
        do = "pip install 'latent-nerfstudio[photos]'"
        raise ImportError(problem("photos", "pycolmap, which finds their poses", "none installed", do)) from error
    pycolmap.logging.minloglevel = 2  # errors alone: the stages have bars
    return pycolmap


def find_poses(
    images: Path, work: Path, masks: Optional[Path], matching: Matching, lens: Lens, same_camera: bool
) -> Any:
    """Finds poses, lenses and a sparse cloud.

    Args:
        images: folder of photos.
        work: folder for COLMAP's database and models, empty.
        masks: folder of masks, NAME.png for the photo NAME; features are found where they are not black.
        matching: of every pair, or of neighbours by name, for films.
        lens: the model of distortion.
        same_camera: whether all were taken with one camera at one zoom.

    Returns:
        pycolmap's largest reconstruction.

    Raises:
        ValueError: no two photos fit together.
    """
    pycolmap = import_pycolmap()
    database, count = work / "database.db", sum(1 for _ in images.iterdir())
    options = {"camera_model": LENSES[lens], **({} if masks is None else {"mask_path": str(masks)})}
    mode = pycolmap.CameraMode.SINGLE if same_camera else pycolmap.CameraMode.AUTO
    watched(
        lambda: pycolmap.extract_features(
            database, images, camera_mode=mode, reader_options=pycolmap.ImageReaderOptions(**options)
        ),
        ("Features", "photo", count, database, "descriptors"),
    )
    pairs = count * (count - 1) // 2 if matching == "exhaustive" else count * OVERLAP
    match = pycolmap.match_exhaustive if matching == "exhaustive" else pycolmap.match_sequential
    watched(lambda: match(database), ("Matching", "pair", pairs, database, "two_view_geometries"))
    (work / "models").mkdir()
    with tqdm(total=count, desc="Poses", unit="photo") as bar:
        models = pycolmap.incremental_mapping(
            database, images, work / "models", next_image_callback=lambda: (bar.update(), None)[1]
        )
    if not models:
        do = "take more photos with more overlap (two thirds of each in the next), sharp and of something with texture"
        raise ValueError(problem("photos", "photos that fit together", f"none of {count}", do))
    return max(models.values(), key=lambda model: model.num_reg_images())


def watched(work: Callable[[], object], stage: tuple[str, str, int, Path, str]) -> None:
    """Does a stage's work with a bar that follows the rows of a table of COLMAP's database.

    Args:
        work: the call, which releases the interpreter's lock.
        stage: name, unit, and number of what is to be done; the database, and its table.
    """
    name, unit, total, database, table = stage
    with tqdm(total=total, desc=name, unit=unit) as bar, ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        while not wait([future], timeout=1.0).done:
            # No such table, or it is locked at this moment.
            with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                (rows,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
                bar.update(min(rows, total) - bar.n)
        future.result()
        bar.update(total - bar.n)
