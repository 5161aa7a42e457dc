"""Who is waiting, running, done or failed: the table of an inventory, on disk and on the screen."""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Literal, Optional

from rich.table import Table

from latent_nerfstudio.errors import problem
from latent_nerfstudio.escaping import for_markup, for_terminal
from latent_nerfstudio.files.reading import LARGEST_TEXT, read_json
from latent_nerfstudio.files.replacing import write_text

FILE = "status.json"
"""By which a folder of `lns fit-scenes` is known."""

SHOWN = 40
"""Rows of the printed table at most; failed scenes come first."""

State = Literal["waiting", "running", "done", "failed"]

ORDER: Dict[State, int] = {"failed": 0, "running": 1, "done": 2, "waiting": 3}
"""Of the rows that are printed."""


@dataclass(frozen=True)
class SceneStatus:
    """A scene's row."""

    name: str
    state: State = "waiting"
    reason: str = ""
    """Why it failed, or what is doubtful about it."""
    psnr: Optional[float] = None
    """Mean over its held-out views, dB."""
    ssim: Optional[float] = None
    """Mean over its held-out views."""
    seconds: Optional[float] = None
    """Its share of the time that its chunk took, from reading to measuring."""
    steps: Optional[int] = None
    bytes: Optional[int] = None
    """Size of its file."""
    worker: str = ""
    """Host and process that fitted it."""
    stamp: str = ""
    """Of the files that it was fitted from, see `folder_stamp`."""


class StatusTable:
    """The rows of all scenes, written to a file at each change, with what the bundle took and where they come from."""

    def __init__(self, path: Path, names: Iterable[str], shared: Optional[Dict[str, float]] = None, data: str = ""):
        self.path, self.shared, self.data = path, shared or {}, data
        self.rows: Dict[str, SceneStatus] = {name: SceneStatus(name) for name in names}

    @classmethod
    def read(cls, path: Path) -> "StatusTable":
        """The table in a file; raises ValueError for another file."""
        content = read_json(path, "call lns fit-scenes again", LARGEST_TEXT)
        try:
            shared = {name: float(value) for name, value in content.get("shared", {}).items()}
            table = cls(path, (), shared, str(content.get("data", "")))
            table.rows = {row["name"]: row_from(row) for row in content["scenes"]}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            got = f"{type(error).__name__}: {error}"
            raise ValueError(problem(path, "what lns fit-scenes wrote", got, "call it again")) from error
        return table

    def update(self, rows: Iterable[SceneStatus]) -> None:
        """Takes rows in and writes all as JSON, atomically."""
        self.rows.update({row.name: row for row in rows})
        own = [{n: v for n, v in dataclasses.asdict(row).items() if v not in (None, "")} for row in self.rows.values()]
        content = {"counts": self.counts(), "data": self.data, "shared": self.shared, "scenes": own}
        write_text(self.path, json.dumps(content, indent=1))

    def stop(self) -> None:
        """What was running waits again."""
        self.update([SceneStatus(row.name) for row in self.rows.values() if row.state == "running"])

    def counts(self) -> Dict[str, int]:
        return dict(Counter(row.state for row in self.rows.values()))

    def ended(self) -> int:
        """How many are done or have failed."""
        return sum(row.state in ("done", "failed") for row in self.rows.values())

    def done(self) -> List[SceneStatus]:
        return [row for row in self.rows.values() if row.state == "done"]

    def failed(self) -> List[SceneStatus]:
        return [row for row in self.rows.values() if row.state == "failed"]

    def summary(self) -> str:
        """One line: how many are done, with means, and how many are not."""
        done = self.done()
        others = ", ".join(f"{count} {state}" for state, count in self.counts().items() if state != "done")
        means = ""
        if done:
            psnr, seconds, size = (mean(done, name) for name in ("psnr", "seconds", "bytes"))
            measured = sum(row.psnr is not None for row in done)
            quality = f"PSNR {psnr:.2f} dB" + (f" of {measured}" if measured < len(done) else "")
            quality = quality if measured else "PSNR not measured"
            means = f" (means: {quality}, {seconds:.1f} s, {size:,.0f} bytes a scene)"
        return f"{len(done)} of {len(self.rows)} scenes done{means}" + (f", {others}" if others else "")

    def shown(self) -> List[SceneStatus]:
        """The rows for a screen, failed scenes first, then doubted ones."""
        return sorted(self.rows.values(), key=lambda row: (ORDER[row.state], not row.reason))[:SHOWN]

    def drawn(self) -> Table:
        """The table for a screen; `reasons` are lines of their own, as a column of it would be ten letters wide."""
        more = len(self.rows) - SHOWN
        left_out = f"and {more:,} more in {for_markup(self.path)}" if more > 0 else None
        table = Table(caption=left_out, caption_justify="left")
        for title in ("scene", "state"):
            table.add_column(title, overflow="fold")
        for title in ("PSNR", "SSIM", "seconds", "steps", "bytes"):
            table.add_column(title, justify="right")
        table.add_column("worker")
        for row in self.shown():
            table.add_row(*cells(row))
        return table

    def reasons(self) -> List[str]:
        """A line for each scene in the table that failed, or of which something is doubtful, that says why."""
        return [for_terminal(f"{row.name}, {state_of(row)}: {row.reason}") for row in self.shown() if row.reason]


def row_from(entry: Dict[str, Any]) -> SceneStatus:
    """A row of what JSON has of it."""
    texts: Any = {name: str(entry.get(name, "")) for name in ("name", "state", "reason", "worker", "stamp")}
    numbers: Any = {name: float(entry[name]) for name in ("psnr", "ssim", "seconds") if name in entry}
    numbers.update({name: int(entry[name]) for name in ("steps", "bytes") if name in entry})
    return SceneStatus(**texts, **numbers)


def mean(rows: List[SceneStatus], name: str) -> float:
    """Mean of a number over rows, of those that have it; NaN where none has."""
    values = [float(value) for value in (getattr(row, name) for row in rows) if value is not None]
    return sum(values) / len(values) if values else float("nan")


def cells(row: SceneStatus) -> List[str]:
    formats = (("psnr", ".2f"), ("ssim", ".3f"), ("seconds", ".1f"), ("steps", "d"), ("bytes", ",d"))
    numbers = ["" if getattr(row, name) is None else format(getattr(row, name), form) for name, form in formats]
    if row.state == "done" and row.psnr is None:
        numbers[0] = "not measured"
    return [for_markup(row.name), state_of(row), *numbers, for_markup(row.worker)]


def state_of(row: SceneStatus) -> str:
    """The state in words: what is done and has a reason to be looked at is doubted."""
    return "doubted" if row.state == "done" and row.reason else row.state
