"""Placements: axioms of similarities, values by hand, and what a file may say."""

import math

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle

from latent_nerfstudio.fields.placement import (
    Placement,
    bounded_rays,
    boxes_of,
    placed_rays,
    placement_from,
    placement_of,
    placement_table,
    placements_from,
    row_of_view,
    widened,
)
from latent_nerfstudio.fields.scene_view import SceneView

UNIT = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
THREE = Placement(1 / 3, (0.5, -0.25, 0.0))
BOXED = Placement(2.0, (1.0, 0.0, 0.0), ((-1.0, -0.5, -0.25), (0.0, 0.5, 0.25)))
"""In units of the bundle's box its own is (-1, -1, -0.5) to (1, 1, 0.5)."""


def test_a_scene_three_times_as_large_and_elsewhere_fills_the_box():
    box = np.array([[7.0, -3.0, -3.0], [13.0, 3.0, 3.0]])
    placement = placement_of(box, UNIT)
    assert placement.scale == pytest.approx(1 / 3) and placement.shift == pytest.approx((-10 / 3, 0, 0))
    assert np.allclose(placement.points(torch.tensor(box)), UNIT)
    assert np.allclose(placement.inverse.points(torch.tensor(UNIT)), box)
    placement = placement_of(0.01 * UNIT + 0.5, UNIT)  # too small for texels, as a thing of 2 cm in metres
    assert placement.scale == pytest.approx(100) and placement.shift == pytest.approx((-50.0,) * 3)


@pytest.mark.parametrize("side", [0.26, 1.0, 1.09])
def test_what_is_within_stays_where_it_is(side):
    placement = placement_of(side * UNIT, UNIT)
    assert placement.is_identity
    low = (-side,) * 3
    assert placement.box == (None if side >= 1 else (low, (side,) * 3))


def test_a_scene_keeps_its_box_where_that_is_less_than_the_bundles():
    """The longest side decides, and the middle stays the middle."""
    flat = np.array([[0.0, 0.0, 0.0], [8.0, 1.0, 2.0]])
    placed = placement_of(flat, UNIT).points(torch.tensor(flat))
    assert placed.tolist() == [pytest.approx([-1, -0.125, -0.25]), pytest.approx([1, 0.125, 0.25])]
    assert placement_of(flat, UNIT).box == ((0.0, 0.0, 0.0), (8.0, 1.0, 2.0))
    assert placement_of(flat, UNIT, is_bounded=False).box is None
    assert placement_of(3 * UNIT, UNIT).box is None
    assert placement_of(UNIT * (9, 3, 3), UNIT).box == ((-9.0, -3.0, -3.0), (9.0, 3.0, 3.0))


NO_BOXES = [0 * UNIT, -UNIT, np.nan * UNIT, 1e30 * UNIT, np.inf * UNIT, 5 + 1e-12 * UNIT, UNIT * (1, 1, 0)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        *((box, ".*") for box in NO_BOXES),
        (100_000 + UNIT, r"one within 10000 of its sides .*, got .*; subtract"),  # where float32 has 2^-7
        *((half * UNIT, r"one up to 1e.09 times as large, .*; scale cameras and box") for half in (0.9e9, 1e-10)),
    ],
)
def test_boxes_that_nothing_can_be_placed_by_are_refused(box, expected):
    """The words are about the box, and not about a scene file, of which there is none."""
    with pytest.raises(ValueError, match=rf"^box.*: expected {expected}, got .*; " if expected == ".*" else expected):
        placement_of(box, UNIT / 2 if "times" in expected else UNIT)
    assert placement_of(10_000 + UNIT, UNIT).shift == pytest.approx((-10_000.0,) * 3)


def test_the_inverse_takes_points_and_cameras_back():
    points = torch.randn(5, 3, dtype=torch.float64)
    assert torch.allclose(THREE.inverse.points(THREE.points(points)), points)
    poses = torch.eye(4)[None, :3].repeat(2, 1, 1)
    poses[:, :, 3] = torch.tensor([[3.0, 0.0, 6.0], [0.0, 3.0, 0.0]])
    cameras = Cameras(poses, 10.0, 10.0, 4.0, 4.0, 8, 8)
    moved = THREE.cameras(cameras)
    assert torch.allclose(moved.camera_to_worlds[:, :, 3], torch.tensor([[1.5, -0.25, 2.0], [0.5, 0.75, 0.0]]))
    assert torch.equal(moved.camera_to_worlds[..., :3], poses[..., :3])
    assert torch.allclose(THREE.inverse.cameras(moved).camera_to_worlds, poses, atol=1e-6)


def test_rays_keep_their_directions_and_their_bounds_are_scaled():
    origins, directions = torch.tensor([[3.0, 0.0, 6.0], [1.0, 1.0, 1.0]]), torch.eye(3)[:2]
    rays = RayBundle(origins, directions, torch.ones(2, 1), nears=torch.full((2, 1), 3.0), fars=torch.full((2, 1), 6.0))
    moved = placed_rays(rays, placement_table([THREE, Placement()]))
    assert torch.allclose(moved.origins, torch.tensor([[1.5, -0.25, 2.0], [1.0, 1.0, 1.0]]))
    assert moved.nears is not None and moved.nears.flatten().tolist() == pytest.approx([1, 3])
    assert moved.fars is not None and moved.fars.flatten().tolist() == pytest.approx([2, 6])
    assert torch.equal(moved.directions, directions) and torch.equal(rays.origins[0], origins[0])


