"""Files of torch.save: tensors alone, in a zip that unfolds to no more than it is."""

import re
from io import BufferedReader
from pathlib import Path
from typing import Any

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.reading import BROKEN_ZIP, open_file, zip_in


def damage(path: Path, records: bool = True) -> str:
    """What is wrong with a file, empty if nothing is: a zip archive of members as they are, with a CRC-32 of each of
    its records, which torch writes and does not look at."""
    try:
        with BufferedReader(open_file(path)) as stream, zip_in(stream) as archive:  # type: ignore[arg-type]
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                return "its members are packed"
            broken = archive.testzip() if records else None
    except FileNotFoundError:
        raise
    except (*BROKEN_ZIP, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if broken is None else f"{broken} is not what was written"


def load_torch(path: Path, expected: str, do: str, mmap: bool = False) -> Any:
    """Tensors and containers of them, on the host, with `mmap` read where used; refuses what would run code."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # the unpickler's, which refuses to run code, and the system's
        reason = re.search("unsupported (?:global|class).*?(?= was not|$)", str(error), re.IGNORECASE | re.MULTILINE)
        got = f"a file that torch cannot read ({type(error).__name__})"
        if reason is not None:
            got = f"objects that need pickle, which may run any code ({reason[0].strip()})"
        raise ValueError(problem(path, expected, got, do)) from error
