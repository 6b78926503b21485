"""From the worker's private folder to the file that the user named."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from bdscan import atomic
from bdscan.errors import CannotJudge
from bdscan.mitigate.outcome import Guard
from bdscan.repair.outcome import ACCOUNT, REJECTED, SIDECAR, Repair
from bdscan.report import FileDigest

SPARE = 16 * 2**20  # bytes that a repaired file may be larger than the original: alignment, zip overhead


def may_write(output: str) -> tuple[str, ...]:
    """Every file that a repair to `output` may write."""
    return tuple(place + suffix for place in (output, output + REJECTED) for suffix in ("", SIDECAR, ACCOUNT))


def guard_may_write(output: str) -> tuple[str, ...]:
    return output, output + SIDECAR


def named(repair: Repair, output: str) -> Repair:
    """`repair` with the file's name for the user in place of that in the worker's private folder."""
    place = output if repair.outcome == "repaired" else output + REJECTED
    old = repair.after.subject
    files = tuple(
        file.model_copy(update={"path": place if file.role == "model" else place + SIDECAR})
        if file.role in ("model", "sidecar")
        else file
        for file in old.files
    )
    after = repair.after.model_copy(
        update={
            "subject": old.model_copy(update={"path": place, "files": files}),
            "settings": {**repair.after.settings, "model": place},
        }
    )
    result = repair.result and repair.result.model_copy(update={"path": place})
    return repair.model_copy(update={"after": after, "result": result})


def guard_named(guard: Guard, output: str) -> Guard:
    """As `named`, for a guarded model."""
    file = guard.file.model_copy(update={"path": output})
    beside = guard.sidecar and guard.sidecar.model_copy(update={"path": output + SIDECAR})
    return guard.model_copy(update={"file": file, "sidecar": beside})


def deliver(private: Path, repair: Repair, name: str, output: str, largest: int) -> tuple[str, ...]:
    """Write the repaired model to `output`, or to `output`.rejected, and its account beside it; what was written.

    A rejected model has all its files beside its own name: what lies at `output` from an earlier repair stays whole. An
    ONNX model's weights file keeps the name that the model calls it by.

    Args:
        largest: bytes of the original with its weights files.

    CannotJudge where the worker left something else than regular files of a plausible size with the digest it told.
    """
    end = "" if repair.outcome == "repaired" else REJECTED
    beside = next((file for file in repair.after.subject.files if file.role == "sidecar"), None)
    written = _model(private / (name + end), repair.result, beside, output + end, largest + SPARE)
    account = output + end + ACCOUNT
    atomic.write(account, (repair.model_dump_json(indent=1) + "\n").encode())
    return (*written, account)


def deliver_guard(private: Path, guard: Guard, name: str, output: str, largest: int) -> tuple[str, ...]:
    """Write the guarded model to `output`, as `deliver` does; twice the original's size is plausible (half floats)."""
    return _model(private / name, guard.file, guard.sidecar, output, 2 * largest + SPARE)


def _model(file: Path, told: FileDigest | None, beside: FileDigest | None, target: str, most: int) -> tuple[str, ...]:
    """Nothing is written before all of it has been read and is what the worker told.

    A model is never left beside weights of another repair (`atomic.write_pair`)."""
    content = _verified(file, told, most)
    sidecar = Path(f"{file}{SIDECAR}")
    weights = _verified(sidecar, beside, most) if beside is not None or os.path.lexists(sidecar) else None
    if weights is None:
        atomic.write(target, content)
        return (target,)
    atomic.write_pair(target, content, target + SIDECAR, weights)
    return target, target + SIDECAR


def _verified(file: Path, told: FileDigest | None, most: int) -> bytes:
    content = _read(file, most)
    if told is None or hashlib.sha256(content).hexdigest() != told.sha256:
        raise CannotJudge("the worker's file is not the one it verified; nothing was written")
    return content


def _read(path: Path, most: int) -> bytes:
    """A regular file of at most `most` bytes; no link is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise CannotJudge("the worker left no model; nothing was written") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CannotJudge("the worker left something that is no file; nothing was written")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CannotJudge("the worker's model is larger than the original allows; nothing was written")
    return content
