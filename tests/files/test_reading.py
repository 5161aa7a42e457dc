"""Files from strangers: no waiting, no memory beyond what is allowed, JSON that nothing breaks on."""

import os

import pytest

from latent_nerfstudio.files.reading import open_plain, parse_json, read_json


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "holes", "large"])
def test_what_is_no_plain_file(tmp_path, kind):
    path = tmp_path / "x.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"x" * 100)
    if kind == "holes":
        os.truncate(path, 1 << 40)
    expected = {"holes": "a file without holes", "large": "50 bytes at most, got 100"}.get(kind, "a regular file")
    with pytest.raises(ValueError, match=expected):
        open_plain(path, 50 if kind == "large" else 1 << 41)


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, -2.5, 18446744073709551615]}')
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    assert read_json(tmp_path / "b.json") == {"a": [1, -2.5, 18446744073709551615]}


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("{", "Expecting property name"),
        ("[1]", "got list"),
        ("[" * 200_000, "brackets without end"),
        ('{"a": ' + "9" * 400 + "}", "whole number of 400 digits"),
        ('{"a": 1e999}', "NaN or infinity"),
        ('{"a": NaN}', "NaN or infinity"),
        ('{"a": -Infinity}', "NaN or infinity"),
        ('{"a": 1, "a": 2}', "a name that occurs twice"),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_json_that_is_none(text, got):
    with pytest.raises(ValueError, match=rf"^here: expected .*{got}.*; mend it$"):
        parse_json(text, "here", "mend it")
