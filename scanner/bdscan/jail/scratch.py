"""The private folder of a worker: made and removed here, and watched, since no limit counts the bytes of a folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

WORKER, RAY = "bdscan-worker-", "bdscan-ray-"  # what such folders are called; Ray needs a short name
LEFT_OVER: Final = 3600.0  # seconds: between making a folder and locking it passes a moment
MOST_ENTRIES: Final = 10_000


def overfull(folder: str, most: int) -> bool:
    """Whether the folder holds more than `most` bytes, or more files than any scan.

    Never follows a link; looks at `MOST_ENTRIES` at most.
    """
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
                    if size > most or count > MOST_ENTRIES:
                        return True
        except OSError:
            continue  # gone since, or its path has grown too long to open
    return False


@contextmanager
def private_folder(prefix: str) -> Iterator[str]:
    """An empty folder of this user's alone, removed at the end. Those that killed processes left go first.

    A lock on the folder says that its owner lives; the system drops it with the process, so none outlives its owner.
    """
    sweep(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        lock = _opened(folder)
        try:
            with suppress(OSError):  # a file system without locks: then nobody else gets one either
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield folder
        finally:
            os.close(lock)


def sweep(place: str) -> None:
    """Remove the private folders in `place` whose owners were killed: this user's, old, and locked by nobody."""
    with suppress(OSError), os.scandir(place) as entries:
        for path in [entry.path for entry in entries if entry.name.startswith((WORKER, RAY))]:
            with suppress(OSError, RecursionError):
                _remove_left_over(path)


def _remove_left_over(path: str) -> None:
    lock = _opened(path)
    try:
        status = os.fstat(lock)
        if status.st_uid == os.getuid() and time.time() - status.st_mtime > LEFT_OVER:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _opened(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
