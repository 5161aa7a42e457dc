"""The table of a step in docs/architecture.md: what it names is what a step calls, and little else."""

import re
import sys
from pathlib import Path

from tiny import SHARED, pipeline_of, small_nerf

ROOT = Path(__file__).parents[2]

MOST_CALLS = 45
"""Calls of our functions in a step, without comprehensions."""


def rows():
    """File and functions of each row of the table."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("### A step of latent supervision")[1]
    table = [line.split("|") for line in text.split("\n\n")[1].splitlines()[2:]]
    named, path = {}, ""
    for line in table:
        path = line[1].strip(" `") or path
        named.setdefault(path, []).extend(re.findall(r"`(\w+)`", line[2]))
    return named


def test_a_step_calls_what_the_table_names_and_little_else(balls, kl):
    """Our functions, in the order in which a step and its gradient call them."""
    pipeline = pipeline_of(balls, kl, nerf=small_nerf(**SHARED)).train()
    sum(pipeline.get_train_loss_dict(0)[1].values()).backward()
    calls = []

    def note(frame, event, _):
        path = frame.f_code.co_filename
        if event == "call" and "/latent_nerfstudio/" in path and not frame.f_code.co_name.startswith("<"):
            calls.append((path.split("/latent_nerfstudio/")[-1], frame.f_code.co_name))

    sys.setprofile(note)
    try:
        pipeline.get_train_loss_dict(1)
    finally:
        sys.setprofile(None)
    table = rows()
    table.pop("engine/trainer.py")
    assert not {(path, name) for path, names in table.items() for name in names} - set(calls)
    assert {path for path, _ in calls} == set(table) and len(calls) <= MOST_CALLS, len(calls)
