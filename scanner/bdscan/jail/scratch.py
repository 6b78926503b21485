"""The worker's private folder, watched from outside: no limit of the system counts a folder's bytes."""

from __future__ import annotations

import os
from typing import Final

MOST_BYTES: Final = 2**30  # what a GPU's library may keep there by default; bdscan itself writes nothing
MOST_ENTRIES: Final = 10_000


def overfull(folder: str) -> bool:
    """Whether the folder holds more than a scan can need. Never follows a link; looks at `MOST_ENTRIES` at most."""
    waiting, size, count = [folder], 0, 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if size > MOST_BYTES or count > MOST_ENTRIES:
                        return True
        except OSError:
            continue  # gone since, or its path has grown too long to open
    return False
