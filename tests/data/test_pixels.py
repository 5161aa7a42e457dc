"""The pixel table and draws from it, against loops."""

import pytest
import torch
from jaxtyping import TypeCheckError

from latent_nerfstudio.data.pixels import draw_pictures, draw_pixels, draw_scenes, pixel_table, restricted
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.latent_space.resolution import mask_of_latent

SIZES = [(2, 3), (4, 1), (2, 3), (1, 5), (3, 3)]
TABLE = torch.tensor(SIZES)
SCENES = [0, 0, 1, 1, 3]


def numbered(sizes):
    """Pictures whose every pixel holds its picture, row and column."""
    return [
        torch.stack(torch.meshgrid(torch.tensor([k]), torch.arange(h), torch.arange(w), indexing="ij"), -1)[0].half()
        for k, (h, w) in enumerate(sizes)
    ]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_locate_against_a_loop():
    pictures = numbered(SIZES)
    table = pixel_table(pictures, SCENES)
    every = [(k, r, c) for k, (h, w) in enumerate(SIZES) for r in range(h) for c in range(w)]
    assert table.locate(torch.arange(len(every))).tolist() == [list(place) for place in every]
    assert table.values.tolist() == [list(place) for place in every]
    for index, picture in enumerate(pictures):
        assert torch.equal(table.picture(index), picture)
    assert table.scene_starts.tolist() == [0, 10, 21, 30]


@pytest.mark.parametrize(("masked", "folder"), [(False, True), (True, False)])
def test_draws_of_a_restricted_table_against_a_loop(masked, folder, tmp_path):
    """Pixels that are kept and that masks keep."""
    masks = [torch.ones(h, w, dtype=torch.bool) for h, w in SIZES]
    for mask in masks:
        mask[0, 0] = not masked
    table = pixel_table(numbered(SIZES), SCENES, masks if masked else None)
    kept = torch.arange(30) % 3 > 0
    few = restricted(table, kept, "abc", tmp_path if folder else None)
    assert few.valid is table.valid
    flat = torch.cat([mask.flatten() for mask in masks])
    drawn = {int(i) for seed in range(40) for i in draw_pixels(few, 60, 3, seeded(seed))}
    assert drawn == {i for i in range(30) if flat[i] and kept[i]}
    assert restricted(table, torch.ones(30, dtype=torch.bool), "abc").drawn is None or masked


def test_scenes_of_which_nothing_is_left_are_refused():
    """By their boxes, or where masks keep but what their boxes leave out."""
    masks = [torch.ones(h, w, dtype=torch.bool) for h, w in SIZES]
    kept = torch.arange(30) < 10
    with pytest.raises(ValueError, match="scene 'b' and 1 more"):
        restricted(pixel_table(numbered(SIZES), SCENES), kept, "abc")
    masks[0][0, 0] = False
    only_first = torch.arange(30) % 10 > 0
    only_first[1:10] = False
    only_first[0] = True
    with pytest.raises(ValueError, match="scene 'a'"):
        restricted(pixel_table(numbered(SIZES), SCENES, masks), only_first, "abc")
    masks[2][:] = masks[3][:] = False
    with pytest.raises(ValueError, match="masks: expected .* of each scene .*, got none in views 2 to 3; correct"):
        pixel_table(numbered(SIZES), SCENES, masks)


@pytest.mark.parametrize(("count", "scenes", "each"), [(30, 3, 10), (31, 3, 10), (30, 2, 15), (2, 3, 1)])
def test_draws_are_equal_in_number_and_valid(count, scenes, each):
    masks = [torch.rand(h, w, generator=seeded(k)) > 0.5 for k, (h, w) in enumerate(SIZES)]
    table = pixel_table(numbered(SIZES), SCENES, masks)
    pixels = draw_pixels(table, count, scenes, seeded())
    picture, row, column = table.locate(pixels).unbind(1)
    drawn = torch.tensor(SCENES)[picture]
    assert len(drawn.unique()) == scenes
    assert drawn.bincount()[drawn.unique()].tolist() == [each] * scenes
    assert torch.equal(drawn, drawn.sort().values)
    assert all(bool(masks[k][r, c]) for k, r, c in zip(picture, row, column, strict=True))


def test_draws_reach_every_valid_pixel_and_every_picture_equally():
    """One of five pictures a draw, 3,000 times: 600 each, within four standard deviations of 22."""
    table = pixel_table(numbered([(2, 2), (2, 2)]), [0, 0], [torch.eye(2).bool(), torch.ones(2, 2).bool()])
    counts = draw_pixels(table, 6000, 1, seeded()).bincount(minlength=8)
    assert counts[[1, 2]].tolist() == [0, 0]
    assert bool(((counts[[0, 3, 4, 5, 6, 7]] - 1000).abs() < 150).all())
    generator = seeded(0)
    counts = torch.bincount(torch.tensor([draw_pictures(TABLE, 1, generator)[0] for _ in range(3000)]), minlength=5)
    assert counts.tolist() == pytest.approx([600] * 5, abs=88)


def test_draws_from_active_scenes_alone_any_choice_as_likely():
    """Each is given as many pixels as while all were drawn, however few are left."""
    table = pixel_table(numbered(SIZES), SCENES)
    met = torch.cat([draw_scenes(5, 2, seeded(k), torch.tensor([0, 1, 3])) for k in range(50)])
    assert met.unique().tolist() == [0, 1, 3]
    for active, wanted, counts in (([0, 2], 3, [10, 10]), ([2], 3, [10]), ([0, 2], 2, [15, 15]), ([1], 2, [15])):
        pixels = draw_pixels(table, 30, wanted, seeded(), torch.tensor(active))
        drawn = torch.bucketize(pixels, table.scene_starts, right=True) - 1
        assert drawn.unique().tolist() == active and drawn.bincount()[active].tolist() == counts
    generator = seeded()
    assert draw_scenes(3, 5, generator).tolist() == [0, 1, 2]
    choices = [tuple(draw_scenes(5, 2, generator).tolist()) for _ in range(3000)]
    counts = [choices.count((a, b)) for a in range(5) for b in range(a + 1, 5)]
    assert sum(counts) == 3000 and max(abs(count - 300) for count in counts) < 70  # 4 standard deviations


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_pictures_of_one_size(count):
    for k in range(20):
        chosen = draw_pictures(TABLE, count, seeded(k))
        sizes = {SIZES[i] for i in chosen}
        assert len(sizes) == 1 and len(set(chosen)) == len(chosen) == min(count, SIZES.count(sizes.pop()))
    assert draw_pictures(TABLE, count, seeded(3)) == draw_pictures(TABLE, count, seeded(3))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (1, 1), (4, 12)])
@pytest.mark.parametrize("factor", [1, 4])
def test_mask_of_latent_against_a_loop(height, width, factor):
    mask = torch.rand(height, width) > 0.1
    latent = mask_of_latent(mask, factor)
    rows, columns = -(-height // factor), -(-width // factor)
    assert latent.shape == (rows, columns) and latent.dtype == torch.bool
    for i in range(rows):
        for j in range(columns):
            block = mask[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            assert bool(latent[i, j]) == bool(block.all())


def test_values_and_shapes_are_those_that_are_said():
    assert as_float(torch.tensor([[0, 51, 255]], dtype=torch.uint8)).tolist() == [[0.0, pytest.approx(0.2), 1.0]]
    assert as_float(torch.tensor([[0.5, 2.0]], dtype=torch.float16)).dtype == torch.float32
    with pytest.raises(TypeCheckError, match="pixels"):
        pixel_table(numbered(SIZES), SCENES).locate(torch.zeros(2, 2, dtype=torch.long))
