"""The entry for Nerfstudio's list of external methods is built by its own class and names methods that there are."""

import re
import runpy

from nerfstudio.configs import external_methods
from nerfstudio.configs.method_configs import all_methods
from shell_lines import ROOT

ENTRY = ROOT / "docs" / "nerfstudio" / "external_method.py"


def entry(monkeypatch):
    """The entry, as Nerfstudio would have it in its list, which is put back."""
    monkeypatch.setattr(external_methods, "external_methods", [])
    runpy.run_path(str(ENTRY))
    (found,) = external_methods.external_methods
    return found


def test_the_entry_names_our_methods_and_no_others(monkeypatch):
    before = {name for other in external_methods.external_methods for name, _ in other.configurations}
    names = [name for name, _ in entry(monkeypatch).configurations]
    assert len(set(names)) == len(names) and not before & set(names)
    for name in names:
        assert type(all_methods[name]).__module__.startswith("latent_nerfstudio."), name


def test_nerfstudio_lists_the_entry(monkeypatch):
    found = entry(monkeypatch)
    configs, descriptions = external_methods.get_external_methods()
    assert list(configs) == [name for name, _ in found.configurations] and found.pip_package == "latent-nerfstudio"
    assert all(text.startswith("[External, run 'ns-train") for text in descriptions.values())
    assert configs["latent-triplane"].method is found


def test_the_page_names_the_same_methods(monkeypatch):
    page = (ENTRY.parent / "latent_nerfstudio.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` ", page, re.M)) == {n for n, _ in entry(monkeypatch).configurations}
