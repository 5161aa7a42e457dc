"""The entry for Nerfstudio's list of external methods is built by its own class and names methods that there are."""

import re
import runpy

from nerfstudio.configs import external_methods
from nerfstudio.configs.method_configs import all_methods
from shell_lines import ROOT

ENTRY = ROOT / "docs" / "nerfstudio" / "external_method.py"


def test_the_entry_names_our_methods_and_no_others_as_its_page_does(monkeypatch):
    """As Nerfstudio would have it in its list, which is put back."""
    before = {name for other in external_methods.external_methods for name, _ in other.configurations}
    monkeypatch.setattr(external_methods, "external_methods", [])
    runpy.run_path(str(ENTRY))
    (entry,) = external_methods.external_methods
    names = [name for name, _ in entry.configurations]
    assert len(set(names)) == len(names) and not before & set(names)
    for name in names:
        assert type(all_methods[name]).__module__.startswith("latent_nerfstudio."), name
    configs, descriptions = external_methods.get_external_methods()
    assert list(configs) == names and entry.pip_package == "latent-nerfstudio"
    assert all(text.startswith("[External, run 'ns-train") for text in descriptions.values())
    assert configs["latent-triplane"].method is entry
    page = (ENTRY.parent / "latent_nerfstudio.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` ", page, re.M)) == set(names)
