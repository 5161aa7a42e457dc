"""The shell lines of the README and of docs/: where they stand, what they need, and the parsers that read them."""

import re
import shlex
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

import tyro

ROOT = Path(__file__).resolve().parents[2]

SHELL = ("bash", "sh", "shell", "console")

NEEDS = ("network", "gpu", "colmap")
"""What a block may be marked to need, by a comment in front of it: `<!-- needs: gpu -->`."""

MARK = re.compile(r"<!-- needs: ([\w, ]+) -->\s*")

FENCE = re.compile(r"^ *```(\w*)[^\n]*$")

# Commands that betray a block of shell.
PROGRAM = re.compile(r"^\s*(\$ )?(lns|ns-[a-z-]+|make|pip|python|python3|pytest|hf|git|docker|apt-get) ")


@dataclass(frozen=True)
class Line:
    """A shell line."""

    file: str
    """From the repository's root."""
    number: int
    """In the file."""
    text: str
    """With lines that a backslash continues joined, as it stands otherwise."""
    needs: str = ""
    """What its block is marked to need."""

    @property
    def words(self) -> List[str]:
        """Its words, without comments and without variables that are set in front."""
        words = shlex.split(self.text, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        return words

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.text}"


def pages() -> List[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def all_lines() -> List[Line]:
    return [line for page in pages() for line in lines_of(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))]


def lines_of(file: str, text: str) -> Iterator[Line]:
    """The shell lines of a page; refuses a block that looks like shell and does not say so, and an unknown mark."""
    kind, needs, mark, pending = None, "", "", ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if kind is None and fence:
            kind, needs, mark = fence[1] or "text", mark, ""
        elif fence:
            kind = None
        elif kind is None:
            mark = mark_of(line, mark, f"{file}:{number}")
        elif kind in SHELL and line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1]
        elif kind in SHELL:
            if shlex.split(pending + line, comments=True):
                yield Line(file, number, (pending + line).strip(), needs)
            pending = ""
        elif kind == "text" and PROGRAM.match(line):
            raise ValueError(f"{file}:{number}: expected a block of shell to begin with ```bash, got {line.strip()!r}")


def mark_of(line: str, mark: str, where: str) -> str:
    """What the next block needs, after a line outside of blocks."""
    found = MARK.fullmatch(line.strip())
    if found and found[1] not in NEEDS:
        raise ValueError(f"{where}: expected a need out of {', '.join(NEEDS)}, got {found[1]}")
    return found[1] if found else (mark if not line.strip() else "")


def check(line: Line) -> None:
    """Has the real parser of a line's command read it; refuses one that has no parser here, or that it refuses."""
    words = line.words
    reader = next((read for name, read in READERS.items() if re.fullmatch(name, words[0])), None)
    if reader is None:
        raise ValueError(f"{line}: nothing runs or reads {words[0]}; mark the block with what it needs")
    try:
        reader(words)
    except SystemExit as error:
        if error.code not in (0, None):
            raise ValueError(f"{line}: {words[0]} refuses it") from error


def by_tyro(module: str, name: str, has_flags: bool = True) -> Callable[[Sequence[str]], None]:
    """tyro's reading of the arguments of what a module offers; raises SystemExit where they are wrong, and at --help
    with 0."""

    def read(words: Sequence[str]) -> None:
        kind: Any = getattr(import_module(module), name)
        kind = kind if has_flags else tyro.conf.FlagConversionOff[kind]
        tyro.cli(kind, args=list(words[1:]), console_outputs=False)

    return read


read_lns = by_tyro("latent_nerfstudio.cli.main", "Command")


def read_train(words: Sequence[str]) -> None:
    """A method's own parser: that of all methods takes seconds a line."""
    from nerfstudio.configs.method_configs import all_methods

    config = all_methods.get(words[1])
    if config is None:
        raise ValueError(f"ns-train: expected a method of Nerfstudio or of ours, got {words[1]!r}")
    if words[2:] == ["--help"]:
        return
    kind: Any = type(config)
    tyro.cli(tyro.conf.SuppressFixed[tyro.conf.FlagConversionOff[kind]], default=config, args=list(words[2:]))


def read_make(words: Sequence[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    variables = set(re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        if name not in (variables if equals else targets):
            raise ValueError(f"make: expected a target or a variable of the Makefile, got {name!r}")


def read_python(words: Sequence[str]) -> None:
    """A script or module of this repository that has the flags, or a line of Python that compiles."""
    if words[1] == "-c":
        compile(words[2], "<line>", "exec")
        return
    if words[1] == "-m":
        words = [words[0], f"{words[2].replace('.', '/')}.py", *words[3:]]
    source = (ROOT / words[1]).read_text("utf-8")
    for word in words[2:]:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in source and f"{name[2:].replace('-', '_')}:" not in source:
            raise ValueError(f"{words[1]}: expected flags that the script has, got {name}")


def read_entering(words: Sequence[str]) -> None:
    """`cd` into the clone, and `source` of the environment that `make` makes there."""
    if words not in (["cd", "latent-nerfstudio"], ["source", ".venv/bin/activate"]):
        raise ValueError(f"{words[0]}: expected the clone or its environment, got {' '.join(words[1:])}")


def read_pytest(words: Sequence[str]) -> None:
    for word in words[1:]:
        if "/" in word and not (ROOT / word).exists():
            raise ValueError(f"pytest: expected a file or folder of the repository, got {word}")


READERS: Dict[str, Callable[[Sequence[str]], None]] = {
    "lns": read_lns,
    "ns-train": read_train,
    "ns-viewer": by_tyro("nerfstudio.scripts.viewer.run_viewer", "RunViewer", has_flags=False),
    "ns-eval": by_tyro("nerfstudio.scripts.eval", "ComputePSNR"),
    "ns-render": by_tyro("nerfstudio.scripts.render", "Commands"),
    "make": read_make,
    "python3?": read_python,
    "pytest": read_pytest,
    "cd|source": read_entering,
}
"""What reads a command's lines, by a pattern of its name."""

WITHOUT_READER = {"network": ("pip", "hf", "git"), "gpu": ("pip",), "colmap": ("ns-process-data",)}
"""Commands that nothing reads here, by the mark that they must bear."""
