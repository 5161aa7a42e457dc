"""What training makes of scenes that are unusual and not wrong: masks, transparency, boxes and tags of all kinds.

    lns demo-scenes --output data/base --num-scenes 2 --views 24 --size 64
    python benchmarks/faults.py --data data/base/car_0000

Each row is a copy of the scene, spoilt in one way, and learned by `triplane`. Its PSNR should be that of the row it is
compared with: where something was misread in silence, 3 to 20 dB are missing.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import tyro
from common import Named, Numbers, Results, Training, measure, number, preamble, table, temporary_folder
from PIL import Image

Scene = Dict[str, Any]
"""Contents of transforms.json."""


@dataclass
class Faults:
    """Spoils a scene, learns and measures."""

    data: Path = Path("data/base/car_0000")
    """Folder of the scene."""
    resume: bool = False
    """Keeps the rows that an earlier call has measured."""
    output: Path = Path("benchmarks/faults.json")
    """Numbers; the page is written beside them."""

    def main(self) -> None:
        results = Results(self.output, page, self.resume)
        for name, (steps, like, spoil) in ROWS.items():
            settings = {"name": name, "steps": steps, "like": like}
            results.record(settings, lambda s=spoil, n=steps: learned(self.data, s, n))
        print(self.output.with_suffix(".md").read_text(encoding="utf-8"))


def learned(data: Path, spoil: Callable[[Path, Scene], None], steps: int) -> Numbers:
    """PSNR of the held-out views of a spoilt copy."""
    with temporary_folder() as place:
        folder = Path(place) / "car"
        shutil.copytree(data, folder)
        scene = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
        spoil(folder, scene)
        if scene:
            (folder / "transforms.json").write_text(json.dumps(scene), encoding="utf-8")
        psnr = measure(Training("triplane", Named("car", str(folder))), [steps])[0]["psnr"]
    return {"psnr": psnr}


def unspoilt(folder: Path, scene: Scene) -> None:
    """As it is."""


def boxless(folder: Path, scene: Scene) -> None:
    """Without its box, which is then carved from silhouettes."""
    del scene["aabb"]


def holed(kind: str, held_out: bool = False) -> Callable[[Path, Scene], None]:
    """A red square in each training picture, which a mask of some kind leaves out."""

    def spoil(folder: Path, scene: Scene) -> None:
        generator = np.random.default_rng(0)
        for frame in scene["frames"]:
            path = folder / frame["file_path"]
            row, column = generator.integers(0, 40, 2)
            if frame["file_path"] not in scene["train_filenames"] and not held_out:
                continue
            picture, kept = np.array(Image.open(path)), np.full((64, 64), 255, np.uint8)
            picture[row : row + 24, column : column + 24] = (255, 0, 0, 255)
            kept[row : row + 24, column : column + 24] = 0
            Image.fromarray(picture).save(path)
            save_mask(folder, frame, kept, kind)

    return spoil


def save_mask(folder: Path, frame: Dict[str, Any], kept: np.ndarray, kind: str) -> None:
    """Writes a mask: grey, `palette` (white, black), `jpeg`, another of Pillow's modes, or instant-ngp's `dynamic`."""
    stem = Path(frame["file_path"]).stem
    if kind == "dynamic":
        Image.fromarray(255 - kept).save(folder / "images" / f"dynamic_mask_{stem}.png")
        return
    mask = Image.fromarray(kept)
    if kind == "palette":
        mask = Image.fromarray((kept == 0).astype(np.uint8), mode="P")
        mask.putpalette([255, 255, 255, 0, 0, 0])
    elif kind in ("RGB", "RGBA", "LA"):
        mask = mask.convert(kind)
    name = f"masks/{stem}.{'jpg' if kind == 'jpeg' else 'png'}"
    (folder / "masks").mkdir(exist_ok=True)
    mask.save(folder / name, quality=75)
    frame["mask_path"] = name


def blender(folder: Path, scene: Scene) -> None:
    """The same in Blender's layout: masks in the training frames alone, and a test file whose pictures are absent."""
    holed("grey")(folder, scene)
    frames = {frame["file_path"]: frame for frame in scene["frames"]}
    angle = 2 * float(np.arctan(scene["w"] / (2 * scene["fl_x"])))
    top = {"camera_angle_x": angle, "aabb": scene["aabb"]}
    for split, names in (("train", scene["train_filenames"]), ("val", scene["val_filenames"])):
        content = {**top, "frames": [frames[name] for name in names]}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    absent = [{**frames[name], "file_path": f"absent/{i}"} for i, name in enumerate(scene["test_filenames"])]
    (folder / "transforms_test.json").write_text(json.dumps({**top, "frames": absent}), encoding="utf-8")
    (folder / "transforms.json").unlink()
    scene.clear()


