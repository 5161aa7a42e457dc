"""ns-viewer with small frames, whose NeRF fails while a file is there: `python breakable_viewer.py FILE`, then
ns-viewer's arguments."""

import sys
from pathlib import Path
from typing import Tuple

from nerfstudio.scripts.viewer.run_viewer import entrypoint
from nerfstudio.viewer.render_state_machine import RenderStateMachine

from latent_nerfstudio.models.triplane import TriplaneModel

LONGER_SIDE = 256
"""Of all frames, pixels; half of what the panel asks for."""


def full_size(machine: RenderStateMachine, aspect: float) -> Tuple[int, int]:
    """Height and width of all frames: on a busy machine coarse ones, which Nerfstudio sends first, stay for long."""
    return (LONGER_SIDE, int(LONGER_SIDE * aspect)) if aspect <= 1 else (int(LONGER_SIDE / aspect), LONGER_SIDE)


if __name__ == "__main__":
    RenderStateMachine._calculate_image_res = full_size  # type: ignore[method-assign]
    fault = Path(sys.argv.pop(1))
    get_outputs = TriplaneModel.get_outputs

    def breakable(*arguments):
        if fault.exists():
            raise RuntimeError("this fault is on purpose")
        return get_outputs(*arguments)

    TriplaneModel.get_outputs = breakable  # type: ignore[method-assign]
    entrypoint()
