"""How errors of the system are worded; which warnings are shown, and how."""

import copy
import errno
import sys
import warnings

from latent_nerfstudio.errors import few_of, in_words, is_worded, show_own_warnings_alone


def test_an_error_of_the_system_keeps_its_kind_and_number_and_loses_the_number_in_its_text():
    """Copies as well, which are made anew as an error that comes from another process is."""
    error = in_words(OSError(errno.EEXIST, "File exists", "x"), "x", "a folder", "a file", "name another")
    assert (type(error), error.errno) == (FileExistsError, errno.EEXIST) and is_worded(error)
    assert str(error) == "x: expected a folder, got a file; name another" == str(copy.copy(error))


def test_warnings_of_ours_are_one_line_and_those_of_others_are_hidden(capsys, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.delenv("LNS_DEBUG", raising=False)
    with warnings.catch_warnings():
        show_own_warnings_alone()
        for text, module in (("theirs", "torch.nn"), ("ours\x1b", "latent_nerfstudio.data.bounds")):
            warnings.warn_explicit(text, UserWarning, "x.py", 1, module=module)
    assert capsys.readouterr().err == "Warning: ours\\x1b\n"


def test_few_of_many_are_named_and_the_others_counted():
    assert [few_of("abc", 3), few_of("abcd", 3)] == ["a, b, c", "a, b, c and 1 more"]
    assert few_of([0, 1], 1, "xy".__getitem__) == "x and 1 more"
