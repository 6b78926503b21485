"""Where a file lies in its repository: what a report that leaves this machine may say of the place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LONGEST: Final = 4000  # what a report's texts may have


def in_repository(path: str) -> str:
    """`path` from the root of the repository that holds the working folder, or from that folder where none does.

    Empty where the file lies outside, and where the way to it cannot be written down in UTF-8.
    """
    try:
        here = Path.cwd()
        root = next((folder for folder in (here, *here.parents) if os.path.exists(folder / ".git")), here)
        folder, name = os.path.split(os.path.abspath(path))
        # The file's own name stays: a link in the repository is what the reader of a report knows.
        place = (Path(folder).resolve() / name).relative_to(root.resolve()).as_posix()
        return place if len(place.encode()) <= LONGEST else ""
    except (ValueError, OSError, RuntimeError):  # outside, or not UTF-8; a folder that is gone; a loop of links
        return ""
