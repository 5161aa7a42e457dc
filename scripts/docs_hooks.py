"""What MkDocs does beside rendering docs/: pages made of parsers, docstrings and other folders, links that hold both in
the repository and on the site, and formulas.

Everything is made at build time and nothing is fetched. See `hooks` in mkdocs.yml.
"""

import base64
import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "latent_nerfstudio/latent_space/bundled/README.md": "bundled.md",
    "docs/notebooks/first_scene.ipynb": "notebook.md",
    "README.md": "index.md",
}
"""Pages of the site by files of the repository that are not in docs/."""

LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s#:]+)(#[^)\s]*)?\)")
"""A Markdown link or picture to another file: text, file and anchor."""

FENCE = re.compile(r"^```.*?^```$", re.M | re.S)

FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?![\w$])", re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what is not in docs/."""
    for name, content in generated():
        files.append(File.generated(config, name, content=content))
    return files


def generated() -> Iterator[Tuple[str, Any]]:
    """Names and contents of the pages and pictures that are made or come from elsewhere."""
    sys.path.insert(0, str(ROOT / "scripts"))  # MkDocs keeps it there for the hook's own import alone
    import docs_reference

    for path in sorted((ROOT / "benchmarks").glob("*.md")):
        yield f"benchmarks/{path.name}", path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "benchmarks").glob("*.png")):
        yield f"benchmarks/{path.name}", path.read_bytes()
    for source, name in ELSEWHERE.items():
        if name not in ("index.md", "notebook.md"):
            yield name, re.sub(r"\A---\n.*?\n---\n", "", (ROOT / source).read_text(encoding="utf-8"), flags=re.S)
    yield from notebook_files(ROOT / "docs" / "notebooks" / "first_scene.ipynb")
    yield from docs_reference.command_pages()
    yield from docs_reference.method_pages()
    yield from docs_reference.api_pages(ROOT / "latent_nerfstudio")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to the repository into links of the site, and formulas into MathML."""
    here = repository_path(page.file.src_uri)
    known = {file.src_uri for file in files}
    return outside_fences(markdown, lambda text: formulas(links(text, here, page.file.src_uri, known)))


def outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """Applies a change to what is not code."""
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def repository_path(page: str) -> str:
    """Where in the repository a page of the site comes from."""
    back = {name: source for source, name in ELSEWHERE.items() if name != "index.md"}
    return back.get(page) or (page if page.startswith("benchmarks/") else f"docs/{page}")


def site_path(source: str) -> str:
    """Where on the site a file of the repository is, if it is there."""
    return ELSEWHERE.get(source) or (source if source.startswith("benchmarks/") else source.removeprefix("docs/"))


def links(text: str, here: str, page: str, known: set) -> str:
    """Points links to where files are on the site; what is not there loses its link and keeps its text."""

    def change(link: re.Match) -> str:
        source = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[2]))
        target = site_path(source)
        if (ROOT / source).is_dir() and f"{target}/README.md" in known:
            target = f"{target}/README.md"
        if target not in known:
            return link[0] if not (ROOT / source).exists() else link[1].lstrip("!")[1:-1]
        return f"{link[1]}({posixpath.relpath(target, posixpath.dirname(page) or '.')}{link[3] or ''})"

    return LINK.sub(change, text)


def formulas(text: str) -> str:
    """TeX between dollars as MathML, which browsers draw by themselves."""
    if "$" not in text:
        return text
    from latex2mathml.converter import convert

    def change(formula: re.Match) -> str:
        mathml = convert(formula[1] or formula[2], display="block" if formula[1] else "inline").replace("\n", " ")
        return mathml if formula[1] else f"<span>{mathml}</span>"  # a line may begin with it

    return FORMULA.sub(change, text)


def notebook_files(path: Path) -> Iterator[Tuple[str, Any]]:
    """A notebook as a page, with the pictures that its outputs hold."""
    lines: List[str] = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        lines += [source, ""] if cell["cell_type"] == "markdown" else ["```python", source, "```", ""]
        for index, output in enumerate(cell.get("outputs", [])):
            text, picture = shown(output)
            if text:
                lines += ["```text", text.rstrip(), "```", ""]
            if picture is not None:
                name = f"images/notebook_{number}_{index}.png"
                yield name, picture
                lines += [f"![output of the cell above]({name})", ""]
    yield "notebook.md", "\n".join(lines)


def shown(output: Dict[str, Any]) -> Tuple[str, Optional[bytes]]:
    """What a cell's output shows: text, or a picture."""
    data = output.get("data", {})
    if "image/png" in data:
        return "", base64.b64decode(data["image/png"])
    return "".join(output.get("text", data.get("text/plain", ""))), None
