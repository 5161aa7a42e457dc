"""Files from strangers: no waiting, no memory beyond what is allowed, JSON that nothing breaks on."""

import os

import pytest

from latent_nerfstudio.api.latent_files import read_latents
from latent_nerfstudio.data.training_cameras import read_cameras
from latent_nerfstudio.files import reading
from latent_nerfstudio.files.reading import check_header, open_plain, parse_json, read_json, read_rows
from latent_nerfstudio.latent_space.weights import stored_shapes
from latent_nerfstudio.models.bundle_folder import stored_tensors


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


def test_a_link_to_a_file_is_read_and_a_name_that_no_file_can_have_is_not_there(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, -2.5, 18446744073709551615]}')
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    assert read_json(tmp_path / "b.json") == {"a": [1, -2.5, 18446744073709551615]}
    for name in ("a\0b.json", "\ud800.json"):
        with pytest.raises(FileNotFoundError, match="expected a file, got nothing there"):
            read_json(tmp_path / name)


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


@pytest.mark.parametrize("text", ["[[], [], {}]", b'{"a": [1, 2, 3], "b": 3}'])
def test_values_are_counted_before_json_is_parsed(text, monkeypatch):
    monkeypatch.setattr(reading, "MOST_VALUES", 4)
    monkeypatch.setattr(reading.json, "loads", None)
    with pytest.raises(ValueError, match="^here: expected JSON of at most 4 values, got [56]; mend it$"):
        parse_json(text, "here", "mend it")


def test_rows_of_json(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n\n{"a": NaN}\n')
    assert [row["a"] == row["a"] for row in read_rows(tmp_path / "x.jsonl")] == [True, False]
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": ')
    with pytest.raises(ValueError, match=r"x\.jsonl, line 2: expected JSON, got"):
        read_rows(tmp_path / "x.jsonl")


READERS = {
    "weights": lambda path: stored_shapes([path]),
    "latents": read_latents,
    "a bundle": lambda path: list(stored_tensors(path)),
    "cameras": read_cameras,
    "the check alone": check_header,
}


@pytest.mark.parametrize("reader", READERS)
def test_readers_of_tensors_bound_the_header(tmp_path, reader):
    path = tmp_path / "x.safetensors"
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}' + b" " * (5 << 20) + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match="a header of 4,194,304 bytes at most, got 5,242,"):
        READERS[reader](path)
