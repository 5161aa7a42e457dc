"""Faults put into the code on purpose, one at a time, and which test fails of it.

The faults of `benchmarks/mutants.json` are made by hand; `--sample N` makes N random ones instead of each file that
they are in, or that has a test of its name: an operator, a constant or a function turned into another. Nothing is
written: the code objects of a fault take the place of those in memory while its tests run, all in one process.

    python benchmarks/mutants.py --output mutants.json
    python benchmarks/mutants.py --sample 4 --rooms fields data --files planes pixels
"""

import ast
import copy
import importlib
import inspect
import json
import random
import signal
import types
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import pytest
import tyro
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parents[1]

SECONDS = 150
"""A test that takes longer than this with a fault is taken for one that fails of it."""

OPERATORS: Dict[type, type] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.In: ast.NotIn},
}

PAIRS = ("min max", "minimum maximum", "floor ceil", "any all", "sin cos", "amin amax", "argmin argmax", "mean sum")
NAMES = {a: b for pair in PAIRS for a, b in (pair.split(), pair.split()[::-1])}


@dataclass(frozen=True)
class Fault:
    """A text of a file that becomes another."""

    fault: str
    """In words."""
    file: str
    """From the repository's root."""
    old: str
    new: str
    tests: Sequence[str]
    """Files of the tests that should see it."""
    words: Sequence[str] = ()
    """Parts of the names of those that are run; empty for all of the files."""
    at: Optional[int] = None
    """Where the text begins; None where it is there once."""

    @property
    def room(self) -> str:
        """The part of the package."""
        return self.file.split("/")[1].removesuffix(".py")


@dataclass(frozen=True)
class Mutants:
    """Which faults."""

    sample: int = 0
    """Random faults of each file, instead of those made by hand."""
    rooms: Tuple[str, ...] = ()
    """Parts of the package; empty for all."""
    files: Tuple[str, ...] = ()
    """Names of files without their ending; empty for all."""
    seed: int = 0
    output: Optional[Path] = None
    """A JSON file for the results."""

    def main(self) -> None:
        """Runs the tests with each fault, and prints what came of it."""
        listed = json.loads((ROOT / "benchmarks" / "mutants.json").read_text(encoding="utf-8"))
        faults = [Fault(**entry) for entry in listed]
        if self.sample:
            files = of_one_name()
            for fault in faults:
                files[fault.file] = sorted({*files.get(fault.file, ()), *fault.tests})
            faults = [f for file, tests in files.items() for f in sampled(file, tests, self.sample, self.seed)]
        faults = [fault for fault in faults if not self.rooms or fault.room in self.rooms]
        faults = [fault for fault in faults if not self.files or Path(fault.file).stem in self.files]
        campaign = Campaign(faults)
        tests = sorted({test for fault in faults for test in fault.tests})
        pytest.main(["-q", "-o", "addopts=", "-p", "no:cacheprovider", *tests], plugins=[campaign])
        seen = sum(row["killed_by"] is not None for row in campaign.results)
        print(f"{seen} of {len(campaign.results)} faults are seen by a test")
        if self.output is not None:
            self.output.write_text(json.dumps(campaign.results, indent=1), encoding="utf-8")


class Campaign:
    """A plugin of pytest that runs the collected tests once as they are, and then with each fault."""

    def __init__(self, faults: Sequence[Fault]):
        self.faults, self.results = faults, []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        """In place of pytest's own loop."""
        whole = [item for item in session.items if any(chosen(item, fault) for fault in self.faults)]
        broken = {item.nodeid for item in whole if first_failure([item]) is not None}
        for fault in self.faults:
            items = [item for item in whole if chosen(item, fault) and item.nodeid not in broken]
            with_fault = replaced(fault)
            for function, _, code in with_fault:
                function.__code__ = code
            try:
                killer = first_failure(items)
            finally:
                for function, code, _ in with_fault:
                    function.__code__ = code
            self.results.append({**asdict(fault), "killed_by": killer})
            print(f"{fault.file}: {fault.fault}: {killer or 'SURVIVES'}", flush=True)
        return True


