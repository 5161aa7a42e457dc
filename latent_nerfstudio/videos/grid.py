"""A grid of pictures under the names of scenes: where its panels lie, and its frames."""

import math
from dataclasses import dataclass, replace
from typing import Sequence, Tuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from latent_nerfstudio.errors import problem

GAP = 6
"""Pixels between panels."""

ASPECT = 16 / 9
"""Width over height that a grid comes close to."""

MAX_SIDE = 8192
"""Pixels along the longer side of a frame at most; more than that few players show."""

Page = UInt8[np.ndarray, "page_height page_width 3"]
Panel = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Grid:
    """Bands of columns below each other, `across` of them beside each other. A column is a scene, with a panel of
    `height` x `width` pixels for each row; rows are named by their titles, from top to bottom."""

    columns: int
    rows: Tuple[str, ...]
    height: int
    width: int
    across: int

    @property
    def bands(self) -> int:
        return math.ceil(self.columns / self.across)

    @property
    def line(self) -> int:
        return max(9, min(18, self.height // 9)) + 4

    @property
    def margin(self) -> int:
        """Width of what is left of the panels: the rows' titles, where there are several rows."""
        return GAP if len(self.rows) == 1 else self.line + GAP

    @property
    def band_height(self) -> int:
        """Height of a band with its titles and the gaps of its rows, pixels."""
        return self.line + len(self.rows) * (self.height + GAP)

    @property
    def size(self) -> Tuple[int, int]:
        """Height and width of a frame, pixels; even numbers, which is what video codecs take."""
        height = GAP + self.bands * self.band_height
        width = self.margin + min(self.columns, self.across) * (self.width + GAP)
        return height + height % 2, width + width % 2

    def place(self, column: int, row: int) -> Tuple[int, int]:
        band, beside = divmod(column, self.across)
        top = GAP + band * self.band_height + self.line + row * (self.height + GAP)
        return top, self.margin + beside * (self.width + GAP)

    def page(self) -> Page:
        """An empty frame with the titles of the rows, which are read from below."""
        height, width = self.size
        page = Image.new("RGB", (width, height), "white")
        for band in range(self.bands if len(self.rows) > 1 else 0):
            for row, title in enumerate(self.rows):
                top, _ = self.place(band * self.across, row)
                page.paste(self.label(title, self.height).rotate(90, expand=True), (GAP, top))
        return np.array(page)

    def label(self, text: str, width: int) -> Image.Image:
        """A line of text in the middle of so many pixels, cut where it is longer."""
        font, line = ImageFont.load_default(self.line - 4), Image.new("RGB", (width, self.line), "white")
        draw, shown = ImageDraw.Draw(line), text
        while draw.textlength(shown, font) > width and len(shown) > 1:
            shown = shown.rstrip("\u2026")[:-1] + "\u2026"
        draw.text((width / 2, self.line / 2), shown, (40, 40, 40), font, anchor="mm")
        return line

    def frame(self, page: Page, titles: Sequence[str], panels: Sequence[Sequence[Panel]]) -> Page:
        """A copy of a page with the titles of its columns, and with its panels, by column and row."""
        frame = page.copy()
        for column, (title, pictures) in enumerate(zip(titles, panels, strict=True)):
            top, left = self.place(column, 0)
            frame[top - self.line : top, left : left + self.width] = np.asarray(self.label(title, self.width))
            for row, picture in enumerate(pictures):
                top, left = self.place(column, row)
                frame[top : top + self.height, left : left + self.width] = picture
        return frame


def grid_of(columns: int, rows: Sequence[str], height: int, width: int) -> Grid:
    """The grid of so many scenes whose frames come closest to 16:9; players must show them."""
    grids = [Grid(columns, tuple(rows), height, width, across) for across in range(1, columns + 1)]
    best = min(grids, key=lambda grid: abs(math.log(grid.size[1] / grid.size[0] / ASPECT)))
    best = replace(best, across=math.ceil(columns / best.bands))  # as many scenes in the last band as can be
    if max(best.size) > MAX_SIDE:
        got = f"{best.size[1]} x {best.size[0]} for {columns} scenes"
        do = "name fewer --scenes, or a smaller --size"
        raise ValueError(problem("video", f"frames of {MAX_SIDE} pixels a side at most", got, do))
    return best
