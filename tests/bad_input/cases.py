"""All rows of the table, and the page that shows them."""

import re
from typing import List

import data_cases
import file_cases
import use_cases
from breaking import Case, Group

GROUPS: List[Group] = [*data_cases.GROUPS, *file_cases.GROUPS, *use_cases.GROUPS]

CASES: List[Case] = [case for group in GROUPS for case in group.cases]

HEAD = """# Bad input

What is said where something is not as it should be: {count} checks, each run by a test with a small folder of its own
(`tests/bad_input/`). An error names what is wrong, what was expected, what was found, and what to do, before long work
starts and before anything is written. `lns` and `ns-train` print it in one line (`LNS_DEBUG=1` shows the traceback);
Python raises it as `ValueError`, or as `OSError` where a file is not there or cannot be written.

`FOLDER` is a folder of yours; `lns.` is the Python API (`import latent_nerfstudio as lns`). What is checked of files
from strangers, and what is trusted, is in [security.md](security.md). `python scripts/write_bad_input.py` writes this
page.
"""


def pattern(error: str) -> "re.Pattern[str]":
    """What an error must contain."""
    return re.compile(".*".join(map(re.escape, error.split("..."))), re.DOTALL)


def page() -> str:
    return "\n".join([HEAD.format(count=len(CASES)), *map(section, GROUPS)])


def section(group: Group) -> str:
    rows = [f"| {cell(case.wrong)} | {code(case.command or '')} | {code(case.says)} |" for case in group.cases]
    head = ["| what is wrong | what is called | what it says first |", "| --- | --- | --- |"]
    return "\n".join([f"## {group.title}", "", group.text, "", *head, *rows, ""])


def code(text: str) -> str:
    """A cell of code; backticks within it take two around it."""
    fence = "``" if "`" in text else "`"
    return cell(f"{fence}{' ' if text[0] == '`' else ''}{text}{' ' if text[-1] == '`' else ''}{fence}")


def cell(text: str) -> str:
    """A cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
