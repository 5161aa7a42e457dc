"""Chooses the meshes that the bundle of objects is learned from, and those that it is measured on.

    python scripts/choose_objects.py --objects OBJECTS --photos PHOTOS --out data/objects/meshes

OBJECTS is a folder of GLBs with a manifest.csv (path, source, faces, has_texture, n_colours, flatness). Realistic
objects are all taken, and most of them twice, at 128 and at 256 pixels; of stylised ones some are taken as they are,
and some with photos on their sides, since no photographed product is of plain colours; further ones of both kinds are
for the scene encoder alone. Sources in `HELD_OUT` are for measuring alone.
"""

import csv
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import tyro
from PIL import Image

HELD_OUT = ("osrf", "Restaurant", "bookstore", "BabylonJS")
"""Parts of the names of sources that training never sees."""

REALISTIC = ("aws", "playcanvas", "NVIDIA")
"""Beginnings of the names of sources of realistic objects."""

NO_OBJECTS = re.compile(
    r"tile|road|wall|floor|hex|ground|terrain|building|house|arm|gripper|plane\b|ceiling|stairs|fence|path|river|coast"
    r"|bridge|roof|corner|shelf_collision|Robot",
    re.IGNORECASE,
)
"""Names of stylised meshes that are parts of scenery or of machines."""

MOST_FACES = 60000
HELD_OUT_PHOTOS = 74
"""The last photos by name, which no autoencoder sees."""


@dataclass
class ChooseObjects:
    """Links and writes meshes into one folder a set: realistic, stylised and photo-textured ones at two sizes."""

    objects: Path
    """Folder of GLBs with manifest.csv."""
    photos: Path
    """Folder of photos (.jpg) for the sides of stylised meshes."""
    out: Path
    """Folder to write to."""

    def main(self) -> None:
        with open(self.objects / "manifest.csv", encoding="utf-8") as file:
            kinds = choose(list(csv.DictReader(file)))
        randomness = random.Random(5)
        real, style, held = kinds["realistic"], kinds["stylised"], kinds["held out"]
        self.link("real128", real)
        self.link("real256", randomness.sample(real, 56))
        self.link("style128", style[:56])
        self.link("style256", style[56:72])
        products, others = ([p for p in held if ("osrf" in p) == is_osrf] for is_osrf in (True, False))
        for name, paths, count in (("held_osrf", products, 16), ("held_other", others, 8)):
            randomness.shuffle(paths)
            self.link(name, paths[:count])
        photos = sorted(self.photos.glob("*.jpg"))[:-HELD_OUT_PHOTOS]
        self.link("more_style128", kinds["more stylised"])
        for kind, more in (("with photos", ""), ("more with photos", "more_"), ("many with photos", "many_")):
            for index, path in enumerate(kinds[kind]):
                size, most = ("256", 18) if index % 4 == 0 and not more else ("128", 1000 if more else 52)
                folder = self.out / f"{more}photo{size}"
                folder.mkdir(parents=True, exist_ok=True)
                if len(list(folder.iterdir())) < most:
                    with_photos(self.objects / path, photos, randomness).export(folder / f"p{index:03d}.glb")

    def link(self, name: str, paths: List[str]) -> None:
        """Links meshes into a folder."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            link = folder / path.replace("/", "__").replace("+", "_")
            if not link.is_symlink():
                link.symlink_to((self.objects / path).resolve())


def choose(rows: List[Dict[str, str]]) -> Dict[str, List[str]]:
    """Paths of a manifest by what they are used for."""
    kinds: Dict[str, List[Dict[str, str]]] = {"realistic": [], "stylised": [], "held out": []}
    for row in rows:
        kind = kind_of(row)
        if kind and int(row["faces"]) <= MOST_FACES:
            kinds[kind].append(row)
    stylised = kinds["stylised"]
    textured = [row for row in stylised if row["has_texture"] == "1" and float(row["flatness"]) < 0.7]
    plain = [row for row in stylised if row not in textured and int(row["n_colours"]) >= 3]
    randomness = random.Random(3)
    randomness.shuffle(textured)
    randomness.shuffle(plain)
    chosen = {
        "realistic": kinds["realistic"],
        "stylised": textured[:60] + plain[:30],
        "with photos": textured[60:90] + plain[30:90],
        "more stylised": textured[90:240],
        "more with photos": plain[90:390],
        "many with photos": plain[390:] + textured[240:],
        "held out": kinds["held out"],
    }
    return {name: [row["path"] for row in these] for name, these in chosen.items()}


def kind_of(row: Dict[str, str]) -> str:
    """What a mesh is; empty for one that is left out."""
    source = row["source"]
    if any(name in source for name in HELD_OUT):
        return "held out"
    if source.startswith(REALISTIC):
        return "realistic"
    is_scenery = source.startswith("Kenney") or NO_OBJECTS.search(Path(row["path"]).stem)
    return "" if is_scenery else "stylised"


def with_photos(path: Path, photos: List[Path], randomness: random.Random) -> Any:
    """A mesh whose faces show a photo, projected along the axis that each face looks along, at a random scale."""
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    scene: Any = trimesh.load(path)
    plain = scene.to_geometry()
    mesh = trimesh.Trimesh(plain.vertices, plain.faces, process=False)
    mesh.unmerge_vertices()
    corners = np.asarray(mesh.vertices).reshape(-1, 3, 3)
    axes = np.array([[2, 1], [0, 2], [0, 1]])[np.abs(mesh.face_normals).argmax(1)]
    uv = np.take_along_axis(corners, axes[:, None, :].repeat(3, axis=1), 2).reshape(-1, 2)
    extent = float((mesh.vertices.max(0) - mesh.vertices.min(0)).max())
    uv = (uv - mesh.vertices.min()) / extent * randomness.uniform(0.8, 2.2) + randomness.random()
    picture = Image.open(randomness.choice(photos)).convert("RGB").resize((320, 320), Image.Resampling.LANCZOS)
    if randomness.random() < 0.4:
        label = Image.open(randomness.choice(photos)).convert("RGB").resize((160, 160))
        picture.paste(label, (randomness.randrange(160), randomness.randrange(160)))
    material = PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0)
    mesh.visual = TextureVisuals(uv=uv, material=material)
    return mesh


if __name__ == "__main__":
    tyro.cli(ChooseObjects).main()
