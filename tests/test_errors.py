"""Which warnings are shown, and how."""

import sys
import warnings

from latent_nerfstudio.errors import show_own_warnings_alone


def test_warnings_of_ours_are_one_line_and_those_of_others_are_hidden(capsys, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.delenv("LNS_DEBUG", raising=False)
    with warnings.catch_warnings():
        show_own_warnings_alone()
        for text, module in (("theirs", "torch.nn"), ("ours\x1b", "latent_nerfstudio.data.bounds")):
            warnings.warn_explicit(text, UserWarning, "x.py", 1, module=module)
    assert capsys.readouterr().err == "Warning: ours\\x1b\n"
