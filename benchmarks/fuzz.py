"""How files that were changed at random are met: read, or refused with an error that says what was expected.

    python benchmarks/fuzz.py --cases 2000

The targets are those of tests/fuzz. A case is a right file with some changes, made with lengths and hashes that fit
where a hostile writer would make them fit. A finding is any other exception, an error in other words, no answer within
20 s, or more than 1 GiB of memory.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import tyro
from common import Numbers, Results, preamble, table, temporary_folder

FOUND = (
    "bytes that are no UTF-8 in `intrinsics.txt` and pose files: `UnicodeDecodeError`",
    "a setting that nobody knows in `bundle.json`: `TypeError`; sizes that no memory holds were taken as they came",
    "tensors of other shapes in `shared.safetensors`: `RuntimeError`; NaN was taken",
    "a mean or a scale that is no number, or none for each channel, in `latent_space.json`: errors of torch",
    "a text as the height of latents, and whole numbers beyond a float's as their box: `TypeError`, `OverflowError`",
    "brackets without end, numbers of thousands of digits, lists as camera model or split in `transforms.json`: "
    "`RecursionError`, `OverflowError`, `TypeError`; 1e300 as a place became infinity",
    "a focal length of 1e-320, which is 0 in training: found by its NaN in the first step",
    "a checkpoint whose zip names no UTF-8: `UnicodeDecodeError`; a `status.json` without seconds: `KeyError`",
    "a list as seconds in `training.json`: `TypeError`; a mesh whose corners have two coordinates: words of numpy",
    "lists where a `config.json` has a name, and widths whose weights no file holds: `TypeError`, memory without bound",
    "names with a null byte or half a surrogate in `transforms.json`: `ValueError`, `UnicodeEncodeError`",
    "glTF of 0.1 MB with a chain of 4,000 nodes, OBJ of 1 MB with 60,000 materials: minutes; views, accessors or "
    "meshes of glTF that share their bytes: memory without bound",
)
"""What was met with something else before it was mended: by the first short campaigns, and by reading the code."""

TESTS = Path(__file__).parents[1] / "tests"

MANY = 20
"""Findings of a target after which it is left."""


def run(name: str, cases: int, seed: int) -> Numbers:
    """A target's cases: counts, and the first findings of each kind."""
    sys.path += [str(TESTS), str(TESTS / "fuzz")]
    from fuzz_targets import TARGETS, outcome  # type: ignore[import-not-found]
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    (make, inputs, use), seen, findings = TARGETS[name], Counter(), {}
    started = time.process_time()
    with temporary_folder() as folder:
        made = make(Path(folder))

        @seeded(seed)
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),  # type: ignore[arg-type]
        )
        @given(change=inputs)
        def campaign(change: Any) -> None:
            if len(findings) >= MANY:
                return
            try:
                seen[outcome(lambda: use(made, change))] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                seen["findings"] += 1
                findings.setdefault(kind_of(error), f"{error!s:.300} <- {change!r:.300}")

        campaign()
    return {**seen, "cpu_seconds": time.process_time() - started, "kinds": findings}


def kind_of(error: BaseException) -> str:
    """Type of an error and the line of ours, or the last one, that it came from."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "latent_nerfstudio" in file.parts and ".venv" not in file.parts or not line:
            line = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {line}"


def rows_of(results: Results) -> List[Tuple[Dict[str, Any], Numbers]]:
    """Records in the order of the targets."""
    return results.find()


def page(results: Results) -> str:
    """The page."""
    rows, total = [], Counter()
    for settings, numbers in rows_of(results):
        counts = [int(numbers.get(kind, 0)) for kind in ("read", "refused", "findings")]
        total.update(dict(zip(("read", "refused", "findings"), counts, strict=True)))
        rows.append(
            [settings["target"], f"{sum(counts):,}", *(f"{n:,}" for n in counts), f"{numbers['cpu_seconds']:.0f}"]
        )
    rows.append(
        ["all", f"{sum(total.values()):,}", *(f"{total[kind]:,}" for kind in ("read", "refused", "findings")), ""]
    )
    text = (
        "Files that begin right and are changed at random, with lengths and hashes that fit where a hostile writer "
        "would make them fit. *Refused*: an error of ours, in its one line. A *finding* is any other exception, an "
        "error in other words, no answer within 20 s, or more than 1 GiB of memory."
    )
    found = [f"- {s['target']}: {kind}: {what}" for s, n in rows_of(results) for kind, what in n["kinds"].items()]
    lines = [*preamble("Files changed at random"), text, ""]
    lines += table(["what is changed", "cases", "read", "refused", "findings", "CPU s"], rows)
    lines += ["", *(["Findings:", "", *found, ""] if found else [])]
    return "\n".join([*lines, "Found before, and mended:", "", *(f"- {line}" for line in FOUND), ""])


@dataclass
class Fuzz:
    """Runs a campaign and writes its page."""

    cases: int = 2000
    """Of each target."""
    seed: int = 0
    """Of the changes; another one makes others."""
    targets: Tuple[str, ...] = ()
    """Names of targets; by default all."""
    output: Path = Path("benchmarks/fuzz.json")
    """Numbers; the page is written beside them."""
    resume: bool = False
    """Keep what an interrupted call of the same settings did."""

    def main(self) -> None:
        """Runs it."""
        sys.path += [str(TESTS), str(TESTS / "fuzz")]
        from fuzz_targets import TARGETS  # type: ignore[import-not-found]

        results = Results(self.output, page, self.resume)
        for name in self.targets or TARGETS:
            settings = {"target": name, "cases": self.cases, "seed": self.seed}
            results.record(settings, lambda name=name: run(name, self.cases, self.seed))


if __name__ == "__main__":
    tyro.cli(Fuzz).main()
