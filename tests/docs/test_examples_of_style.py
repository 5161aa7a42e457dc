"""The examples of "How this code reads" are lines of this code."""

import re

from shell_lines import ROOT


def test_examples_stand_in_the_code():
    page = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    paths = [*(ROOT / "latent_nerfstudio").rglob("*.py"), *(ROOT / "tests").rglob("test_*.py")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert len(examples) == 12 and [text for text in examples if not any(text in code for code in texts)] == []
