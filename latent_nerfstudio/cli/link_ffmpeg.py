"""`lns link-ffmpeg`: an ffmpeg for ns-render, which looks for one on PATH, without a system package."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from latent_nerfstudio.files.places import check_folder


@dataclass
class LinkFfmpeg:
    """Puts imageio-ffmpeg's program beside the ns-* commands as `ffmpeg`; does nothing where PATH has one."""

    output: Optional[Path] = None
    """Folder to link it into; by default that of the running Python, where the ns-* commands are."""

    def main(self) -> None:
        check_folder(self.output)
        target = (self.output or Path(sys.executable).parent) / ("ffmpeg.exe" if sys.platform == "win32" else "ffmpeg")
        found = shutil.which("ffmpeg")
        if found is None and not target.exists():
            link_ffmpeg(target)
        print(f"ffmpeg: {found or target}")


def link_ffmpeg(target: Path) -> None:
    """Makes `target` a link to imageio-ffmpeg's program, or a copy where links are not allowed."""
    from latent_nerfstudio.files.locks import writable
    from latent_nerfstudio.videos.writing import find_ffmpeg

    program = find_ffmpeg()
    with writable(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(program)
    except OSError:
        shutil.copy2(program, target)
