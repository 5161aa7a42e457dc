"""The site is built as `make docs` builds it, holds what it is made of, and asks nobody else for anything."""

import json
import re
import sys
from pathlib import Path

import pytest
from shell_lines import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import docs_hooks
import docs_reference


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning would have been an error. Signatures stay as they are: a process of ruff for each of
    hundreds takes seconds."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ruff.__main__", None)
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def text_of(page: Path) -> str:
    """What a page shows, without its markup."""
    return re.sub(r"<[^>]+>", "", page.read_text("utf-8"))


def test_the_site_is_whole(site):
    from latent_nerfstudio.cli.main import Command

    reference = site / "reference"
    commands = text_of(reference / "commands.html")
    for name in docs_reference.subparsers(docs_reference.parser_of(Command)):
        assert f"lns {name}" in commands and f"lns {name}" in text_of(reference / "commands" / f"{name}.html")
    methods = text_of(reference / "methods.html")
    assert all(name in methods for name in docs_reference.own_methods())
    assert "--pipeline.rgb-alignment-start" in text_of(reference / "methods" / "latent-triplane.html")
    assert "--pipeline.model.nerf.num-levels" in text_of(reference / "methods" / "latent-instant-ngp.html")
    found = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    places = {entry["location"].partition("#")[0] for entry in found if "point cloud" in entry["title"] + entry["text"]}
    assert {"gallery.html", "inventory.html"} <= places
    page = site / "reference" / "api" / "files.html"
    assert 'id="latent_nerfstudio.files.hub.resolve"' in page.read_text("utf-8")
    assert "ConnectionError" in text_of(page) and "OWNER/NAME" in text_of(page)
    assert "<math" in (site / "concepts.html").read_text("utf-8")
    assert (site / "benchmarks" / "numerous_scenes.png").is_file()
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()


def test_pages_load_nothing_from_elsewhere_and_name_no_place_of_this_machine(site):
    loaded = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=[\"']?(//|https?:)[^>]*>")
    for page in site.rglob("*.html"):
        found = [link[0] for link in loaded.finditer(page.read_text("utf-8")) if 'rel="canonical"' not in link[0]]
        assert not found, f"{page}: {found}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(//|https?:)", style.read_text("utf-8")), style
    for page in site.rglob("*.html"):
        assert str(ROOT) not in page.read_text("utf-8"), page


KNOWN = {"index.md", "concepts.md", "benchmarks/fox.md", "benchmarks/README.md", "bundled.md", "images/viewer.png"}


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("results.md", "[a](../benchmarks/fox.md#x)", "[a](benchmarks/fox.md#x)"),
        ("results.md", "[a](../benchmarks)", "[a](benchmarks/README.md)"),
        ("results.md", "[a](../README.md)", "[a](index.md)"),
        ("results.md", "![a](images/viewer.png)", "![a](images/viewer.png)"),
        ("results.md", "[a](../latent_nerfstudio/latent_space/bundled/README.md)", "[a](bundled.md)"),
        ("results.md", "[`a`](../tests/tiny.py)", "`a`"),
        ("results.md", "[a](gone.md)", "[a](gone.md)"),
        ("results.md", "[a](https://example.com)", "[a](https://example.com)"),
        ("benchmarks/README.md", "[a](fox.md) [b](../docs/concepts.md)", "[a](fox.md) [b](../concepts.md)"),
        ("benchmarks/README.md", "[a](../docs/images/viewer.png)", "[a](../images/viewer.png)"),
    ],
)
def test_links_hold_on_the_site(page, text, expected):
    assert docs_hooks.links(text, docs_hooks.repository_path(page), page, KNOWN) == expected


def test_formulas_are_mathml_outside_of_code():
    changed = docs_hooks.outside_fences("$a^2$ costs 3$ and 4$\n\n```bash\necho $a$b$\n```\n", docs_hooks.formulas)
    assert changed.startswith("<span><math") and "<msup>" in changed
    assert "3$ and 4$" in changed and "echo $a$b$" in changed
    assert 'display="block"' in docs_hooks.formulas("$$ x $$")
