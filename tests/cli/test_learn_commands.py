"""`lns learn-bundle` and `lns learn-scene-encoder`: what is refused before anything is written."""

import pytest
from official import error_of
from scene_folders import write_transforms

PLACES = [
    ("none", "out", "none: expected a folder of scenes, got nothing there; check the path"),
    ("scenes", "scenes", "output: expected another folder than that of the photos, got "),
    ("scenes", "scenes/a", "output: expected another folder than that of the photos, got "),
]


@pytest.mark.parametrize("command", ["learn-bundle", "learn-scene-encoder", "fit-scenes"])
@pytest.mark.parametrize(("data", "output", "expected"), PLACES)
def test_places_that_cannot_be(tmp_path, capsys, command, data, output, expected):
    write_transforms(tmp_path / "scenes" / "a")
    assert expected in error_of(capsys, command, tmp_path / data, "--output", tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]
    assert sorted(path.name for path in (tmp_path / "scenes" / "a").iterdir()) == ["images", "transforms.json"]
