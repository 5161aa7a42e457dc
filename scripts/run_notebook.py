"""Runs the notebook of the documentation from top to bottom and writes it with what it showed.

python scripts/run_notebook.py docs/notebooks/first_scene.ipynb
"""

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any, Dict, List

import nbformat
from nbclient import NotebookClient

TIMEOUT = 600
"""Seconds that a cell may take."""

SHOWN = ("image/png", "text/plain")
"""Of what a cell shows, that which is kept: the first that is there."""


def run(notebook: Any, folder: Path) -> None:
    """Runs a notebook's cells in a folder and tidies what they show.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.get("metadata", {}).clear()
        if cell.cell_type == "code":
            cell.outputs = tidied(cell.outputs, str(folder.resolve()))


def tidied(outputs: List[Any], folder: str) -> List[Any]:
    """Outputs as one text and the pictures: without errors' streams, colours of terminals and this machine's paths."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed).replace(f"{folder}/", "")
    texts = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
    return [*texts, *(shown(output) for output in outputs if output.output_type != "stream")]


def shown(output: Any) -> Any:
    """An output with the best of its forms alone."""
    kind = next(kind for kind in SHOWN if kind in output.data)
    data: Dict[str, Any] = {kind: output.data[kind]}
    return nbformat.v4.new_output("display_data", data=data)


def main() -> None:
    """Runs the notebook that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, help="the notebook, which is written again")
    path = parser.parse_args().path
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        run(notebook, Path(folder))
    nbformat.write(notebook, path)
    print(f"Wrote {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
