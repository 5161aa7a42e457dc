"""Three meshes that are nothing like cars, made of simple shapes: a lamp, a laid table and a chess king.

    python benchmarks/make_meshes.py data/meshes
    lns render-meshes data/meshes --output data/objects

They are scenes of another family for autoencoders that have seen cars.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
import trimesh
import tyro
from jaxtyping import Float
from trimesh import creation

Point = Tuple[float, float, float]
"""A place or a size: x, y, z, with z up."""

Colour = Float[np.ndarray, "3"]
"""RGB in [0, 1]."""

Paint = Callable[[Float[np.ndarray, "faces 3"]], Float[np.ndarray, "faces 3"]]
"""Colours of faces by their centres, relative to the part's own origin."""

FINEST = 0.014
"""Longest edge of a face; meshes are about 1 wide, so that it is about a pixel of pictures of 128 pixels."""


@dataclass
class MakeMeshes:
    """Writes lamp.ply, table.ply and king.ply, with colours."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write them to."""
    count: int = 3
    """Number of meshes; of each kind the first has its name alone, others a number too."""
    seed: int = 0
    """Of proportions and colours."""

    def main(self) -> None:
        """Writes the meshes."""
        self.out.mkdir(parents=True, exist_ok=True)
        for index in range(self.count):
            again, kind = divmod(index, len(MESHES))
            name = list(MESHES)[kind]
            mesh = join(MESHES[name](np.random.default_rng([self.seed, index])))
            mesh.export(self.out / (f"{name}_{again}.ply" if again else f"{name}.ply"))
        print(f"Wrote {self.count} meshes to {self.out}")


def lamp(random: np.random.Generator) -> List[trimesh.Trimesh]:
    """A table lamp: foot, bulbous body with rings, stem, striped shade."""
    body, light, band = (colour(random, *limits) for limits in ((0.6, 0.7), (0.25, 0.95), (0.8, 0.75)))
    width = random.uniform(0.38, 0.46)
    profile = [(0, 0), (0.2, 0), (0.21, 0.03), (0.06, 0.06), (0.05, 0.1), (0.15, 0.18), (0.17, 0.26), (0.12, 0.36)]
    profile += [(0.04, 0.44), (0.025, 0.5), (0.025, 0.62), (0, 0.62)]
    shade = [(0.2, 1.0), (width, 0.58), (width - 0.02, 0.58), (0.18, 1.0), (0.2, 1.0)]
    finial = (0.0, 0.0, 0.98)
    return [
        part(turned(profile), rings(body, 0.6 * body, 0.06)),
        part(turned(shade), sectors(light, band, 8)),
        part(creation.cylinder(0.012, 0.42), plain(grey(0.3)), (0, 0, 0.8)),
        part(creation.icosphere(subdivisions=3, radius=0.045), plain(np.array([0.85, 0.65, 0.2])), finial),
        *(part(box(0.36, 0.012, 0.012), plain(grey(0.3)), (0, 0, 0.96), turn) for turn in (0.0, 90.0)),
    ]


def table(random: np.random.Generator) -> List[trimesh.Trimesh]:
    """A round table with a checked cloth, and on it a teapot, two mugs, a bowl of fruit and books."""
    wood, cloth, pot = (colour(random, *limits) for limits in ((0.5, 0.55), (0.75, 0.8), (0.55, 0.85)))
    wood = 0.5 * wood + 0.5 * np.array([0.55, 0.33, 0.16])
    legs = [(x, y, 0.18) for x in (-0.27, 0.27) for y in (-0.27, 0.27)]
    parts = [part(box(0.06, 0.06, 0.36), rings(wood, 0.75 * wood, 0.09), leg) for leg in legs]
    board = [(0, 0.355), (0.48, 0.355), (0.5, 0.38), (0.48, 0.405), (0, 0.405)]
    parts += [part(turned(board), stripes(wood, 0.75 * wood, 0.1))]
    parts += [part(box(0.54, 0.54, 0.012), checks(cloth, grey(0.95), 0.09), (-0.08, 0, 0.411))]
    top = 0.417
    profile = [(0, 0), (0.08, 0), (0.12, 0.06), (0.12, 0.1), (0.07, 0.16), (0.03, 0.17), (0.025, 0.2), (0, 0.21)]
    parts += [part(turned(profile), rings(pot, grey(0.95), 0.05), (-0.05, 0.08, top))]
    parts += [part(creation.torus(0.06, 0.014), plain(pot), (-0.19, 0.08, top + 0.09), 0.0, 90.0)]
    for place in ((-0.25, -0.16, top), (0.02, -0.19, top)):
        mug = [(0, 0), (0.05, 0), (0.055, 0.1), (0.045, 0.1), (0.04, 0.02), (0, 0.02)]
        parts += [part(turned(mug), rings(colour(random, 0.7, 0.9), grey(0.9), 0.034), place)]
    bowl = [(0, 0), (0.06, 0), (0.14, 0.09), (0.125, 0.09), (0.05, 0.02), (0, 0.02)]
    parts += [part(turned(bowl), plain(grey(0.85)), (0.31, 0.16, 0.405))]
    for angle in np.radians((20, 140, 260)):
        place = (0.31 + 0.055 * np.cos(angle), 0.16 + 0.055 * np.sin(angle), 0.49)
        parts += [part(creation.icosphere(subdivisions=3, radius=0.052), plain(colour(random, 0.85, 0.9)), place)]
    for level, turn in enumerate((8.0, -12.0, 20.0)):
        place = (0.29, -0.16, 0.4225 + 0.035 * level)
        parts += [part(box(0.2, 0.14, 0.034), stripes(colour(random, 0.65, 0.7), grey(0.92), 0.045), place, turn)]
    return parts


