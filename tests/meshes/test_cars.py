"""The generated cars."""

import numpy as np
import pytest

from latent_nerfstudio.meshes import loft
from latent_nerfstudio.meshes.car_paint import ATLAS_PIXELS, REGIONS, SWATCHES, swatch_centre
from latent_nerfstudio.meshes.car_shape import STYLES, CarShape
from latent_nerfstudio.meshes.cars import body_parts, cabin_parts, car, small_parts, wheel_parts


def volume(triangles: np.ndarray) -> float:
    """Volume inside closed triangles that turn counter-clockwise seen from outside."""
    return float(np.einsum("ij,ij->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2]))) / 6.0


def test_a_seed_is_a_car():
    first, again, other = car(7), car(7), car(8)
    np.testing.assert_array_equal(first.triangles, again.triangles)
    np.testing.assert_array_equal(first.uv, again.uv)
    np.testing.assert_array_equal(first.textures, again.textures)
    assert not np.array_equal(first.textures, other.textures)
    assert not np.array_equal(np.ptp(first.triangles, axis=(0, 1)), np.ptp(other.triangles, axis=(0, 1)))


def test_cars_are_many_and_their_wheels_stay_under_the_body():
    shapes = [CarShape(np.random.default_rng(seed)) for seed in range(200)]
    assert len({(shape.length, shape.height, shape.wheel_radius) for shape in shapes}) == 200
    assert {shape.style for shape in shapes} == {style.name for style in STYLES}
    for shape in shapes[:50]:
        assert 2 * shape.wheel_radius < min(shape.nose, shape.belt) + 1e-9
        assert shape.wheel_front + shape.wheel_radius < shape.length / 2
        assert shape.wheel_rear - shape.wheel_radius > -shape.length / 2
        assert shape.rear_foot <= shape.roof_rear < shape.roof_front <= shape.cowl


@pytest.mark.parametrize("seed", range(3))
def test_a_car_stands_on_its_wheels_and_all_its_parts_face_outwards(seed):
    surface = car(seed)
    low, high = surface.triangles.min((0, 1)), surface.triangles.max((0, 1))
    assert low[2] == pytest.approx(0.0, abs=0.01)
    assert (high - low).argmax() == 0
    np.testing.assert_allclose(low[1], -high[1], atol=1e-6)
    assert 5000 < len(surface.triangles) < 20000
    assert (surface.uv >= 0.0).all() and (surface.uv <= 1.0).all()
    shape = CarShape(np.random.default_rng(seed))
    for parts in (body_parts(shape), wheel_parts(shape), small_parts(shape)):
        assert volume(np.concatenate([triangles for triangles, _ in parts])) > 0.0
    cabin = np.concatenate([triangles for triangles, _ in cabin_parts(shape)])
    assert volume(cabin - [0.0, 0.0, shape.belt - 0.06]) > 0.0  # open at its foot, so measured from there


def test_pictures_and_swatches_do_not_overlap():
    taken = np.zeros(ATLAS_PIXELS[::-1], int)
    for region in REGIONS.values():
        taken[region.top : region.top + region.height, region.left : region.left + region.width] += 1
    for name in SWATCHES:
        x, y = swatch_centre(name)
        taken[int(y) - 16 : int(y) + 16, int(x) - 16 : int(x) + 16] += 1
    assert taken.max() == 1


def test_superellipses_and_rounded_boxes():
    """A superellipse fulfils its equation; a rounded box of a high exponent is nearly the box."""
    points = loft.superellipse(6, 5.0)
    np.testing.assert_allclose((np.abs(points) ** 5).sum(-1), 1.0)
    assert (np.diff(np.unwrap(np.arctan2(points[:, 1], points[:, 0]))) > 0).all()
    triangles = loft.rounded_box(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.0]), exponent=60.0, steps=12)
    assert volume(triangles) == pytest.approx(8.0, rel=0.03)
    np.testing.assert_allclose(triangles.reshape(-1, 3).max(0), [1.5, 3.0, 5.0], atol=1e-9)
