"""Rays and pixels against hand-computed silhouettes, depths, light and colours."""

import numpy as np
import pytest
import trimesh

from latent_nerfstudio.meshes import raycast
from latent_nerfstudio.meshes.raycast import Lighting, Raycaster, irradiance
from latent_nerfstudio.meshes.surface import surface_of
from latent_nerfstudio.meshes.viewpoints import poses_towards

AMBIENT = Lighting(ambient=1.0, directions=((0.0, 0.0, 1.0),), strengths=(0.0,))


def view_from(*eye: float) -> np.ndarray:
    return poses_towards(np.array([eye], float))[0]


def sphere(radius: float = 0.4, subdivisions: int = 5) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions, radius)


def coloured_sphere() -> trimesh.Trimesh:
    mesh = sphere()
    mesh.visual.vertex_colors = np.round(255 * (mesh.vertices + 0.5)).astype(np.uint8)
    return mesh


def slab_depth(origins: np.ndarray, directions: np.ndarray, half: np.ndarray) -> np.ndarray:
    """First hit of rays with the box |x| <= half, inf for none."""
    near, far = (-half - origins) / directions, (half - origins) / directions
    enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    return np.where((enter <= leave) & (leave > 0), enter, np.inf)


def test_silhouette_is_where_the_projection_says():
    mesh = trimesh.creation.box((0.2, 0.2, 0.3))
    mesh.apply_translation([0.0, 0.25, -0.1])
    alpha = Raycaster(surface_of(mesh), samples_per_axis=4).render(view_from(1.1, 0.0, 0.0), 80, 1.0)[..., 3] / 255.0
    # The near face, 1 away, takes columns 52 to 68 and rows 36 to 60; the side beside it, 1.2 away at its end, begins
    # with column 50.
    columns, rows = alpha[48], alpha[:, 60]
    assert columns.sum() == pytest.approx(18.0, abs=0.26)
    assert rows.sum() == pytest.approx(24.0, abs=0.26)
    assert (columns * (np.arange(80) + 0.5)).sum() / columns.sum() == pytest.approx(59.0, abs=0.1)
    assert (rows * (np.arange(80) + 0.5)).sum() / rows.sum() == pytest.approx(48.0, abs=0.1)


def test_depth_of_a_box_equals_the_slab_method(seed=0):
    rng = np.random.default_rng(seed)
    half = np.array([0.5, 0.3, 0.2])
    origins = rng.normal(size=(2000, 3))
    origins *= 2.0 / np.linalg.norm(origins, axis=-1, keepdims=True)
    directions = rng.uniform(-0.6, 0.6, size=(2000, 3)) - origins
    faces, depth, _ = Raycaster(surface_of(trimesh.creation.box(2 * half))).cast(origins, directions)
    expected = slab_depth(origins, directions, half)
    hit = np.isfinite(expected)
    assert 0.2 < hit.mean() < 0.99
    np.testing.assert_array_equal(faces >= 0, hit)
    np.testing.assert_allclose(depth[hit], expected[hit], atol=2e-5)


def test_coverage_of_a_sphere_is_near_its_analytic_area_and_alpha_straight():
    alpha = Raycaster(surface_of(sphere())).render(view_from(1.3, 0.0, 0.0), 96)[..., 3]
    radius = 1.09375 * 96 * np.tan(np.arcsin(0.4 / 1.3))
    assert (alpha / 255.0).sum() == pytest.approx(np.pi * radius**2, rel=0.005)
    edge = (alpha > 0) & (alpha < 255)
    assert 0.5 * 2 * np.pi * radius < edge.sum() < 2.0 * 2 * np.pi * radius
    assert len(np.unique(alpha)) == 10  # 3 x 3 rays: 0 to 9 of 9
    mesh = sphere(subdivisions=3)
    mesh.visual.face_colors = [200, 100, 50, 255]
    image = Raycaster(surface_of(mesh), AMBIENT).render(view_from(1.0, 0.4, 0.3), 40)
    seen = image[..., 3] > 0
    np.testing.assert_array_equal(np.unique(image[seen][:, :3], axis=0), [[200, 100, 50]])
    assert not image[~seen].any()


def test_light_has_its_hand_computed_value_and_is_at_most_one():
    light = Lighting(ambient=0.25, directions=((0.0, 0.0, 3.0), (0.0, 4.0, 3.0)), strengths=(0.5, 0.125))
    normals = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    np.testing.assert_allclose(irradiance(normals, light), [0.25 + 0.5 + 0.125 * 0.6, 0.25 + 0.125 * 0.8, 0.25])
    mesh = trimesh.creation.box((0.4, 0.4, 0.4))
    mesh.visual.face_colors = [200, 200, 200, 255]
    image = Raycaster(surface_of(mesh), light).render(view_from(0.0, 1.0, 0.0), 32)
    assert image[16, 16].tolist() == [70, 70, 70, 255]  # 200 * 0.35
    light = Lighting(ambient=0.9, directions=((0.0, 0.0, 1.0),), strengths=(0.9,))
    assert irradiance(np.array([[0.0, 0.0, 1.0]]), light).tolist() == [1.0]


def test_pictures_show_what_is_there_whatever_box_is_cast(monkeypatch):
    """A camera inside sees the mesh everywhere, and one that looks elsewhere nothing."""
    view = view_from(1.0, 0.0, 0.0)
    around = Raycaster(surface_of(trimesh.creation.box((4.0, 4.0, 4.0))))
    assert (around.render(view, 16)[..., 3] == 255).all()
    mesh = sphere(subdivisions=2)
    mesh.apply_translation([0.0, 30.0, 0.0])
    assert not Raycaster(surface_of(mesh)).render(view, 16).any()
    caster, pose = Raycaster(surface_of(coloured_sphere())), view_from(0.9, 0.7, 0.4)
    cropped = caster.render(pose, 50)
    monkeypatch.setattr(raycast, "visible_box", lambda *_: [0, 50, 0, 50])
    monkeypatch.setattr(raycast, "RAYS_AT_ONCE", 1000)
    np.testing.assert_array_equal(caster.render(pose, 50), cropped)


def test_bilinear_lookup_equals_a_naive_loop():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    uv = rng.uniform(-1.5, 1.5, (200, 2))
    expected = np.zeros((200, 3))
    for index, (u, v) in enumerate(uv):
        x, y = u * 7 - 0.5, (1.0 - v) * 5 - 0.5
        for i in (0, 1):
            for j in (0, 1):
                column, row = int(np.floor(x)) + i, int(np.floor(y)) + j
                weight = (1 - abs(x - column)) * (1 - abs(y - row))
                expected[index] += weight * image[row % 5, column % 7] / 255.0
    found = raycast.sample_texture(image.astype(np.float32) / 255, uv.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)