def king(random: np.random.Generator) -> List[trimesh.Trimesh]:
    """A chess king with a cross, on a checked plinth."""
    stone, dark = colour(random, 0.3, 0.9), colour(random, 0.7, 0.4)
    profile = [(0, 0), (0.21, 0), (0.22, 0.05), (0.17, 0.09), (0.18, 0.12), (0.12, 0.16), (0.085, 0.3), (0.07, 0.5)]
    profile += [
        (0.13, 0.53),
        (0.13, 0.56),
        (0.09, 0.58),
        (0.12, 0.72),
        (0.14, 0.74),
        (0.05, 0.79),
        (0.03, 0.81),
        (0, 0.81),
    ]
    gold = np.array([0.85, 0.62, 0.15])
    return [
        part(box(0.6, 0.6, 0.08), checks(grey(0.93), dark, 0.15), (0, 0, 0.04)),
        part(turned(profile), rings(stone, dark, 0.14), (0, 0, 0.08)),
        part(creation.torus(0.125, 0.02), plain(gold), (0, 0, 0.62)),
        part(box(0.035, 0.035, 0.15), plain(gold), (0, 0, 0.96)),
        part(box(0.035, 0.11, 0.035), plain(gold), (0, 0, 0.97)),
    ]


MESHES: Dict[str, Callable[[np.random.Generator], List[trimesh.Trimesh]]] = {"lamp": lamp, "table": table, "king": king}
"""By the names of their files."""


def part(
    mesh: Any, paint: Paint, place: Sequence[float] = (0, 0, 0), turn: float = 0.0, tilt: float = 0.0
) -> trimesh.Trimesh:
    """A shape with colours, cut finely enough for them.

    Args:
        mesh: the shape around its origin.
        paint: its colours.
        place: where its origin goes.
        turn: degrees about the vertical axis.
        tilt: degrees about the x axis, before.
    """
    fine = mesh.subdivide_to_size(FINEST, max_iter=12)
    faces = np.asarray(fine.vertices)[np.asarray(fine.faces)]
    colours = np.repeat(
        paint(faces.mean(axis=1)), 3, axis=0
    )  # corners are not shared, so that edges of colours are sharp
    pose = trimesh.transformations.euler_matrix(np.radians(tilt), 0, np.radians(turn))
    pose[:3, 3] = place
    corners = trimesh.transform_points(faces.reshape(-1, 3), pose)
    painted = np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    indices = np.arange(len(corners)).reshape(-1, 3)
    return trimesh.Trimesh(corners, indices, vertex_colors=painted, process=False)


def join(parts: Sequence[trimesh.Trimesh]) -> Any:
    """One mesh of many."""
    return trimesh.util.concatenate(list(parts))


def box(*extents: float) -> trimesh.Trimesh:
    """A box around the origin."""
    return creation.box(extents)


def turned(profile: Sequence[Tuple[float, float]]) -> trimesh.Trimesh:
    """A body that is turned on a lathe: radii and heights along its outline."""
    return creation.revolve(np.array(profile, dtype=float), sections=48)


def colour(random: np.random.Generator, saturation: float, value: float) -> Colour:
    """A colour of a random hue."""
    hue = 2 * np.pi * (random.random() + np.array([0.0, 1 / 3, 2 / 3]))
    return value * (1 - saturation * (0.5 - 0.5 * np.cos(hue)))


def grey(value: float) -> Colour:
    """A colour without a hue."""
    return np.full(3, value)


def plain(one: Colour) -> Paint:
    """One colour."""
    return lambda centres: np.broadcast_to(one, centres.shape)


def alternating(one: Colour, other: Colour, count: Callable[[Any], Any]) -> Paint:
    """Two colours, by whether a number is even."""
    return lambda centres: np.where((count(centres) % 2 == 0)[:, None], one, other)


def rings(one: Colour, other: Colour, width: float) -> Paint:
    """Bands around the vertical axis."""
    return alternating(one, other, lambda c: np.floor(c[:, 2] / width).astype(int))


def stripes(one: Colour, other: Colour, width: float) -> Paint:
    """Stripes along x."""
    return alternating(one, other, lambda c: np.floor(c[:, 1] / width + 0.5).astype(int))


def checks(one: Colour, other: Colour, width: float) -> Paint:
    """Squares seen from above."""
    return alternating(one, other, lambda c: np.floor(c[:, :2] / width).astype(int).sum(axis=1))


def sectors(one: Colour, other: Colour, count: int) -> Paint:
    """Pairs of sectors around the vertical axis."""
    return alternating(one, other, lambda c: np.floor(np.arctan2(c[:, 1], c[:, 0]) / np.pi * count + 0.25).astype(int))


if __name__ == "__main__":
    tyro.cli(MakeMeshes).main()
