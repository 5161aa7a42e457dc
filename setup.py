"""What pyproject.toml cannot say: on the package index the README stands alone, without the files beside it."""

import re
from pathlib import Path

from setuptools import setup

README = (Path(__file__).parent / "README.md").read_text("utf-8")
README = re.sub(r"!\[[^\]]*\]\((?!\w+:)[^)]*\)\n\n(\*[^*]+\*\n\n)?", "", README)  # pictures and their captions
README = re.sub(r"\[([^\]]*)\]\((?!\w+:|#)[^)]*\)", r"\1", README)  # links

setup(long_description=README, long_description_content_type="text/markdown")