def resaved(change: Callable[[Image.Image], Image.Image], first: int = 0, last: int = 24, **box: Any) -> Any:
    """Without its box, some of the pictures changed."""

    def spoil(folder: Path, scene: Scene) -> None:
        del scene["aabb"]
        scene.update(box)
        for frame in scene["frames"][first:last]:
            path = folder / frame["file_path"]
            change(Image.open(path)).save(path)

    return spoil


def flat(image: Image.Image) -> Image.Image:
    """On white."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def with_palette(image: Image.Image) -> Image.Image:
    """256 colours with transparency."""
    return image.quantize(256, method=Image.Quantize.FASTOCTREE)


def turned(folder: Path, scene: Scene) -> None:
    """JPEGs on white whose EXIF tag says that they are turned."""
    tags = Image.Exif()
    tags[0x0112] = 6
    for frame in scene["frames"]:
        path = folder / frame["file_path"]
        frame["file_path"] = frame["file_path"].replace(".png", ".jpg")
        flat(Image.open(path)).save(folder / frame["file_path"], quality=95, exif=tags)
        path.unlink()
    for split in ("train", "val", "test"):
        scene[f"{split}_filenames"] = [name.replace(".png", ".jpg") for name in scene[f"{split}_filenames"]]


BASE, LONGER, CARVED = "as it is", "as it is, 120 steps", "without a box"
NGP = {"aabb_scale": 1, "scale": 1.0, "offset": [0.5, 0.5, 0.5]}

ROWS: Dict[str, Tuple[int, str, Callable[[Path, Scene], None]]] = {
    BASE: (80, "", unspoilt),
    LONGER: (120, "", unspoilt),
    CARVED: (80, "", boxless),
    "holes; masks in Blender's layout": (80, BASE, blender),
    "holes; masks with palettes": (120, LONGER, holed("palette")),
    "holes; masks as JPEG": (120, LONGER, holed("jpeg")),
    "holes; masks as RGB": (120, LONGER, holed("RGB")),
    "holes; masks as LA": (120, LONGER, holed("LA")),
    "holes in held-out views too": (80, BASE, holed("grey", held_out=True)),
    "holes; instant-ngp's dynamic masks": (80, BASE, holed("dynamic")),
    "no box; palettes with transparency": (80, CARVED, resaved(with_palette)),
    "no box; one picture on white": (80, CARVED, resaved(flat, 0, 1)),
    "no box; one picture with a palette": (80, CARVED, resaved(with_palette, 0, 1)),
    "all on white; instant-ngp's box": (80, CARVED, resaved(flat, **NGP)),
    "JPEGs with EXIF orientation 6": (80, BASE, turned),
}
"""Steps, the row that it should be like, and what is done, by name."""


def page(results: Results) -> str:
    """The page of all records."""
    psnr = {settings["name"]: numbers for settings, numbers in results.find()}
    rows: List[List[str]] = []
    for settings, numbers in results.find():
        like = settings["like"]
        rows.append(
            [settings["name"], str(settings["steps"]), number(numbers, "psnr"), like, number(psnr.get(like), "psnr")]
        )
    head = ("scene", "steps", "PSNR, dB", "should be as", "PSNR, dB")
    return "\n".join([*preamble("Unusual scenes"), *ABOUT, "", *table(head, rows), ""])


ABOUT = [
    "`triplane` on a car of 64 x 64 pixels (21 training views, 3 held out), and on copies of it that are spoilt in one",
    "way; the car is of `lns demo-scenes --output data/base --num-scenes 2 --views 24 --size 64`. A hole is a red",
    "square of 24 x 24 pixels at random in each training view, a seventh of it, which a mask leaves out. Pictures on",
    "white tell no box, so that instant-ngp's, a cube of side 1, is larger than the carved one. One seed.",
]


if __name__ == "__main__":
    tyro.cli(Faults).main()