def chosen(item: Any, fault: Fault) -> bool:
    """Whether a test is one of those that should see a fault."""
    is_of_file = any(Path(item.path) == ROOT / test for test in fault.tests)
    return is_of_file and (not fault.words or any(word in item.nodeid for word in fault.words))


def first_failure(items: Sequence[Any]) -> Optional[str]:
    """The first test that fails, or does not end; None if all pass."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, stop)
    for item, following in zip(items, [*items[1:], None], strict=True):
        item._initrequest()
        signal.alarm(SECONDS)
        try:
            failed = any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))
        except BaseException:
            failed = True
        signal.alarm(0)
        if failed:
            item.session._setupstate.teardown_exact(None)
            return item.nodeid
    return None


def replaced(fault: Fault) -> List[Tuple[Any, types.CodeType, types.CodeType]]:
    """The functions that a fault changes, with their code before and after."""
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    at = source.index(fault.old) if fault.at is None else fault.at
    if fault.at is None and source.count(fault.old) != 1:
        raise ValueError(f"{fault.file}: expected {fault.old!r} once, got it {source.count(fault.old)} times")
    changed = source[:at] + fault.new + source[at + len(fault.old) :]
    before, after = (dict(codes(compile(text, ROOT / fault.file, "exec"))) for text in (source, changed))
    module = importlib.import_module(fault.file.removesuffix(".py").replace("/", "."))
    found = []
    for name, code in after.items():
        if "<" not in name and before.get(name, code) != code:
            function: Any = module
            for part in name.split("."):
                function = vars(function)[part]
            for inner in ("fget", "__func__", "func"):  # of properties, of static methods, of cached properties
                function = getattr(function, inner, function)
            while hasattr(function, "__wrapped__"):
                function = function.__wrapped__
            found.append((function, function.__code__, code))
    return found


def codes(code: types.CodeType) -> Iterator[Tuple[str, types.CodeType]]:
    """The code objects of functions within another, by their qualified names; not those of the bodies of classes."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if constant.co_flags & inspect.CO_OPTIMIZED:
                yield constant.co_qualname, constant
            yield from codes(constant)


def of_one_name() -> Dict[str, List[str]]:
    """Files of the package that have a test of their name in the room's folder of the tests."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "latent_nerfstudio").rglob("*.py"))
    tests = {str(file): Path("tests", *file.parts[1:2], f"test_{file.name}") for file in files if len(file.parts) > 2}
    return {file: [str(test)] for file, test in tests.items() if (ROOT / test).is_file()}


def sampled(file: str, tests: Sequence[str], count: int, seed: int) -> List[Fault]:
    """Random faults of a file."""
    source = (ROOT / file).read_text(encoding="utf-8")
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    faults = []
    for node in code_of(ast.parse(source)):
        other = turned(node)
        old = ast.get_source_segment(source, node)
        if other is not None and old is not None and old.isascii() and "\n" not in old:
            at = lines[node.lineno - 1] + len(source.splitlines()[node.lineno - 1].encode()[: node.col_offset].decode())
            new = ast.unparse(other) if isinstance(node, (ast.Constant, ast.Name)) else f"({ast.unparse(other)})"
            faults.append(Fault(f"line {node.lineno}: {old} -> {new}", file, old, new, tests, at=at))
    random.Random(f"{seed}{file}").shuffle(faults)
    return faults[:count]


def code_of(tree: ast.Module) -> Iterator[Any]:
    """The expressions of functions, without what is said of errors and types."""
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        said = [n for n in ast.walk(function) if isinstance(n, (ast.Raise, ast.JoinedStr, ast.AnnAssign))]
        skipped = {id(node) for part in said for node in ast.walk(part)}
        yield from (n for line in function.body for n in ast.walk(line) if id(n) not in skipped)


def turned(node: Any) -> Optional[ast.AST]:
    """An expression with another operator, constant or function; None where there is none such."""
    other = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        other.ops[0] = OPERATORS[type(node.ops[0])]()
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OPERATORS:
        other.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        return other.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        other.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        other.attr = NAMES[node.attr]
    else:
        return None
    return other


if __name__ == "__main__":
    tyro.cli(Mutants).main()
