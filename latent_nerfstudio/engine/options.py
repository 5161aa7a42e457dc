"""Which of Nerfstudio's options our methods take on the command line, and which come first in their help. Those that
our runs ignore, refuse or decide by themselves are left out; config.yml holds them still."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import torch
from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, MachineConfig, ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from tyro.conf import Suppress


@dataclass
class FirstOptions:
    """Options that the help begins with, in their order. A config has this as its last base: dataclasses list the
    fields of the last base first, and take types and defaults from the bases before it."""

    data: Optional[Path] = None
    max_num_iterations: int = 0
    output_dir: Path = Path()
    experiment_name: Optional[str] = None
    timestamp: str = ""
    vis: str = ""
    load_dir: Optional[Path] = None


@dataclass
class MachineOptions(MachineConfig):
    """Device and seed; a run has one process."""

    num_machines: Suppress[int] = 1
    machine_rank: Suppress[int] = 0
    dist_url: Suppress[str] = "auto"


@dataclass
class LoggingOptions(LoggingConfig):
    """Loggers, without Nerfstudio's table of steps, which our progress lines replace."""

    relative_log_dir: Suppress[Path] = Path("./")
    steps_per_log: int = 50
    max_buffer_size: Suppress[int] = 20
    local_writer: Suppress[LocalWriterConfig] = field(default_factory=lambda: LocalWriterConfig(enable=False))
    profiler: Suppress[str] = "none"


@dataclass
class ViewerOptions(ViewerConfig):
    """Where the viewer listens, when it ends, and what it sends."""

    relative_log_filename: Suppress[str] = "viewer_log_filename.txt"
    websocket_port_default: Suppress[int] = 7007
    num_rays_per_chunk: Suppress[int] = 1 << 15
    image_format: Suppress[str] = "jpeg"
    camera_frustum_scale: Suppress[float] = 0.1
    default_composite_depth: Suppress[bool] = True


@dataclass
class AdamConfig(AdamOptimizerConfig):
    """Adam, whose small print is that of the methods."""

    eps: Suppress[float] = 1e-15
    weight_decay: Suppress[float] = 0.0
    foreach: Suppress[bool] = True
    """Step all tensors in one call, as on a GPU: the same values, a third of the time less."""


def default_machine() -> MachineOptions:
    return MachineOptions(device_type="cuda" if torch.cuda.is_available() else "cpu")
