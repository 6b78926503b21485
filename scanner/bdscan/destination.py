"""Where a repair or a profile may write: checked before the work, so that no input is ever replaced."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from bdscan import atomic
from bdscan.errors import UsageError
from bdscan.report import Report
from bdscan.saved import read_report
from bdscan.settings import ProfileSettings, RepairSettings


def file_name(option: str, path: str) -> str:
    """The last part of `path`. `UsageError` where it names no file."""
    if path in ("", "-"):
        raise UsageError(f"{option} {path!r}: name a file; a model is not written to stdout")
    name = os.path.basename(path)
    if not name:
        raise UsageError(f"{option} {path}: names a folder; name a file in it")
    return name


def check_for(settings: RepairSettings | ProfileSettings, option: str, path: str, writes: tuple[str, ...]) -> None:
    """`check` against every file that the settings name, and then against the weights files beside the model.

    `UsageError` also where the report is none.
    """
    check(option, path, writes, inputs_of(settings))
    check(option, path, writes, sidecars(read_report(settings.report, "--report"), settings.model))


def inputs_of(settings: RepairSettings | ProfileSettings) -> tuple[str, ...]:
    """The files that the user named."""
    named = [settings.model, settings.samples, settings.report, settings.labels, settings.reference]
    named += [settings.calibration, *settings.rules]
    named += [(arch or "").rpartition(":")[0] for arch in (settings.arch, settings.reference_arch)]
    return tuple(name for name in named if name)


def sidecars(report: Report, model: str) -> tuple[str, ...]:
    """The model's weights files."""
    return tuple(beside(report, file.path, model) for file in report.subject.files if file.role == "sidecar")


def beside(report: Report, path: str, model: str) -> str:
    """Where a file of the report lies that went with its model when that became `model`."""
    return os.path.join(os.path.dirname(model), os.path.relpath(path, os.path.dirname(report.subject.path) or "."))


def is_device(path: str) -> bool:
    """Whether `path` is there and no regular file (/dev/null, a pipe): nothing to put in its place."""
    return os.path.exists(path) and not os.path.isfile(path)


def check(option: str, path: str, writes: Iterable[str], inputs: Iterable[str], *, devices: bool = False) -> None:
    """Before the work that ends in `writes`, which `option` with `path` leads to.

    Only a file made in a folder shows that one can be (permissions, read-only mounts, quotas), so one is made.

    Args:
        devices: whether `path` may be /dev/null or a pipe, which is written into and stays.

    `UsageError` where one of them is an input, a folder or no regular file, or where nothing can be written.
    """
    taken = [name for name in inputs if os.path.exists(name)]
    for each in writes:
        if not os.path.lexists(each):
            continue
        if os.path.exists(each) and any(os.path.samefile(each, name) for name in taken):
            what = "this is an input" if each == path else f"{each} is an input"
            raise UsageError(f"{option} {path}: {what} and would be overwritten; choose another name")
        if os.path.isdir(each):
            what = "this is a folder; name a file in it" if each == path else f"{each} is a folder; choose another name"
            raise UsageError(f"{option} {path}: {what}")
        if is_device(each) and not devices:
            raise UsageError(f"{option} {path}: {each} is no regular file; choose another name")
    try:
        if is_device(path):
            _try_device(path)
        else:
            atomic.probe(path)
    except OSError as error:
        if (folder := os.path.dirname(path)) and not os.path.lexists(folder):
            raise UsageError(f"{option} {path}: there is no folder {folder}; make it first") from None
        raise UsageError(f"{option} {path}: cannot be written ({error.strerror}); choose another place") from None


def _try_device(path: str) -> None:
    """A pipe is not opened: its reader would see it end before anything is written."""
    if stat.S_ISFIFO(os.stat(path).st_mode):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    else:
        os.close(os.open(path, os.O_WRONLY))
