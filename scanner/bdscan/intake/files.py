"""Files as they lie on disk: existence, size, SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from bdscan.errors import UsageError
from bdscan.report import FileDigest

Role = Literal["model", "sidecar", "arch", "labels", "reference"]

MAX_MODEL_BYTES = 8 * 2**30
MAX_TEXT_BYTES = 4 * 2**20


def existing_file(path: str, what: str, limit: int = MAX_MODEL_BYTES) -> Path:
    """The path of a readable, non-empty regular file of at most `limit` bytes; UsageError otherwise."""
    file = Path(path)
    if not file.exists():
        raise UsageError(f"{what} {path}: no such file")
    if not file.is_file():
        raise UsageError(f"{what} {path}: not a file")
    try:
        size = file.stat().st_size
        with file.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"{what} {path}: cannot be read ({error.strerror})") from None
    if size == 0:
        raise UsageError(f"{what} {path}: the file is empty")
    if size > limit:
        raise UsageError(
            f"{what} {path}: {size / 2**20:.0f} MB, more than the {limit / 2**20:.0f} MB that are accepted"
        )
    return file


def read_text(path: str, what: str) -> str:
    """The file as UTF-8 text (a byte order mark is dropped)."""
    file = existing_file(path, what, MAX_TEXT_BYTES)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{what} {path}: not a UTF-8 text file") from None


def digest_of(path: Path, role: Role, shown: str | None = None) -> FileDigest:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileDigest(path=shown or str(path), role=role, sha256=sha256, bytes=path.stat().st_size)


def combined_digest(files: tuple[FileDigest, ...]) -> str:
    """One SHA-256 over roles and hashes; paths do not count, so a moved file keeps its digest."""
    lines = sorted(f"{file.role} {file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
