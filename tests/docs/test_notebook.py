"""The notebook of the documentation runs from top to bottom, here with few views and steps."""

import os
import sys
from pathlib import Path

import pytest
from shell_lines import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first_scene.ipynb"

SMALL = {"--views 20": "--views 4 --size 32", "--steps 150": "--steps 5", "views=5": "views=2"}
"""What is made small."""


@pytest.fixture(scope="module")
def run_notebook():
    """The script that runs notebooks, without the grammar of addresses that jsonschema would read for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        patch.setitem(sys.modules, "rfc3987_syntax", None)
        import run_notebook
    return run_notebook


@pytest.fixture(scope="module")
def nbformat(run_notebook):
    return run_notebook.nbformat


def test_the_notebook_runs(run_notebook, nbformat, tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for words, small in SMALL.items():
        assert any(words in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(words, small)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_notebook.run(notebook, tmp_path)
    printed = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in printed) == 4
    assert any("2 of 2 scenes done" in output.get("text", "") for output in printed)
    assert str(tmp_path) not in nbformat.writes(notebook)


def test_outputs_are_tidied_and_the_committed_notebook_shows_what_it_made(nbformat, run_notebook):
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(cell.outputs for cell in cells if cell.cell_type == "code" and "import" not in cell.source)
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", [])) == 4
    stream = nbformat.v4.new_output
    outputs = [stream("stream", name="stdout", text="\x1b[1ma"), stream("stream", name="stderr", text="bar")]
    outputs += [stream("stream", name="stdout", text="b /x/y/c\n")]
    outputs += [stream("display_data", data={"image/png": "aa", "image/jpeg": "bb", "text/plain": "cc"})]
    text, picture = run_notebook.tidied(outputs, "/x/y")
    assert text.text == "ab c\n" and dict(picture.data) == {"image/png": "aa"}


def test_a_cell_that_fails_is_told(run_notebook, nbformat, tmp_path):
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise ValueError('no')")])
    with pytest.raises(CellExecutionError, match="no"):
        run_notebook.run(notebook, tmp_path)
