"""What pyproject.toml cannot say: on the package index the README stands alone, with whole links."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
REPOSITORY = re.search(r'^Repository = "(.*)"$', (HERE / "pyproject.toml").read_text("utf-8"), re.M)[1]


def whole_link(link: re.Match) -> str:
    """A Markdown link or picture of a file of the repository, as one to where the repository is."""
    kind = "raw" if link[1] else "blob"
    return f"{link[1]}[{link[2]}]({REPOSITORY}/{kind}/main/{link[3]})"


README = re.sub(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]*)\)", whole_link, (HERE / "README.md").read_text("utf-8"))

setup(long_description=README, long_description_content_type="text/markdown")
