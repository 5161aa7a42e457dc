"""Where the panels of a grid lie."""

import numpy as np
import pytest

from latent_nerfstudio.videos.grid import ASPECT, Grid, grid_of


def test_panels_by_hand_and_a_frame_of_them():
    grid = Grid(columns=3, rows=("rgb", "depth"), height=90, width=100, across=2)
    assert grid.line == 14 and grid.margin == 20 and grid.bands == 2
    assert grid.place(0, 0) == (6 + 14, 20) and grid.place(0, 1) == (20 + 96, 20)
    assert grid.place(1, 0) == (20, 126) and grid.place(2, 0) == (6 + 14 + 2 * 96 + 14, 20)
    assert grid.size == (6 + 2 * (14 + 2 * 96), 20 + 2 * 106)
    grid = Grid(2, ("rgb", "depth"), 8, 8, 2)
    panels = [[np.full((8, 8, 3), 10 * column + row, np.uint8) for row in range(2)] for column in range(2)]
    page = grid.page()
    frame = grid.frame(page, ["a", "b"], panels)
    for column in range(2):
        for row in range(2):
            top, left = grid.place(column, row)
            assert bool((frame[top : top + 8, left : left + 8] == 10 * column + row).all())
    assert bool((page[grid.place(0, 0)[0] :, grid.margin :] == 255).all())  # the page itself is left as it is


@pytest.mark.parametrize("columns", [1, 2, 5, 12])
@pytest.mark.parametrize("rows", [("rgb",), ("rgb", "latent", "depth")])
def test_panels_do_not_touch_and_titles_are_beside_them(columns, rows):
    grid = grid_of(columns, rows, 32, 43)
    height, width = grid.size
    assert height % 2 == width % 2 == 0
    taken = np.zeros((height, width), dtype=int)
    for column in range(columns):
        for row in range(len(rows)):
            top, left = grid.place(column, row)
            assert top >= 0 and left >= 0 and top + 32 <= height and left + 43 <= width
            taken[top : top + 32, left : left + 43] += 1
    assert taken.max() == 1 and taken.sum() == columns * len(rows) * 32 * 43
    titled = grid.frame(grid.page(), [f"scene {i}" for i in range(columns)], [[]] * columns)
    assert titled.shape == (height, width, 3) and bool((titled[taken == 1] == 255).all())
    assert bool((titled < 128).any())


def test_grids_come_close_to_the_screen_or_are_refused():
    assert [grid_of(n, ("rgb",), 100, 100).across for n in (1, 2, 4, 16, 60)] == [1, 2, 2, 6, 10]
    wide = grid_of(60, ("rgb",), 100, 100).size
    assert wide[1] / wide[0] == pytest.approx(ASPECT, rel=0.2)
    for count, expected in ((24, (8, 3)), (17, (9, 2))):
        grid = grid_of(count, ("rgb", "depth"), 64, 64)
        assert (grid.across, grid.bands) == expected
    with pytest.raises(ValueError, match="video: expected frames of 8192 pixels a side at most, got .* 1000 scenes"):
        grid_of(1000, ("rgb", "latent"), 512, 512)


def test_long_names_are_cut():
    grid = Grid(1, ("rgb",), 60, 60, 1)
    long, short = (np.asarray(grid.label(text, 60)) for text in ("a_scene_with_a_very_long_name", "a"))
    assert long.shape == short.shape == (grid.line, 60, 3)
    assert bool((long[:, 30:] < 128).any()) and bool((short[:, :20] == 255).all())
