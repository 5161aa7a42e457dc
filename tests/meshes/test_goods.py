"""Generated things of an inventory: they are what their seed says, stand on the ground, and face outwards."""

import numpy as np
import pytest

from latent_nerfstudio.meshes.goods import KINDS, handle, kind_of, plain, thing, turned
from latent_nerfstudio.meshes.surface import area_vectors, corner_normals


def test_a_seed_is_one_thing_and_all_kinds_occur():
    assert {kind_of(seed) for seed in range(60)} == set(KINDS)
    first, second = thing(7), thing(7)
    assert np.array_equal(first.triangles, second.triangles)
    assert all(np.array_equal(a, b) for a, b in zip(first.textures, second.textures, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_everything_stands_on_the_ground_and_is_painted(name):
    parts = KINDS[name](np.random.default_rng(3))
    for part in parts:
        assert np.isfinite(part.triangles).all() and np.isfinite(part.uv).all()
        assert np.isfinite(corner_normals(part.triangles)).all()
        assert (part.texture < len(part.textures)).all() and part.tint.min() >= 0 and part.tint.max() <= 1
    assert min(part.triangles[..., 2].min() for part in parts) == pytest.approx(0, abs=1e-9)
    surface = plain(np.zeros((2, 3, 3)), (0.1, 0.2, 0.3))
    assert (surface.tint == [0.1, 0.2, 0.3]).all() and (surface.texture == -1).all()


def test_a_turned_wall_faces_outwards_and_its_picture_goes_round_once():
    wall = turned(np.array([(1.0, 0.0), (1.0, 2.0)]), np.zeros((4, 8, 3), np.uint8))
    middles = wall.triangles.mean(1)
    assert ((area_vectors(wall.triangles) * middles * [1, 1, 0]).sum(-1) > 0).all()
    u, v = wall.uv[..., 0], wall.uv[..., 1]
    assert np.ptp(u, axis=1).max() < 0.03 and np.ptp(u) == pytest.approx(1.0, abs=0.03)
    assert (v[wall.triangles[..., 2] == 2.0] == 1).all() and (v[wall.triangles[..., 2] == 0.0] == 0).all()
    area = 0.5 * np.linalg.norm(area_vectors(wall.triangles), axis=-1).sum()
    assert area == pytest.approx(4 * np.pi, rel=5e-3)


def test_a_handle_faces_away_from_the_middle_of_its_ring():
    triangles = handle(0.5, 0.6, 0.3, 0.05)
    middles = triangles.mean(1) - [0.5, 0.0, 0.6]
    angle = np.arctan2(middles[:, 2], middles[:, 0])
    centre = 0.3 * np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1)
    assert ((area_vectors(triangles) * (middles - centre)).sum(-1) > 0).mean() > 0.99
