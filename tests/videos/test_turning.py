"""Frames of scenes that turn and blend, against what is rendered one by one."""

import numpy as np
import pytest
import torch
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.api.cameras import Ring
from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.latent_space.latent_space import as_bytes
from latent_nerfstudio.latent_space.resolution import resized
from latent_nerfstudio.pipelines.contact_sheet import grey_depth
from latent_nerfstudio.videos.turning import blending, depth_range, grid_for, rings_of, shared_at, turning

ROWS = ("rgb", "latent", "depth", "accumulation")


@pytest.fixture
def scenes(kl):
    """Two scenes whose cameras differ in distance and in width."""
    nerf = small_nerf(macro_features=3, num_base_planes=2, density_scale=200.0)
    rings = {"a": Ring(radius=2.2, height=16, width=16, focal=(18.0, 18.0))}
    rings["b"] = Ring(radius=3.0, height=32, width=48, focal=(36.0, 36.0), middle=40.0)
    return Scenes(latent_model_of(kl, nerf=nerf), "here", rings=rings)


def panel(frame, grid, column, row):
    top, left = grid.place(column, row)
    return frame[top : top + grid.height, left : left + grid.width].astype(int)


def test_each_panel_is_its_scene_from_its_ring(scenes):
    frames = list(turning(scenes, ["a", "b"], ROWS, views=3))
    rings = rings_of(scenes, [["a"], ["b"]], None)
    grid = grid_for(rings, ROWS, None)
    assert len(frames) == 3 and frames[0].shape == (*grid.size, 3)
    assert (grid.height, grid.width) == (16, 24)  # the widest one's, all of one height
    cameras = rings[1].cameras(3)
    pictures = scenes.render("b", cameras)
    for view in range(3):
        latent = torch.where(pictures.accumulation[view] > 0.5, pictures.latent[view], 1.0)
        for row, picture in enumerate((pictures.rgb[view], latent)):
            wanted = as_bytes(picture).astype(int)
            assert np.abs(panel(frames[view], grid, 1, row) - wanted).max() <= 1
        wanted = as_bytes(pictures.accumulation[view].expand(-1, -1, 3)).astype(int)
        assert np.abs(panel(frames[view], grid, 1, 3) - wanted).max() <= 1
    assert not np.array_equal(panel(frames[0], grid, 0, 0), panel(frames[1], grid, 0, 0))


def test_a_blend_goes_there_and_back_between_its_scenes(scenes):
    frames = list(blending(scenes, "a", "b", ("rgb",), views=4, size=20))
    grid = grid_for([scenes.ring("a").resized(20)] * 3, ("rgb",), 20)
    first, middle = (panel(frames[0], grid, column, 0) for column in (0, 1))
    assert np.abs(first - middle).max() <= 1
    middle, last = (panel(frames[2], grid, column, 0) for column in (1, 2))
    assert np.abs(middle - last).max() <= 1 and np.abs(middle - panel(frames[2], grid, 0, 0)).max() > 1
    assert [shared_at(view, 4) for view in range(4)] == pytest.approx([0, 0.5, 1, 0.5])


def test_small_panels_are_shrunk_from_the_training_size(scenes):
    """A panel of 8 pixels is the mean of a picture of 16, within what the filter's tent adds."""
    (frame,) = turning(scenes, ["a"], ("latent",), views=1, size=8)
    rings = rings_of(scenes, [["a"]], 8)
    assert rings[0].height == 16 and rings_of(scenes, [["a"]], 20)[0].height == 20
    large = scenes.render("a", rings[0].cameras(1)).latent[0]
    means = large.unflatten(0, (8, 2)).unflatten(2, (8, 2)).mean(dim=(1, 3))
    small = panel(frame, grid_for(rings, ("latent",), 8), 0, 0) / 255
    assert np.abs(small - means.numpy()).mean() < 0.04
    ramp = torch.linspace(0, 1, 16)[:, None, None].expand(16, 16, 3)
    halves = resized(ramp, 8, 8)
    torch.testing.assert_close(halves[1:-1], ramp.unflatten(0, (8, 2)).mean(dim=1)[1:-1, :8])
    assert resized(ramp, 16, 16) is ramp


def test_depth_keeps_its_shades_in_the_range_of_what_is_met(scenes):
    depth = torch.tensor([[[1.0], [2.0], [3.0], [9.0]]])
    shades = grey_depth(depth, torch.tensor([[[1.0], [1.0], [1.0], [0.1]]]), (1.0, 3.0))
    torch.testing.assert_close(shades[0, :, 0], torch.tensor([0.9, 0.5, 0.1, 1.0]))
    near, far = (grey_depth(torch.full((1, 1, 1), d), torch.ones(1, 1, 1), (1.0, 3.0)) for d in (0.0, 9.0))
    assert (float(near[0, 0, 0]), float(far[0, 0, 0])) == (pytest.approx(0.9), pytest.approx(0.1))
    ring = scenes.ring("a")
    low, high = depth_range(scenes, ["a"] * 8, ring)
    seen = scenes.render("a", ring.cameras(8))
    met = seen.depth[seen.accumulation > 0.5]
    assert float(met.min()) <= low < high <= float(met.max())
    away = Ring(center=(0.0, 0.0, 50.0), radius=1.0)
    assert depth_range(scenes, ["a"] * 8, away) == (0.0, 1.0)


def test_what_is_refused_before_anything_is_rendered(scenes):
    for call, expected in (
        (lambda: next(turning(scenes, [], ("rgb",))), "scenes: expected at least one, got none"),
        (lambda: next(turning(scenes, ["a"], ())), "rows: expected at least one, got none"),
        (lambda: next(turning(scenes, ["c"], ("rgb",))), "such as a, b, got 'c'"),
        (lambda: next(blending(scenes, "a", "c")), "such as a, b, got 'c'"),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
