"""Checks of cameras and splits."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from latent_nerfstudio.errors import problem

RIGID_TOLERANCE = 1e-2
"""How far R R^T may be from the identity: above the rounding of hand-written files, below a 1 % scale."""

LARGEST = 1e9
"""Largest number of a camera file, pixels or world units: its square is still far from float32's largest."""

SMALLEST = 1e-9
"""Smallest positive number of a camera file: float32 has no 1e-320."""

FAR = 100.0
"""Times the usual distance of cameras from their middle beyond which one is an outlier of its capture."""

ALIKE = 1e-6
"""Difference of poses that no two photos have."""


def check_poses(camera_to_worlds: Float[np.ndarray, "views 3 4"], names: Sequence[str], where: object) -> None:
    """Refuses poses that are not rigid or, as where none were found, all alike."""
    check_rigid(camera_to_worlds, names, where)
    if len(camera_to_worlds) > 1 and np.abs(camera_to_worlds - camera_to_worlds[:1]).max() < ALIKE:
        got, do = f"{len(camera_to_worlds)} that are all alike", "give their poses (lns process-photos, COLMAP)"
        raise ValueError(problem(f"{where}, poses", "one of its own for each photo", got, do))


def check_rigid(camera_to_worlds: Float[np.ndarray, "views 3 4"], names: Sequence[str], where: object) -> None:
    """Refuses poses (any axis convention) that are not finite, not a rotation and a place, or a mirror image."""
    good = (np.abs(camera_to_worlds) <= LARGEST).all(axis=(1, 2))
    if not good.all():
        index = int(np.argmin(good))
        finite = np.isfinite(camera_to_worlds[index]).all()
        got = f"{np.abs(camera_to_worlds[index]).max():g}" if finite else "NaN or infinity"
        expected = f"finite numbers up to {LARGEST:g}"
        raise ValueError(problem(f"{where}, pose of '{names[index]}'", expected, got, "repair the pose"))
    rotations = camera_to_worlds[:, :, :3]
    deviation = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    worst = int(np.argmax(deviation))
    if deviation[worst] > RIGID_TOLERANCE:
        got = f"a matrix R with |R R^T - 1| = {deviation[worst]:.3g}"
        do = "write rigid poses, without scale or shear"
        raise ValueError(problem(f"{where}, pose of '{names[worst]}'", "a rotation", got, do))
    determinants = np.linalg.det(rotations)
    if (determinants < 0).any():
        name = names[int(np.argmin(determinants))]
        do = "write right-handed camera axes (x right, y up, z backwards)"
        raise ValueError(problem(f"{where}, pose of '{name}'", "a rotation (determinant +1)", "a mirror image", do))


def check_last_row(matrix: Float[np.ndarray, "rows 4"], what: str) -> None:
    """Refuses a pose of four rows whose last is not 0 0 0 1: its transpose is a rotation too, without any place."""
    if len(matrix) == 4 and not np.abs(matrix[3] - (0, 0, 0, 1)).max() <= RIGID_TOLERANCE:
        got = " ".join(f"{value:g}" for value in matrix[3])
        do = "write it row by row: its last column is where the camera stands"
        raise ValueError(problem(what, "a last row of 0 0 0 1", got, do))


def words_of_outlier(positions: Float[np.ndarray, "views 3"], names: Sequence[str]) -> str:
    """In words, which camera is a hundred times farther from the median position than the median camera, if one is."""
    distances = np.linalg.norm(positions - np.median(positions, axis=0), axis=1)
    usual, worst = float(np.median(distances)), int(np.argmax(distances))
    if not 0 < FAR * usual < distances[worst]:
        return ""
    expected, got = f"all about {usual:.3g} from their middle", f"'{names[worst]}' {distances[worst]:.3g} from it"
    return problem("cameras", expected, got, "correct its pose, or leave it out")


def check_positive(values: Float[np.ndarray, " views"], what: str, names: Sequence[str], where: object) -> None:
    """Refuses intrinsics, one number a view in pixels, that are not in [1e-9, 1e9]; ValueError names the first view."""
    good = (values >= SMALLEST) & (values <= LARGEST)
    if not good.all():
        worst = int(np.argmin(good))
        got = f"{values[worst]:g} for '{names[worst]}'"
        raise ValueError(problem(f"{where}, {what}", "a positive number of pixels", got, "repair the intrinsics"))


def check_view_count(count: int, where: object, absent: Sequence[str] = ()) -> None:
    """Refuses a scene without a view whose image is on disk; `absent` names images that are listed and not there."""
    if not count:
        got = "0" if not absent else f"0 ({len(absent)} listed images are absent, the first is '{absent[0]}')"
        do = "add images" if not absent else "put the images where the camera file says they are"
        raise ValueError(problem(where, "at least 1 view with an image", got, do))


def check_unique(names: Sequence[str], what: str, where: object) -> None:
    """Refuses a name that occurs twice; ValueError names it."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        do = "remove the duplicate entry"
        raise ValueError(problem(f"{where}, {what}", "each image once", f"'{twice}' twice", do))
