"""ns-viewer whose NeRF fails while a file is there: `python breakable_viewer.py FILE`, then ns-viewer's arguments."""

import sys
from pathlib import Path

from nerfstudio.scripts.viewer.run_viewer import entrypoint

from latent_nerfstudio.models.triplane import TriplaneModel

if __name__ == "__main__":
    fault = Path(sys.argv.pop(1))
    get_outputs = TriplaneModel.get_outputs

    def breakable(*arguments):
        if fault.exists():
            raise RuntimeError("this fault is on purpose")
        return get_outputs(*arguments)

    TriplaneModel.get_outputs = breakable  # type: ignore[method-assign]
    entrypoint()
