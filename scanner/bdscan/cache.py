"""Reports kept for the next run: one file for each set of inputs, named by the digest of all that decides a report.

An entry is untrusted when it is read: it must be the entry it is named for, unchanged since it was written, and a valid
report; anything else is scanned again. What did not end in a judgement is never kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from bdscan import atomic
from bdscan.cache_key import file_digest, key_of
from bdscan.errors import UsageError
from bdscan.report import Digest, Report, Value, Verdict
from bdscan.settings import Settings

USER: Final = "user"  # the word for the folder of this user
LARGEST: Final = 256 * 2**20
OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Entry(Value):
    key: Digest
    sha256: Digest  # of the report as JSON
    report: Report


@dataclass(frozen=True)
class Cache:
    folder: Path

    def get(self, key: str, settings: Settings) -> Report | None:
        """The report kept under `key`, as it was; None where there is none that can be believed."""
        try:
            with self._place(key).open("rb") as file:
                content = file.read(LARGEST + 1)
            entry = Entry.model_validate_json(content)
        except (OSError, ValidationError):
            return None
        if entry.key != key or entry.sha256 != _digest(entry.report) or not keepable(entry.report):
            return None
        return entry.report if files_as_reported(entry.report, settings) else None

    def put(self, key: str, report: Report) -> None:
        """Keep a report that `keepable` allows. `OSError` where it cannot be written."""
        entry = Entry(key=key, sha256=_digest(report), report=report)
        atomic.write(self._place(key), entry.model_dump_json().encode())

    def _place(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def open_cache(name: str) -> Cache:
    """The cache in the folder `name`, which is made where it is missing.

    Refused where others may write: who can write an entry can write a verdict.
    """
    folder = user_folder() if name == USER else Path(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & OTHERS_MAY_WRITE:
            raise UsageError(
                f"--cache {folder}: others may write there, and so make up verdicts; `chmod go-w` a folder of your own"
            )
        atomic.probe(folder / "probe")
        atomic.sweep(folder)
    except OSError as error:
        raise UsageError(f"--cache {folder}: cannot be used ({error.strerror}); name another folder") from None
    return Cache(folder)


def user_folder() -> Path:
    """`bdscan` in the user's cache folder, as the XDG base directory specification places it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "bdscan"


def keepable(report: Report) -> bool:
    """Only judgements: nothing inconclusive, and nothing with a failed stage, which may succeed the next time."""
    failed = any(stage.outcome == "failed" for stage in report.stages)
    return report.verdict is not Verdict.INCONCLUSIVE and not failed


def files_as_reported(report: Report, settings: Settings) -> bool:
    """Whether the files that the report names are still those: the key cannot know a model's sidecars before.

    Only what lies beside a file that the user named is opened.
    """
    named = [settings.model, settings.reference, settings.labels]
    named += [(arch or "").rpartition(":")[0] for arch in (settings.arch, settings.reference_arch)]
    folders = {os.path.realpath(os.path.dirname(name) or ".") for name in named if name}
    for file in report.subject.files:
        near = any(os.path.realpath(file.path).startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
        if not near and file.path not in named:  # which may be a link to a store of files elsewhere
            return False
        try:
            if file_digest(file.path) != file.sha256:
                return False
        except OSError:
            return False
    return True


def cached(
    cache: Cache, settings: Settings, isolate: bool, scan: Callable[[], Report], note: Callable[[str], None]
) -> Report:
    """The kept report of these very inputs, else `scan()`, which is then kept. Its `run` says which."""
    key = key_of(settings, isolate)
    kept = cache.get(key, settings)
    if kept is not None:
        return _with(kept, "hit")
    report = scan()
    # A file that changed while it was scanned must not give its new self the old one's report.
    if keepable(report) and key_of(settings, isolate) == key:
        try:
            cache.put(key, report)
        except OSError as error:
            note(f"the report of {settings.model} was not kept in {cache.folder} ({error.strerror})")
    return _with(report, "miss")


def _with(report: Report, word: str) -> Report:
    return report.model_copy(update={"run": report.run.model_copy(update={"cache": word})})


def _digest(report: Report) -> str:
    return hashlib.sha256(report.model_dump_json().encode()).hexdigest()
