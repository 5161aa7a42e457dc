"""Objects fill the pictures of a turn, and none of them cuts one."""

import math

import numpy as np
import pytest
import torch
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.api.cameras import Ring
from latent_nerfstudio.api.framing import ROOM, fitted, framed, is_surrounded, outline
from latent_nerfstudio.api.scenes import Pictures, Scenes, joined


def test_a_ball_is_framed_as_by_hand():
    """From the distance d a ball of radius r is seen under sin = r / d, so up to tan = r / sqrt(d^2 - r^2)."""
    directions = np.random.default_rng(0).normal(size=(20000, 3))
    ball = np.array([0.3, -0.2, 0.1]) + 0.5 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    ring = fitted(Ring(radius=2.0, height=100, width=160), ball)
    assert ring.center == pytest.approx((0.3, -0.2, 0.1), abs=0.01)
    assert ring.focal[1] == pytest.approx(50 / ROOM / (0.5 / math.sqrt(2.0**2 - 0.5**2)), rel=0.01)
    assert fitted(Ring(radius=2.0), ball, nearest=1.2).focal[0] <= 1.2 * Ring().focal[0]
    inside = Ring(radius=0.4)
    assert fitted(inside, ball) is inside


def test_nothing_is_cut_from_anywhere():
    plank = np.random.default_rng(1).uniform(-1, 1, (500, 3)) * (1.0, 0.1, 0.2) + (0.0, 0.5, 0.0)
    ring = fitted(Ring(radius=3.0, height=64, width=40, elevation=-30.0), plank)
    poses = ring.walk(359)
    local = (plank - poses[:, None, :3, 3]) @ poses[:, :3, :3]
    across, down = np.abs(ring.focal[0] * local[..., :2] / local[..., 2:]).max(axis=(0, 1))
    assert 20 / ROOM * 0.99 < across < 20 and down < 32


def test_surroundings_have_no_outline():
    seen = torch.zeros(20, 20, dtype=torch.bool)
    seen[5:15, 5:15] = True
    assert not is_surrounded(seen) and is_surrounded(seen, share=0.5) and is_surrounded(torch.ones_like(seen))
    assert outline(Walls(latent_model_of("identity"), "here"), "a", Ring()) is None


class Walls(Scenes):
    """A wall that fills the left half of four views and another that fills the right half of the others."""

    def stream(self, scenes, cameras):
        solid = torch.zeros(8, 16, 16, 1)
        solid[:4, :, :8] = solid[4:, :, 8:] = 1
        yield Pictures(*(torch.zeros(8, 16, 16, 3),) * 2, torch.ones_like(solid), solid, torch.zeros(8, 3, 16, 16))


def test_scenes_are_whole_in_every_picture():
    nerf = small_nerf(macro_features=3, num_base_planes=2, density_scale=200.0)
    scenes = Scenes(latent_model_of("identity", nerf=nerf), "here")
    far = Ring(radius=3.0, height=48, width=48, focal=(16.0, 16.0))
    ring = framed(scenes, ["a"], far)
    solid = joined(list(scenes.stream(["a"] * 6, ring.cameras(6)))).accumulation[..., 0] > 0.5
    border = torch.cat([solid[:, 0], solid[:, -1], solid[:, :, 0], solid[:, :, -1]], dim=1)
    assert solid.any() and not border.any() and ring.focal > far.focal
