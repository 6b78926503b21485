"""Files that are there whole or not at all, however the process that writes them ends."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SUFFIX: Final = ".bdscan-tmp"
LEFT_OVER: Final = 3600.0  # seconds: a write takes a moment, so an older temporary file is of a process that was killed


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """`content` as the file `path` (of its target, where it is a link). `OSError` leaves what was there before.

    Written beside it under a name that nobody else draws, then renamed: no reader sees half of it, two writers do not
    disturb each other, and there is no lock that could outlive its owner.
    """
    target = os.path.realpath(path)
    with _staged(target, content) as temporary:
        os.replace(temporary, target)


def write_pair(path: str | os.PathLike[str], content: bytes, beside: str | os.PathLike[str], weights: bytes) -> None:
    """`content` as the file `path`, and `weights` as `beside`, which it refers to by name.

    Two renames are not one: where there are weights already, an older `path` goes first. However this ends, it is never
    found with weights that are not its own; cut short between the renames, it is not found at all. Two writers of the
    same pair are not kept apart. `OSError` from writing, before anything is renamed, leaves what was there before.
    """
    target, other = os.path.realpath(path), os.path.realpath(beside)
    with _staged(target, content) as new, _staged(other, weights) as new_weights:
        if os.path.exists(other):
            Path(target).unlink(missing_ok=True)
        os.replace(new_weights, other)
        os.replace(new, target)


def probe(path: str | os.PathLike[str]) -> None:
    """`OSError` where `write` could not work: only a file made in that folder shows that one can be.

    Removes what killed processes left of earlier writes to `path`.
    """
    target = os.path.realpath(path)
    temporary = _beside(target)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    os.unlink(temporary)
    sweep(os.path.dirname(target), _stem(target))


def sweep(folder: str | os.PathLike[str], beginning: str = ".") -> None:
    """Remove left-over temporary files; a young one may be another process's, at work."""
    now = time.time()
    with os.scandir(folder) as entries:
        left = [entry for entry in entries if entry.name.startswith(beginning) and entry.name.endswith(SUFFIX)]
    for entry in left:
        try:
            if now - entry.stat(follow_symlinks=False).st_mtime > LEFT_OVER:
                os.unlink(entry.path)
        except OSError:
            pass  # somebody else's to remove, or removed by another scan just now


@contextmanager
def _staged(target: str, content: bytes) -> Iterator[str]:
    """`content` on the disk under a name of its own beside `target`, to be renamed; gone where the context fails."""
    temporary = _beside(target)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _stem(target: str) -> str:
    return f".{os.path.basename(target)[:100]}."


def _beside(target: str) -> str:
    """A name in the folder of the file itself, where a rename is atomic."""
    return os.path.join(os.path.dirname(target), f"{_stem(target)}{secrets.token_hex(8)}{SUFFIX}")
