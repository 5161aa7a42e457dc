"""The head of a safetensors file from a stranger, read without trust in any of its numbers.

A safetensors file is eight bytes with the length of a JSON header, the header, and the tensors one behind the other.
The header must be small, and what it says of the tensors must add up to the file's own size, so that nothing is put
into memory that the disk does not hold.
"""

import json
import math
from io import BufferedIOBase
from typing import Any, Dict, List, NamedTuple, Tuple

import torch

from latent_nerfstudio.errors import problem

MAX_HEADER = 1 << 20
"""Bytes of a header at most; a scene's facts are in it."""

DTYPES: Dict[str, torch.dtype] = {"F16": torch.float16, "F32": torch.float32, "I8": torch.int8}
"""Types by the names that safetensors gives them."""

AGAIN = "copy the file again"


class Entry(NamedTuple):
    """Where a tensor lies."""

    dtype: torch.dtype
    """Type."""
    shape: Tuple[int, ...]
    """Shape."""
    start: int
    """First byte, counted from the first tensor's."""

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.start + self.dtype.itemsize * math.prod(self.shape)


def read_header(stream: BufferedIOBase, size: int, where: str) -> Tuple[Dict[str, Any], Dict[str, Entry]]:
    """Reads the head of a safetensors file and leaves the stream at its first tensor.

    Args:
        stream: the file.
        size: its bytes.
        where: its name, for messages.

    Returns:
        What the JSON of the metadata entry `scene` says, and the tensors by name.

    Raises:
        ValueError: another kind of file, or a header that does not fit the file's size.
    """
    first = stream.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
        got = f"a header of {length} bytes in {size}" if len(first) == 8 else f"{len(first)} bytes"
        raise ValueError(problem(where, "a scene file", got, "name one that lns export-scenes wrote"))
    header = load_json(stream.read(length), where)
    metadata = header.pop("__metadata__", None)
    text = metadata.get("scene") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        got = "a safetensors file of another kind"
        raise ValueError(problem(where, "a scene file", got, "name one that lns export-scenes wrote"))
    entries = {name: read_entry(name, value, where) for name, value in header.items()}
    check_places(entries, size - 8 - length, where)
    return load_json(text.encode("utf-8", "surrogatepass"), where), entries


def load_json(data: bytes, where: str) -> Dict[str, Any]:
    """A JSON object of finite numbers, whose names occur once each.

    Raises:
        ValueError: anything else.
    """

    def unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name that occurs twice")
        return dict(pairs)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        json.dumps(value, allow_nan=False)  # json.loads takes NaN, and 1e999 for infinity
    except (ValueError, RecursionError) as error:
        raise ValueError(problem(where, "a header in JSON", f"'{str(error)[:200]}'", AGAIN)) from error
    if not isinstance(value, dict):
        raise ValueError(problem(where, "a JSON object as header", type(value).__name__, AGAIN))
    return value


def read_entry(name: str, value: Any, where: str) -> Entry:
    """What a header says of one tensor.

    Raises:
        ValueError: an unknown type, no shape, or a place that does not fit the shape.
    """
    fields = value if isinstance(value, dict) else {}
    kind: Any
    shape: Any
    place: Any
    kind, shape, place = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in DTYPES or not is_whole(shape) or not is_whole(place) or len(place) != 2:
        expected = f"a type out of {', '.join(DTYPES)}, a shape and a place for {name[:40]!r}"
        raise ValueError(problem(where, expected, repr(value)[:100], AGAIN))
    entry = Entry(DTYPES[kind], tuple(shape), place[0])
    if entry.end != place[1]:
        got = f"the shape {shape} and the bytes {place}"
        raise ValueError(problem(where, f"a shape and a place of {name[:40]!r} that fit", got, AGAIN))
    return entry


def is_whole(values: Any) -> bool:
    """Whether these are a few whole numbers, none negative; JSON's `true` is an int in Python."""
    return isinstance(values, list) and len(values) <= 8 and all(type(n) is int and 0 <= n < 1 << 40 for n in values)


def check_places(entries: Dict[str, Entry], size: int, where: str) -> None:
    """Refuses tensors with gaps or overlaps, and those that do not fill the file.

    Raises:
        ValueError: such tensors.
    """
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != end:
            raise ValueError(problem(where, f"a tensor at byte {end}", f"one at {entry.start}", AGAIN))
        end = entry.end
    if end != size:
        raise ValueError(problem(where, f"{end} bytes of tensors", f"{size}, so it is cut or longer", AGAIN))
