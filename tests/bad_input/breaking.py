"""What a row of the table is, and ways to break things."""

import json
import os
import struct
import zipfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Optional, Sequence

from PIL import Image

Change = Callable[[Path], Any]
"""What breaks a folder of copies."""


@dataclass(frozen=True)
class Case:
    """A row of the table: one check that the package makes."""

    wrong: str
    """What is wrong, in words."""
    says: str
    """What the error is about and what it expects; `...` stands for words of libraries."""
    breaks: Optional[Change] = None
    """Breaks the copies, given their folder."""
    command: Optional[str] = None
    """What is called: `lns ...`, `ns-train ...`, or an expression in Python; FOLDER is where the copies are."""
    takes: Optional[str] = None
    """Names of what is copied from the kit, separated by blanks, where it is not what the command names."""
    around: Callable[[Path], ContextManager[Any]] = nullcontext
    """Changes the machine while the command runs."""


@dataclass(frozen=True)
class Group:
    """Rows that belong together."""

    title: str
    """Its heading in the documentation."""
    text: str
    """What is said under it."""
    rows: Sequence[Case]
    """Those that name no command, or nothing to take, have that of the group."""
    command: str = ""
    takes: Optional[str] = None

    @property
    def cases(self) -> List[Case]:
        """The rows, whole."""
        own = {"command": self.command, "takes": self.takes}
        return [replace(row, **{k: v for k, v in own.items() if getattr(row, k) is None}) for row in self.rows]


def write(name: str, text: str) -> Change:
    return put(name, text.encode())


def put(name: str, data: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    return change


def pipe(name: str) -> Change:
    """Puts a pipe in the place of a file."""
    return lambda folder: [(folder / name).unlink(), os.mkfifo(folder / name)]


def picture(name: str, mode: str, form: str = "png") -> Change:
    """Writes a black picture of 8 x 8."""
    return lambda folder: Image.new(mode, (8, 8)).save(folder / name, form)


def remove(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def rename(name: str, other: str) -> Change:
    def change(folder: Path) -> None:
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(folder / other)

    return change


def cut(name: str, keep: float = 0.5) -> Change:
    """Leaves the first part of a file."""

    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(keep * len(data))])

    return change


def flip(name: str, place: float) -> Change:
    """Changes a byte at a place between 0, the beginning, and 1, the end."""

    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(place * (len(data) - 1))] ^= 0xFF
        (folder / name).write_bytes(data)

    return change


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def edit(name: str, change: Callable[[Any], Any]) -> Change:
    """Changes the content of a JSON file in place, or replaces it by what is returned."""

    def change_file(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        other = change(content)
        (folder / name).write_text(json.dumps(content if other is None else other), encoding="utf-8")

    return change_file


def update(content: Dict[str, Any], values: Mapping[str, Any]) -> None:
    """Sets entries of a JSON object; `...` removes them."""
    content.update(values)
    for key in [key for key, value in values.items() if value is ...]:
        del content[key]


def entries(name: str, **values: Any) -> Change:
    """Entries of a JSON file, see `update`."""
    return edit(name, lambda content: update(content, values))


def top(**values: Any) -> Change:
    """Entries of the scene's transforms.json."""
    return entries("scene/transforms.json", **values)


def frame(index: int, **values: Any) -> Change:
    """Entries of one of its frames."""
    return edit("scene/transforms.json", lambda content: update(content["frames"][index], values))


def pose(change: Callable[[List[List[float]]], Any]) -> Change:
    """Changes the pose of frame 1."""
    return edit("scene/transforms.json", lambda content: change(content["frames"][1]["transform_matrix"]))


def header(name: str, change: Callable[[Dict[str, Any]], Any]) -> Change:
    """Changes the header of a safetensors file."""

    def change_file(folder: Path) -> None:
        data = (folder / name).read_bytes()
        end = 8 + struct.unpack("<Q", data[:8])[0]
        content = json.loads(data[8:end])
        change(content)
        text = json.dumps(content).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data[end:])

    return change_file


def said(change: Callable[[Dict[str, Any]], Any]) -> Change:
    """Changes what the file of scene a says of itself."""

    def in_header(content: Dict[str, Any]) -> None:
        meta = json.loads(content["__metadata__"]["scene"])
        change(meta)
        content["__metadata__"]["scene"] = json.dumps(meta)

    return header("files/a.safetensors", in_header)


def signed(**values: Any) -> Change:
    """Changes what the file of scene a says of itself, and its SHA-256 with it, as somebody with ill will would."""

    def change(folder: Path) -> None:
        from safetensors.torch import load_file, safe_open, save_file

        from latent_nerfstudio.scene_files.scene_file import digest

        path = folder / "files" / "a.safetensors"
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["scene"])
        meta.update(values)
        del meta["sha256"]
        tensors = load_file(path)
        meta["sha256"] = digest(meta, tensors)
        save_file(tensors, path, {"scene": json.dumps(meta)})

    return change


def resigned(part: Optional[str] = None, **values: Any) -> Change:
    """Entries of bundle.json, or of an object in it, and its hash with them, as somebody with ill will would."""

    def change(folder: Path) -> None:
        from latent_nerfstudio.models.bundle_folder import hash_folder

        place = folder / "bundle" / "shared_bundle"
        settings = json.loads((place / "bundle.json").read_text())
        update(settings if part is None else settings[part], values)
        settings["hash"] = hash_folder(place, settings)
        (place / "bundle.json").write_text(json.dumps(settings))

    return change


def tensors(change: Callable[[Dict[str, Any]], Any]) -> Change:
    """Changes the tensors of the bundle, and its hash with them."""

    def change_file(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "bundle" / "shared_bundle" / "shared.safetensors"
        values = load_file(path)
        change(values)
        save_file(values, path)
        resigned()(folder)

    return change_file


def zipped(members: Mapping[str, Optional[bytes]], compression: int = zipfile.ZIP_STORED) -> Change:
    """Writes files.zip with other members; None takes them from files/."""

    def change(folder: Path) -> None:
        with zipfile.ZipFile(folder / "files.zip", "w", compression) as archive:
            for name, data in members.items():
                own = folder / "files" / name
                archive.writestr(name, own.read_bytes() if data is None else data)

    return change


class Harmful:
    """Would run code when it is read."""

    def __reduce__(self) -> Any:
        return (print, ("harm",))


def saved(name: str, content: Callable[[], Any]) -> Change:
    """Writes a file by torch.save."""

    def change(folder: Path) -> None:
        import torch

        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(content(), folder / name)

    return change
