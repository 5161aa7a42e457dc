"""Scenes as small files and archives. Imports nothing heavy: the help of `lns` reads it."""

from typing import Literal

Precision = Literal["float16", "float32", "int8"]
"""Of a scene file's micro planes."""
