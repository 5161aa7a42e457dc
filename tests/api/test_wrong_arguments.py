"""What Python is given wrong: each is told in the form of `problem`, whatever its type, before anything is computed."""

import re
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from test_prediction import cameras_of

import latent_nerfstudio
from latent_nerfstudio.api import prediction
from latent_nerfstudio.errors import check_whole, is_number

lns: Any = latent_nerfstudio
NAN = float("nan")


@pytest.fixture(autouse=True)
def types_are_not_checked():
    """As outside of tests, where a wrong type reaches the code."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def scenes(bundle):
    return bundle.predict(torch.rand(2, 8, 9, 3), cameras_of(2), name="mug")


def wrong_cameras(**changes):
    cameras = cameras_of(1)
    for name, value in changes.items():
        getattr(cameras, name).fill_(value)
    return cameras


PREDICT = {
    "masks, a number": ({"masks": 1}, "masks: expected a list, one for each of 2 photos, got a int; "),
    "masks of none": ({"masks": [None] * 2}, "mask of photo 0: expected an array .*, got a NoneType; "),
    "masks of words": ({"masks": [["a"]] * 2}, "mask of photo 0: expected an array .*, got a list; "),
    "masks of three axes": ({"masks": [np.ones((8, 9, 3))] * 2}, r"mask of photo 0: expected \[8, 9\], as"),
    "a flat box": ({"box": [[0, 0, 0], [1, 1, 0]]}, "box: expected two corners .*the lower one first.*, got"),
    "a box of NaN": ({"box": [[NAN] * 3, [1] * 3]}, "box: expected two corners .*, got"),
    "a box of words": ({"box": "large"}, "box: expected two corners .*, got a str; "),
    "a box without end": ({"box": [[0] * 3, [1e30] * 3]}, "box: expected two corners"),
    "a box of one corner": ({"box": [1, 2, 3]}, "box: expected two corners"),
    "enlarge, a word": ({"enlarge": "2"}, "enlarge: expected a divisor .*, got '2'; "),
    "a name, a number": ({"name": 3}, "scene name: expected .*, got int; "),
    "a name, a path": ({"name": "a/b"}, "scene name: expected"),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "says"), PREDICT.values(), ids=PREDICT)
def test_predict(bundle, monkeypatch, wrong, says):
    monkeypatch.setattr(prediction, "encode_images", lambda *_: pytest.fail("encoded before it was checked"))
    with pytest.raises(ValueError, match=says):
        bundle.predict(torch.rand(2, 8, 9, 3), cameras_of(2), **wrong)


def test_photos_that_see_nothing_are_told_before_they_are_encoded(bundle, monkeypatch):
    monkeypatch.setattr(prediction, "encode_images", lambda *_: pytest.fail("encoded"))
    with pytest.raises(ValueError, match="photos: expected some that see the bundle's box, got none that do"):
        bundle.predict(torch.rand(2, 8, 9, 3), cameras_of(2, shift=1000.0))
    few = np.zeros((8, 9))
    few[3:5, 4] = 1
    with pytest.raises(ValueError, match="masks: expected some that keep latent pixels .*, got none that do; have"):
        bundle.predict(torch.rand(2, 8, 9, 3), cameras_of(2), masks=[few, np.zeros((8, 9))])


CALLS = {
    "a list of lists as a name": (lambda s: s.render(["mug"], cameras_of(1)), "scenes: expected scenes of "),
    "a name that is none": (lambda s: s.orbit(None), "scenes: expected scenes of .*such as mug, got None; "),
    "names, a number": (lambda s: s.save("x", 3), "scenes: expected a name, or names, got a int; "),
    "cameras of NaN": (lambda s: s.render("mug", wrong_cameras(camera_to_worlds=NAN)), "camera 0': expected finite"),
    "no focal length": (lambda s: s.render("mug", wrong_cameras(fx=0)), "cameras, fx: expected a positive number"),
    "pictures without width": (lambda s: s.render("mug", wrong_cameras(width=0)), "cameras: expected 1 to 16384 pix"),
    "pictures of 10^7 pixels": (lambda s: s.render("mug", wrong_cameras(width=10**7)), "cameras: expected 1 to 163"),
    "half a view": (lambda s: s.orbit("mug", 1.5), "views: expected a whole number, 1 to .*, got 1.5; "),
    "a word for a size": (lambda s: s.orbit("mug", size="x"), "size: expected a whole number, .*, got 'x'; "),
    "too many views": (lambda s: s.orbit("mug", 10**9), "views: expected 1 to 100000, got 1000000000; "),
    "a word for a share": (lambda s: s.blend("mug", "mug", "x"), "view: expected a share from 0 to 1 .*, got 'x' of"),
    "a base plane too many": (lambda s: s.part("mug", "base plane", 99), "base_plane: expected 0 to .*, got 99; "),
    "no points": (lambda s: s.density("mug", None), r"points: expected finite numbers \[n, 3\], got a NoneType; "),
    "points of NaN": (lambda s: s.density("mug", [[NAN] * 3]), "points: expected finite numbers"),
    "half a point": (lambda s: s.point_cloud("mug", points=1.5), "points: expected a whole number, at least 1, got"),
    "a seed below zero": (lambda s: s.point_cloud("mug", seed=-1), "seed: expected 0 to 4294967295, got -1; "),
    "half a resolution": (lambda s: s.mesh("mug", 20.5), "resolution: expected a whole number, 8 to 512, got 20.5; "),
    "a word for a level": (lambda s: s.mesh("mug", level="x"), "level: expected a positive number, got 'x'; "),
    "no output": (lambda s: s.save(None), "output: expected a path, got none; name one"),
    "pictures of NaN": (lambda s: s.encode(torch.full((8, 8, 3), NAN)), "pictures: expected finite numbers: uint8"),
    "a height of none": (lambda s: s.decode(torch.zeros(3, 8, 9), 0), "height: expected at least 1, got 0; "),
    "a view from the pole": (lambda s: lns.orbit(1, elevation=90.0), "orbit: expected .*, got 1.3 and 90.0; "),
    "an endless radius": (lambda s: lns.orbit(radius=float("inf")), "orbit: expected a positive radius and .*got inf"),
    "a centre of two": (lambda s: lns.orbit(center=(1, 2)), "center: expected three finite numbers, got"),
    "words for eyes": (lambda s: lns.look_at("x"), "eyes: expected numbers, got a str; "),
    "a word for a size of two": (lambda s: lns.look_at([1, 1, 1], size="x"), "size: expected a whole number"),
    "depth of other cameras": (lambda s: lns.depth_along_z(torch.ones(1, 3, 3, 1), cameras_of(1)), "depth: expected"),
    "no depth": (lambda s: lns.depth_along_ray(None, cameras_of(1)), "depth: expected a tensor .*, got a NoneType"),
    "nothing to load": (lambda s: lns.load(None), "source: expected a path, got none; name one"),
    "a camera path, a number": (lambda s: lns.camera_path(3), "camera path: expected a path, got a int; name one"),
    "scenes, a number": (lambda s: lns.fit("x", "y", scenes=3), "scenes: expected a name, or names, got a int; "),
    "a large seed": (lambda s: lns.fit("x", "y", seed=1 << 70), "seed: expected 0 to 4294967295, got"),
    "a shard, a number": (lambda s: lns.fit("x", "y", shard=3), "shard: expected i/n with i from 1 to n, got 3; "),
    "a cache, a file": (lambda s: lns.fit("x", "y", latent_cache=__file__), "latent_cache: expected memory, disk or"),
    "a cache, a number": (lambda s: lns.fit("x", "y", latent_cache=3), "latent_cache: expected a path, got a int"),
}


@pytest.mark.parametrize(("call", "says"), CALLS.values(), ids=CALLS)
def test_calls(scenes, call, says):
    with pytest.raises((ValueError, OSError), match=says) as error:
        call(scenes)
    assert re.search(": expected .*, got .*; ", str(error.value)) and "\n" not in str(error.value)


def test_points_of_any_form_have_one_density(scenes):
    points = [[0.0, 0.1, 0.2], [9.0, 9.0, 9.0]]
    expected = scenes.density("mug", torch.tensor(points))
    assert expected[1] == 0
    for given in (points, np.array(points), torch.tensor(points, dtype=torch.float64)):
        torch.testing.assert_close(scenes.density("mug", given), expected)
    assert scenes.density("mug", torch.zeros(0, 3)).shape == (0,)


@pytest.mark.parametrize("good", [1, np.int64(3), torch.tensor(2), 3])
def test_whole_numbers(good):
    check_whole("x", good, 1, 3)
    assert is_number(good) and is_number(np.float32(0.5)) and is_number(torch.tensor(1.5))


@pytest.mark.parametrize("bad", [0, 4, 1.0, True, None, "2", NAN, torch.tensor([1, 2]), 10**400])
def test_others(bad):
    with pytest.raises(ValueError, match="x: expected (a whole number, )?1 to 3, got "):
        check_whole("x", bad, 1, 3)
    assert is_number(bad) == (type(bad) in (int, float, bool) and bad not in (10**400,) and bad == bad)
