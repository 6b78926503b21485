"""Waivers: findings that somebody takes responsibility for, on one model and for a limited time.

A waived finding stays in every report, and the verdict stays what it is. Only the exit code follows the findings that
no waiver covers. A waiver is for one subject: retrain the model, or change its weights, and it no longer fits.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bdscan.errors import UsageError
from bdscan.report import Finding, Report, Verdict, Waived, Waiver
from bdscan.rules import decide

LARGEST: Final = 1_000_000


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class WaivedSubject(_Data):
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(_Data):
    """One `[[waiver]]`: `subject.digest` is the report's, and the waiver holds through the day `expires` (UTC)."""

    rule: Annotated[str, Field(min_length=1, max_length=300)]
    subject: WaivedSubject
    reason: Annotated[str, Field(min_length=1, max_length=4000)]
    expires: datetime.date


class WaiverFile(_Data):
    version: Literal[1]
    waiver: tuple[Entry, ...] = ()


def load_waivers(path: str) -> tuple[Entry, ...]:
    """The waivers in a TOML file; `UsageError` with the first thing wrong, such as a missing expiry."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"--waivers: {path!r} is larger than {LARGEST} bytes; remove what is past")
        return WaiverFile.model_validate(tomllib.loads(content.decode())).waiver
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            hint = "; every waiver needs a date: expires = YYYY-MM-DD" if first["loc"][-1] == "expires" else ""
            raise UsageError(f"--waivers: {path}: {where}: {first['msg']}{hint}") from None
        if isinstance(error, OSError):
            raise UsageError(f"--waivers: cannot read {path!r} ({error.strerror}); check the path") from None
        raise UsageError(f"--waivers: {path} is not TOML: {error}") from None


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def apply_waivers(report: Report, entries: Sequence[Entry], on: datetime.date) -> Report:
    """The report with the findings that `entries` waive marked, and with every waiver and what came of it.

    Nothing that the report said of waivers before remains: it may come from a worker that was taken over.
    """
    digest = report.subject.digest
    valid = [entry for entry in entries if entry.subject.digest == digest and on <= entry.expires]

    def marked(finding: Finding) -> Finding:
        entry = next((entry for entry in valid if entry.rule == finding.rule), None)
        waived = None if entry is None else Waived(reason=entry.reason, expires=entry.expires.isoformat())
        return finding.model_copy(update={"waived": waived})

    found = {finding.rule for finding in report.findings}
    waivers = tuple(_outcome(entry, digest, found, on) for entry in entries)
    return report.model_copy(update={"findings": tuple(map(marked, report.findings)), "waivers": waivers})


def _outcome(entry: Entry, digest: str, found: set[str], on: datetime.date) -> Waiver:
    state: Literal["applied", "expired", "unused", "other-model"] = "applied"
    if on > entry.expires:
        state = "expired"
    elif entry.subject.digest != digest:
        state = "other-model"
    elif entry.rule not in found:
        state = "unused"
    return Waiver(
        rule=entry.rule,
        digest=entry.subject.digest,
        reason=entry.reason,
        expires=entry.expires.isoformat(),
        state=state,
    )


def standing(report: Report) -> Verdict:
    """The verdict of the findings that no waiver covers: what the exit code follows.

    Where a waived finding was the only alarm and a stage that a clean verdict needs did not run, nothing was judged.
    """
    if report.verdict is Verdict.INCONCLUSIVE or not any(finding.waived for finding in report.findings):
        return report.verdict
    return decide((finding for finding in report.findings if not finding.waived), could_look=not report.lacking)


def problems(reports: Sequence[Report]) -> list[str]:
    """What is wrong with the waivers of a command, a line each: expired, or for no finding of any of its models."""
    states: dict[tuple[str, str, str, str], set[str]] = {}
    for report in reports:
        for each in report.waivers:
            states.setdefault((each.rule, each.digest, each.expires, each.reason), set()).add(each.state)
    lines = []
    for (rule, digest, expires, _), seen in states.items():
        name = f"the waiver of {rule} for {digest[:12]}…"
        if "expired" in seen:
            lines.append(
                f"{name} expired on {expires} and covers nothing now: look at the model again, renew it or remove it"
            )
        elif "applied" not in seen:
            lines.append(f"{name} fits no finding of this scan; remove it, or check rule and subject.digest")
    return lines
