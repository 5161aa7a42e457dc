"""Names of scenes on every file system."""

import pytest

from latent_nerfstudio.names import check_name, check_names, equal_parts

UNPRINTABLE = ["", " a", "a ", "a\n", "a\x00b", "a\u202eb", "\ud800", "ü" * 101, 7, None]
PATHS = [".", "..", ".hidden", "car.", "a/b", "a\\b", "/a", "C:evil", "a:b", "x*", "x?", '"', "<a>", "a|b"]
DEVICES = ["CON", "con", "nul.car", "LPT1", "com9 .x", "COM\u00b9"]


@pytest.mark.parametrize("name", [*UNPRINTABLE, *PATHS, *DEVICES])
def test_names_that_are_no_files_are_refused(name):
    with pytest.raises(ValueError, match="scene name: expected .*; rename the scene"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["a", "car 0001", "ü" * 100, "a..b", "x" * 200, "日本", "console", "com", "car[x]", "c++"]
)
def test_other_names_are_taken(name):
    check_name(name)


@pytest.mark.parametrize(
    "names", [("a", "a"), ("Car", "car"), ("é", "e\u0301"), ("STRASSE", "straße"), ("É", "e\u0301")]
)
def test_names_that_a_file_system_may_take_for_one_are_refused(names):
    with pytest.raises(ValueError, match="FOLDER: expected each scene once, got .*; rename one"):
        check_names(["b", *names], "FOLDER")
    check_names(["b", names[0], "c"], "FOLDER")


def test_equal_parts_are_neighbours_and_differ_by_one_at_most():
    assert equal_parts("abcde", 1) == ["abcde"]
    assert equal_parts("abcde", 3) == ["a", "bc", "de"]
    assert [len(part) for part in equal_parts("a" * 17, 2)] == [8, 9]
