"""Every row of the table of bad input: the command ends with its error, nothing is trained, the page says the same."""

from pathlib import Path

import pytest
from cases import CASES, GROUPS, page, pattern
from kit import copies
from running import TRACEBACK, error_of

PAGE = Path(__file__).parents[2] / "docs" / "bad_input.md"

ROWS = [pytest.param(case, id=f"{group.title}: {case.wrong[:60]}") for group in GROUPS for case in group.cases]


@pytest.mark.parametrize("case", ROWS)
def test_a_row(case, kit, tmp_path):
    copies(tmp_path, kit, case.command, case.takes)
    if case.breaks is not None:
        case.breaks(tmp_path)
    with case.around(tmp_path):
        got = error_of(case.command, tmp_path)
    assert pattern(case.says).search(got), f"expected {case.says!r}\ngot {got!r}"
    if not case.says.startswith("..."):  # tyro's, which reads flags
        assert ": expected " in got and "got " in got and "; " in got and TRACEBACK not in got
    assert not list(tmp_path.glob("out/**/*.ckpt"))


def test_rows_are_told_apart():
    assert len({case.says for case in CASES}) == len(CASES) >= 100
    assert len({(group.title, case.wrong) for group in GROUPS for case in group.cases}) == len(CASES)


def test_whole_things_are_no_errors(kit, tmp_path):
    """What the rows break, unbroken: the other half of the test."""
    commands = (
        "ns-train triplane --data FOLDER/scene",
        "lns pack-scenes FOLDER/files --output FOLDER/packed.zip",
        "lns.load('FOLDER/files', bundle='FOLDER/bundle')",
        "lns.load('FOLDER/run')",
        "lns.load_autoencoder('FOLDER/vae')",
        "lns decode-latents FOLDER/latents.safetensors --autoencoder FOLDER/vae --output FOLDER/decoded",
    )
    for number, command in enumerate(commands):
        folder = tmp_path / str(number)
        folder.mkdir()
        copies(folder, kit, command)
        with pytest.raises(AssertionError, match="it ended well"):
            error_of(command, folder)


def test_the_page_is_up_to_date():
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(), "call python scripts/write_bad_input.py"
