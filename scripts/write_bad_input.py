"""Writes docs/bad_input.md, the table of bad input, from the rows that the tests run."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Writes the page."""
    sys.path[:0] = [str(ROOT / "tests" / "bad_input"), str(ROOT / "tests")]
    from cases import CASES, page  # type: ignore[import-not-found]

    path = ROOT / "docs" / "bad_input.md"
    path.write_text(page(), encoding="utf-8")
    print(f"Wrote {len(CASES)} rows to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
