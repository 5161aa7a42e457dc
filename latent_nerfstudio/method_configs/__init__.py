"""The configs of the methods. A wheel holds them here; in a checkout they stand at its top, and are found there."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "method_configs"))
