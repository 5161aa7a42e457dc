"""Files changed at random are read, or refused with an error of ours; `LNS_FUZZ=N` tries N of each and not the same."""

import os
from collections import Counter

import pytest
from fuzz_targets import TARGETS, outcome
from hypothesis import HealthCheck, Phase, given, settings

EXAMPLES = int(os.environ.get("LNS_FUZZ", "0"))
"""Cases of each target in a long campaign; 0 for the short one, which is the same every time."""

SHORT = 30


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_are_read_or_refused(name, tmp_path_factory):
    make, inputs, use = TARGETS[name]
    made = make(tmp_path_factory.mktemp("fuzz"))
    seen = Counter()

    @settings(
        max_examples=EXAMPLES or SHORT,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        phases=(Phase.generate, Phase.shrink) if EXAMPLES else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(change=inputs)
    def case(change):
        seen[outcome(lambda: use(made, change))] += 1

    case()
    assert seen["refused"] > 0, "no case was wrong: the changes do not reach the reader"