def test_rays_begin_and_end_at_their_scenes_own_box():
    """Along x: through BOXED from -1 to 1, beside it, with bounds of the ray's own, and in a scene without a box."""
    origins = torch.tensor([[-3.0, 0.0, 0.0], [-3.0, 0.0, 0.6], [-3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]])
    rays = RayBundle(origins, torch.eye(3)[:1].expand(4, 3), torch.ones(4, 1))
    rows = placement_table([BOXED, BOXED, BOXED, Placement()])
    cut = bounded_rays(rays, boxes_of(rows))
    assert cut.nears is not None and cut.fars is not None and rays.nears is None
    assert cut.nears.flatten()[[0, 2]].tolist() == pytest.approx([2, 2])
    assert cut.fars.flatten()[[0, 2]].tolist() == pytest.approx([4, 4])
    assert float(cut.fars[1]) < float(cut.nears[1])
    assert float(cut.nears[3]) == 0 and float(cut.fars[3]) > 1e8
    rays.nears, rays.fars = torch.tensor([[0.0], [0.0], [2.5], [1.0]]), torch.tensor([[9.0], [9.0], [3.0], [9.0]])
    cut = bounded_rays(rays, boxes_of(rows))
    assert cut.nears is not None and cut.nears.flatten()[[0, 2, 3]].tolist() == pytest.approx([2, 2.5, 1])
    assert cut.fars is not None and cut.fars.flatten()[[0, 2, 3]].tolist() == pytest.approx([4, 3, 9])


def test_the_box_of_a_blend_stands_in_between_and_a_base_plane_has_none():
    """What of a box is beyond the bundle's counts for nothing: a scene without one is as one that fills all of it."""
    box, other = torch.tensor(UNIT), Placement(box=((-0.5, -2.0, 0.0), (2.0, 0.0, 1.0)))
    rows = placement_table([BOXED, other, Placement()])
    row = row_of_view(SceneView(0, other=1, share=0.25), rows, box)[0]
    assert row[:4].tolist() == pytest.approx([1.75, 0.75, 0, 0])
    assert row[4:].tolist() == pytest.approx([-0.875, -1, -0.375, 1, 0.75, 0.625])
    row = row_of_view(SceneView(0, other=2, share=0.5), rows, box)[0]
    assert row[4:].tolist() == pytest.approx([-1, -1, -0.75, 1, 1, 0.75])
    assert torch.equal(row_of_view(SceneView(1), rows, box)[0], rows[1])
    assert torch.equal(row_of_view(SceneView(2, other=2, share=0.5), rows, box)[0], rows[2])
    assert row_of_view(SceneView(1, parts="base plane"), rows, box)[0, 4:].abs().min() > 1e8


def test_a_wider_box_is_wider_on_every_side_by_a_share_of_its_longest():
    wider = widened(placement_table([BOXED, Placement()]), 0.1)
    assert wider[0].tolist() == pytest.approx([2, 1, 0, 0, -1.2, -1.2, -0.7, 1.2, 1.2, 0.7])
    assert wider[1, 4:].abs().min() >= 1e9


@pytest.mark.parametrize("unit", [1.0, 50.0])
def test_the_own_box_of_what_is_flat_is_as_thick_as_texels(unit):
    """A sheet of 1 x 1 x 0.0004, in units of its own; its box is wider about the same middle, 0.02 of the bundle's side
    of 2 at least, and as it is in the other directions."""
    sheet = unit * np.array([[-0.5, -0.5, 0.2498], [0.5, 0.5, 0.2502]])
    placement = placement_of(sheet, UNIT)
    assert placement.box is not None
    low, high = placement.points(torch.tensor(placement.box, dtype=torch.float64))
    assert float(high[2] - low[2]) == pytest.approx(0.04)
    corners = np.array(placement.box)
    np.testing.assert_allclose(corners.mean(axis=0), sheet.mean(axis=0), atol=1e-9)
    np.testing.assert_array_equal(corners[:, :2], sheet[:, :2])


def test_tables_come_back_and_so_do_those_of_before_there_were_boxes():
    endless = [Placement(box=(corner, (0.0, 0.5, 1.0))) for corner in ((-1e9, -1.0, -1.0), (-1.0, -1e9, -1e9))]
    placements = [BOXED, THREE, Placement(), *endless]
    assert placements_from(placement_table(placements)) == placements
    assert placements_from(placement_table([THREE, BOXED])[:, :4]) == [THREE, Placement(BOXED.scale, BOXED.shift)]


@pytest.mark.parametrize("placement", [THREE, BOXED])
def test_facts_come_back(placement):
    assert placement_from(placement.as_fact(), "scene") == placement


HIGH = ([1, 1], [1, 1, 0], [-1, -1, -1], [1, 1, math.nan], [1, 1, 1e30], [1, 1, "1"], [1, 1, True])
"""What is no upper corner of a box whose lower one is the origin."""


@pytest.mark.parametrize(
    "box", [None, [], [[0, 0, 0]], *([[0, 0, 0], high] for high in HIGH), {"low": [0, 0, 0], "high": [1, 1, 1]}]
)
def test_a_box_that_is_none_is_refused(box):
    with pytest.raises(ValueError, match=r"scene x: expected a box of two corners.*got .*; write"):
        placement_from({"scale": 1.0, "shift": [0, 0, 0], "box": box}, "scene x")


SHIFTS = ([0, 0], [0, math.nan, 0], [0, math.inf, 0], {"x": 1})
WRONG = [{"more": 1}, *({"scale": x} for x in (0, -1, 1e-300, 10**400, True)), *({"shift": x} for x in SHIFTS)]


@pytest.mark.parametrize("fact", [None, [], {"scale": 1.0}, *({"scale": 1, "shift": [0, 0, 0], **x} for x in WRONG)])
def test_a_fact_that_is_no_placement_is_refused(fact):
    with pytest.raises(ValueError, match="scene x: expected a positive scale and a shift .*got .*; write"):
        placement_from(fact, "scene x")
