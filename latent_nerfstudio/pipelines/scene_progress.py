"""Named by config.yml of version 0.1, in which scenes could end early; nothing else needs it."""

from dataclasses import dataclass


@dataclass
class PlateauConfig:
    """When scenes ended early; read and left alone."""
